#include "pipeline/schedule/schedule_checker.hpp"

#include "pipeline/schedule/action_order.hpp"

#include <algorithm>

namespace sluice {

namespace {

/// Slots that a rank's own order of actions asks for: one pass over each rank's actions.
void measure_own_order(const Schedule& schedule, ScheduleReport& report)
{
    const auto num_chunks = static_cast<std::size_t>(schedule.num_chunks);
    // Per chunk: one past the newest micro-batch that took a slot, and how many gave theirs back.
    std::vector<std::int32_t> activations(num_chunks, 0), gradients(num_chunks, 0);
    std::vector<std::int32_t> inputs_done(num_chunks, 0), weights_done(num_chunks, 0);
    const auto take = [&](std::vector<std::int32_t>& newest, const Action& action,
                          std::vector<std::int32_t>& peak) {
        const auto c = static_cast<std::size_t>(action.chunk);
        newest[c] = std::max(newest[c], action.microbatch + 1);
        peak[c] = std::max(peak[c], newest[c] - weights_done[c]);
    };
    for (const auto& actions : schedule.actions)
        for (const Action& action : actions) {
            const auto c = static_cast<std::size_t>(action.chunk);
            switch (action.kind) {
            case ActionKind::receive_activation:
            case ActionKind::forward:
                take(activations, action, report.peak_live_microbatches);
                break;
            case ActionKind::receive_gradient:
                take(gradients, action, report.peak_live_gradients);
                break;
            case ActionKind::backward:
            case ActionKind::backward_input:
                take(gradients, action, report.peak_live_gradients);
                // A previous chunk on the same rank copies when its turn comes.
                if (c > 0 && schedule.rank_of_chunk[c - 1] == schedule.rank_of_chunk[c])
                    report.peak_live_gradients[c] = std::max(
                        report.peak_live_gradients[c], action.microbatch + 1 - inputs_done[c - 1]);
                inputs_done[c] = action.microbatch + 1;
                if (action.kind == ActionKind::backward)
                    weights_done[c] = action.microbatch + 1;
                break;
            case ActionKind::backward_weight: weights_done[c] = action.microbatch + 1; break;
            default: break;
            }
        }
}

/// Runs the program on the unit timeline: reports ranks that stay stuck, and how many gradients a
/// chunk has on their way to another rank at once.
class UnitTimeline {
public:
    explicit UnitTimeline(const Schedule& schedule)
        : schedule_(schedule), microbatches_(static_cast<std::size_t>(schedule.num_microbatches))
    {
        const std::size_t entries = static_cast<std::size_t>(schedule.num_chunks) * microbatches_;
        produced_.assign(entries, 0.0);
        completed_.assign(entries, 0.0);
    }

    void run(SendRule sends, ProblemList& problems)
    {
        const std::vector<ChunkCosts> costs(static_cast<std::size_t>(schedule_.num_chunks),
                                            ChunkCosts{1.0, 1.0, 1.0, 0.0});
        const auto stuck = run_timeline(
            schedule_, costs, sends, [&](std::int32_t rank, std::size_t position, ActionTime time) {
                note(schedule_.actions[static_cast<std::size_t>(rank)][position], time);
            });
        for (const StuckRank& one : stuck) {
            const auto rank = static_cast<std::size_t>(one.rank);
            problems.add_at(rank, one.position, schedule_.actions[rank][one.position],
                            "deadlock: waits for ever for " + one.waits_for);
        }
    }

    /// Slots for outgoing gradients, given that the timeline finished.
    std::int32_t outgoing_gradients(std::int32_t chunk) const
    {
        std::int32_t peak = 1;
        std::int32_t oldest = 0; // micro-batch whose send has not completed
        for (std::int32_t m = 0; m < schedule_.num_microbatches; ++m) {
            while (oldest < m && completed_[entry(chunk, oldest)] <= produced_[entry(chunk, m)])
                ++oldest;
            peak = std::max(peak, m + 1 - oldest);
        }
        return peak;
    }

private:
    std::size_t entry(std::int32_t chunk, std::int32_t microbatch) const
    {
        return static_cast<std::size_t>(chunk) * microbatches_ +
               static_cast<std::size_t>(microbatch);
    }

    void note(const Action& action, ActionTime time)
    {
        const auto complete = [&](std::int32_t sender) {
            double& completed = completed_[entry(sender, action.microbatch)];
            completed = std::max(completed, time.start);
        };
        switch (action.kind) {
        case ActionKind::backward:
        case ActionKind::backward_input:
            produced_[entry(action.chunk, action.microbatch)] = time.start;
            break;
        case ActionKind::send_gradient: complete(action.chunk); break;
        case ActionKind::receive_gradient: complete(action.chunk + 1); break;
        default: break;
        }
    }

    const Schedule& schedule_;
    std::size_t microbatches_;
    /// [chunk * M + m]: start of the input gradient; when the gradient's send and its receive have
    /// both begun (0 where it does not travel).
    std::vector<double> produced_, completed_;
};

} // namespace

ScheduleReport check_schedule(const Schedule& schedule, MatchingRule rule, SendRule sends)
{
    ScheduleReport report;
    ProblemList problems;
    check_action_order(schedule, rule, problems);
    if (problems.empty()) {
        UnitTimeline timeline(schedule);
        timeline.run(sends, problems);
        if (problems.empty()) {
            const auto num_chunks = static_cast<std::size_t>(schedule.num_chunks);
            report.peak_live_microbatches.assign(num_chunks, 1);
            report.peak_live_gradients.assign(num_chunks, 1);
            measure_own_order(schedule, report);
            for (std::int32_t chunk = 0; chunk < schedule.num_chunks; ++chunk) {
                auto& peak = report.peak_live_gradients[static_cast<std::size_t>(chunk)];
                peak = std::max(peak, timeline.outgoing_gradients(chunk));
            }
        }
    }
    report.problems = problems.take();
    return report;
}

} // namespace sluice
