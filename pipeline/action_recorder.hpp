// What a rank does when: a stamp at every change of activity, so that the spans between stamps
// cover its time without gap or overlap, and sums over them add up exactly.
//
// On a GPU, where the host only queues the work, a stamp is a mark in the rank's stream, and its
// time is when the GPU comes to it: "waiting" is then what holds up the stream.
//
// Whoever records holds a pointer that is nullptr while nothing is traced. A stamp is one reading
// of the clock, or one mark, and one entry in memory reserved before.
#pragma once

#include "core/device.hpp"
#include "pipeline/steady_clock.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

enum class Activity : std::uint8_t {
    other,              ///< zeroing gradients, advancing gates, whatever has no name here
    compute,            ///< a chunk's forward or backward
    data,               ///< reading tokens
    waiting_for_input,  ///< for an activation or gradient from another rank
    waiting_for_buffer, ///< for a message that still goes out of the buffer to be overwritten
    waiting_for_sends,  ///< behind the last action, for the messages still going out
    messages,           ///< posting sends and receives, checksums, moving messages along
    replicas,           ///< exchanging gradients and weights with other replicas, not hidden
    reduction,          ///< in the update's reduction, where ranks wait for the slowest
    optimizer,          ///< gradient norms and the weights' update
    evaluation,
    checkpoint,
};
inline constexpr std::size_t num_activities = 12;

/// Ends where the next one begins.
struct ActivitySpan {
    std::int64_t begin_ns = 0; ///< on this rank's clock
    std::int32_t action = -1;  ///< position in this rank's program; -1: outside its actions
    Activity activity = Activity::other;
    bool operator==(const ActivitySpan&) const = default;
};

/// Which spans are one update's.
struct RecordedUpdate {
    std::int64_t update = 0; ///< counted from 1
    std::size_t first_span = 0, end_span = 0;
};

class StreamClock;

class ActionRecorder {
public:
    using Now = std::int64_t (*)();

    /// `most_spans`: reserved at once. More would be kept, too, but take memory while they come.
    explicit ActionRecorder(std::size_t most_spans, Now now = steady_now_ns);
    /// By the clock of `stream`, if it is a GPU's. `most_spans_per_update`: the host waits for the
    /// GPU when there are more, and at the end of every update.
    ActionRecorder(std::size_t most_spans, const Stream& stream, std::size_t most_spans_per_update);
    ~ActionRecorder();
    ActionRecorder(const ActionRecorder&) = delete;
    ActionRecorder& operator=(const ActionRecorder&) = delete;

    /// Forgets everything and begins, outside any action, with `other`.
    void start();
    void begin_update(std::int64_t update);
    void end_update();
    /// The rank turns to the action at `position` of its program.
    void begin_action(std::int32_t position, Activity activity) { stamp(position, activity); }
    /// Another activity within the same action, or outside where it is outside.
    void mark(Activity activity) { stamp(last_.action, activity); }
    /// The rank has left its actions.
    void leave_actions(Activity activity) { stamp(-1, activity); }
    /// Ends the last span, with an empty one of `other` behind it.
    void stop();

    /// After stop(): times on the steady clock; valid until start(). A span's end is the next one's
    /// begin.
    const std::vector<ActivitySpan>& spans() const { return spans_; }
    const std::vector<RecordedUpdate>& updates() const { return updates_; }
    bool follows_stream() const { return stream_clock_ != nullptr; }
    /// After stop(): how far all times may be off together, the GPU's clock being another one.
    std::int64_t uncertainty_ns() const { return uncertainty_ns_; }

private:
    void stamp(std::int32_t action, Activity activity)
    {
        if (activity != last_.activity || action != last_.action)
            push(action, activity);
    }
    void push(std::int32_t action, Activity activity);
    void read_marks();

    Now now_ = steady_now_ns;
    std::unique_ptr<StreamClock> stream_clock_;
    std::size_t num_timed_ = 0; ///< spans in front of those whose marks are not read yet
    std::int64_t uncertainty_ns_ = 0;
    ActivitySpan last_;
    std::vector<ActivitySpan> spans_;
    std::vector<RecordedUpdate> updates_;
};

/// For callers whose recorder may be nullptr.
inline void mark(ActionRecorder* recorder, Activity activity)
{
    if (recorder != nullptr)
        recorder->mark(activity);
}

} // namespace sluice
