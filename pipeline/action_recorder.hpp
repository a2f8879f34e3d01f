// What a rank does when: a stamp at every change of activity, so that the spans between stamps
// cover its time without gap or overlap, and sums over them add up exactly.
//
// Whoever records holds a pointer that is nullptr while nothing is traced. A stamp is one reading
// of the clock and one entry in memory reserved before.
#pragma once

#include <cstddef>
#include <cstdint>
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

/// Nanoseconds of the steady clock.
std::int64_t steady_now_ns();

class ActionRecorder {
public:
    using Now = std::int64_t (*)();

    /// `most_spans`: reserved at once. More would be kept, too, but take memory while they come.
    explicit ActionRecorder(std::size_t most_spans, Now now = steady_now_ns);

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

    /// [first_span] ... are valid until start(); a span's end is the next one's begin.
    const std::vector<ActivitySpan>& spans() const { return spans_; }
    const std::vector<RecordedUpdate>& updates() const { return updates_; }

private:
    void stamp(std::int32_t action, Activity activity)
    {
        if (activity != last_.activity || action != last_.action)
            push({now_(), action, activity});
    }
    void push(const ActivitySpan& span)
    {
        last_ = span;
        spans_.push_back(span);
    }

    Now now_;
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
