#include "pipeline/schedule/schedule_checker.hpp"

#include "pipeline/schedule/action_order.hpp"

namespace sluice {

ScheduleReport check_schedule(const Schedule& schedule, MatchingRule rule)
{
    ScheduleReport report;
    ProblemList problems;
    check_action_order(schedule, rule, problems);
    if (problems.empty()) {
        const std::vector<ChunkCosts> units(static_cast<std::size_t>(schedule.num_chunks),
                                            ChunkCosts{1.0, 1.0, 1.0, 0.0});
        GradientLifetimes lifetimes(schedule);
        const auto stuck = run_timeline(
            schedule, units, [&](std::int32_t rank, std::size_t position, ActionTime time) {
                lifetimes.note(schedule.actions[static_cast<std::size_t>(rank)][position], time);
            });
        for (const StuckRank& one : stuck) {
            const auto rank = static_cast<std::size_t>(one.rank);
            problems.add_at(rank, one.position, schedule.actions[rank][one.position],
                            "deadlock: waits for ever for " + one.waits_for);
        }
        if (problems.empty())
            report.slots = assign_slots(schedule, lifetimes);
    }
    report.problems = problems.take();
    return report;
}

} // namespace sluice
