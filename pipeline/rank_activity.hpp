// What a rank's main thread is doing, for other threads to read while it is stuck: published at
// every change with a few stores, no lock and no look at a clock.
//
// How long a state has lasted is found out by the reader, who sees when `changes` last changed.
#pragma once

#include "pipeline/action_recorder.hpp"
#include "pipeline/schedule/schedule.hpp"

#include <atomic>
#include <cstdint>

namespace sluice {

/// Ranks go through these together, and each has its own bound (src/watch/hang_bounds.hpp).
/// `connecting`: to other ranks, by NCCL.
enum class RankPhase : std::uint8_t { starting, connecting, training, evaluating, saving, ending };

enum class WaitKind : std::uint8_t { none, receiving, sending, collective };

/// The ranks first, first + stride, ... of the job, as many as `count`, and which of their
/// communicator's collectives they are in.
struct CollectiveCall {
    std::int32_t first = 0, stride = 1, count = 0;
    std::uint32_t communicator = 0; ///< the same number on all its ranks
    std::uint32_t number = 0;       ///< counts the communicator's collectives
    bool operator==(const CollectiveCall&) const = default;
};

/// Whom a rank waits for.
struct RankWait {
    WaitKind kind = WaitKind::none;
    std::int32_t partner = 0;    ///< rank of the job, where receiving or sending
    CollectiveCall collective{}; ///< where in a collective
    bool operator==(const RankWait&) const = default;
};

/// One reading. Fields may be of neighbouring instants while the rank goes on; a state that lasts
/// is read whole.
struct RankState {
    std::uint64_t changes = 0;
    std::int64_t update = 0; ///< the one in work, counted from 1; 0: none yet
    RankPhase phase = RankPhase::starting;
    Activity activity = Activity::other;
    bool in_action = false; ///< `action` runs
    Action action{};
    WaitKind wait = WaitKind::none;
    std::int32_t partner = 0;    ///< rank of the job, where receiving or sending
    CollectiveCall collective{}; ///< where in a collective
    bool at_files = false;       ///< reads or writes a file, or says something on a terminal
    /// The host was not seen waiting: its GPU had not come past that message when it last looked.
    bool presumed = false;
};

/// Written by one thread, but for moved_a_file_on(), and read by any.
class RankActivity {
public:
    /// By any thread: another piece of a checkpoint was read or written. Counts as a change where
    /// the rank may be waiting for all of it: not in updates and evaluations.
    void moved_a_file_on() { file_steps_.fetch_add(1, std::memory_order_relaxed); }
    /// What a rank reads or writes of one, at most.
    void expect_checkpoints_of(double num_bytes) { put(checkpoint_bytes_, num_bytes); }
    double checkpoint_bytes() const { return checkpoint_bytes_; }

    void enter(RankPhase phase)
    {
        put(phase_, phase);
        leave_actions(Activity::other);
    }
    bool is_at_files() const { return at_files_.load(std::memory_order_relaxed); }
    void stay_at_files(bool stays)
    {
        put(at_files_, stays);
        changed();
    }
    void begin_update(std::int64_t update)
    {
        put(update_, update);
        enter(RankPhase::training);
    }
    /// Of the run, in this process and before.
    void publish_completed_updates(std::int64_t number) { put(completed_updates_, number); }
    std::int64_t completed_updates() const { return completed_updates_; }
    void finish_update(double seconds)
    {
        put(update_seconds_, seconds);
        put(finished_updates_, finished_updates_.load(std::memory_order_relaxed) + 1);
        changed();
    }
    void begin_action(const Action& action)
    {
        put(kind_, action.kind);
        put(chunk_, action.chunk);
        put(microbatch_, action.microbatch);
        put(in_action_, true);
        turn_to(Activity::messages);
    }
    void leave_actions(Activity activity)
    {
        put(in_action_, false);
        turn_to(activity);
    }
    void turn_to(Activity activity)
    {
        put(activity_, activity);
        changed();
    }

    void wait_for(WaitKind kind, std::int32_t rank)
    {
        put(partner_, rank);
        put(presumed_, false);
        put(wait_, kind);
        changed();
    }
    void wait_in(const CollectiveCall& call)
    {
        put(first_, call.first);
        put(stride_, call.stride);
        put(count_, call.count);
        put(communicator_, call.communicator);
        put(number_, call.number);
        put(presumed_, false);
        put(wait_, WaitKind::collective);
        changed();
    }
    void wait_for(const RankWait& wait)
    {
        if (wait.kind == WaitKind::none)
            go_on();
        else if (wait.kind == WaitKind::collective)
            wait_in(wait.collective);
        else
            wait_for(wait.kind, wait.partner);
    }
    /// While the host goes on: what its GPU may be waiting for. Should the host then stand still
    /// because the GPU takes no more work, that is why.
    void presume(const RankWait& wait)
    {
        wait_for(wait);
        put(presumed_, wait.kind != WaitKind::none);
        changed();
    }
    void go_on()
    {
        put(presumed_, false);
        put(wait_, WaitKind::none);
        changed();
    }

    RankState state() const;
    /// Updates completed by this process, and how long the last took.
    std::int64_t finished_updates() const { return finished_updates_; }
    double last_update_seconds() const { return update_seconds_; }

private:
    template <typename Value, typename Given>
    static void put(std::atomic<Value>& to, Given value)
    {
        to.store(value, std::memory_order_relaxed);
    }
    /// One writer: no locked addition is needed.
    void changed()
    {
        changes_.store(changes_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    std::atomic<std::uint64_t> changes_{0}, file_steps_{0};
    std::atomic<double> checkpoint_bytes_{0.0};
    std::atomic<std::int64_t> update_{0}, finished_updates_{0}, completed_updates_{0};
    std::atomic<double> update_seconds_{0.0};
    std::atomic<RankPhase> phase_{RankPhase::starting};
    std::atomic<Activity> activity_{Activity::other};
    std::atomic<bool> in_action_{false}, presumed_{false}, at_files_{false};
    std::atomic<ActionKind> kind_{ActionKind::forward};
    std::atomic<std::int32_t> chunk_{0}, microbatch_{0};
    std::atomic<WaitKind> wait_{WaitKind::none};
    std::atomic<std::int32_t> partner_{0}, first_{0}, stride_{1}, count_{0};
    std::atomic<std::uint32_t> communicator_{0}, number_{0};
};

/// The rank has left its actions: for who records and who watches, nullptr where nobody does.
inline void leave_actions(ActionRecorder* recorder, RankActivity* published, Activity activity)
{
    if (recorder != nullptr)
        recorder->leave_actions(activity);
    if (published != nullptr)
        published->leave_actions(activity);
}

/// Publishes whom this rank waits for, for as long as it lasts; nothing where there is nobody to
/// publish to.
class WaitingFor {
public:
    WaitingFor(RankActivity* activity, const RankWait& whom) : activity_(activity)
    {
        if (activity_ != nullptr)
            activity_->wait_for(whom);
    }
    ~WaitingFor()
    {
        if (activity_ != nullptr)
            activity_->go_on();
    }
    WaitingFor(const WaitingFor&) = delete;
    WaitingFor& operator=(const WaitingFor&) = delete;

private:
    RankActivity* activity_;
};

/// Likewise a collective.
class InCollective : public WaitingFor {
public:
    InCollective(RankActivity* activity, const CollectiveCall& call)
        : WaitingFor(activity, {.kind = WaitKind::collective, .collective = call})
    {
    }
};

/// For as long as a file system, or a terminal, may keep the thread waiting; nothing where nobody
/// watches.
class AtFiles {
public:
    explicit AtFiles(RankActivity* activity)
        : activity_(activity), before_(activity != nullptr && activity->is_at_files())
    {
        if (activity_ != nullptr)
            activity_->stay_at_files(true);
    }
    ~AtFiles()
    {
        if (activity_ != nullptr)
            activity_->stay_at_files(before_);
    }
    AtFiles(const AtFiles&) = delete;
    AtFiles& operator=(const AtFiles&) = delete;

private:
    RankActivity* activity_;
    bool before_;
};

} // namespace sluice
