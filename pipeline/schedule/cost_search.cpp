#include "pipeline/schedule/cost_search.hpp"

#include "pipeline/schedule/list_scheduling.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace sluice {

namespace {

/// Micro-batches times chunks: of each trial, and of the schedule itself. A trial of this size
/// takes some 20 ms.
constexpr std::int64_t most_tried = 1 << 14, most_made = 1 << 18;
/// A schedule tuned to costs that are not quite so must promise something.
constexpr double worth_it = 0.995;

/// Mean time of one action.
double mean_action(std::span<const ChunkCosts> costs)
{
    double sum = 0.0;
    for (const ChunkCosts& each : costs)
        sum += each.forward + each.backward_input + each.backward_weight;
    return sum / (3.0 * static_cast<double>(costs.size()));
}

/// The same schedule of fewer micro-batches.
Schedule first_microbatches(Schedule schedule, std::int32_t count)
{
    schedule.num_microbatches = std::min(count, schedule.num_microbatches);
    for (auto& actions : schedule.actions)
        std::erase_if(actions, [&](const Action& action) { return action.microbatch >= count; });
    return schedule;
}

/// How weight gradients are best placed: at once, after some actions, or only in gaps; in any gap,
/// in those that hold half of one, or all of it. No setting is best for all costs.
ListScheduling best_setting(const Schedule& reference, std::span<const ChunkCosts> costs,
                            std::int32_t most_live)
{
    constexpr double only_in_gaps = std::numeric_limits<double>::max();
    const double unit = mean_action(costs);
    ListScheduling best;
    double least = std::numeric_limits<double>::infinity();
    for (const double delay : {0.0, unit, 3.0 * unit, 6.0 * unit, 12.0 * unit, only_in_gaps})
        for (const double gap : {0.0, 0.5, 1.0}) {
            const ListScheduling setting{
                .most_live = most_live, .weight_delay = delay, .least_gap = gap};
            const double total = schedule_by_list(reference, costs, setting).total;
            if (total < least) {
                least = total;
                best = setting;
            }
        }
    return best;
}

} // namespace

Schedule best_for_costs(Schedule family, std::span<const ChunkCosts> costs, std::int32_t most_live)
{
    const std::int64_t chunks = family.num_chunks;
    // Filling and draining take P micro-batches each.
    const std::int64_t enough = 3 * std::int64_t{family.num_ranks()};
    const std::int64_t tried = std::clamp<std::int64_t>(
        most_tried / chunks, enough, std::max<std::int64_t>(enough, family.num_microbatches));
    if (chunks * family.num_microbatches > most_made || chunks * tried > 2 * most_tried)
        return family;
    const ListScheduling setting = best_setting(
        first_microbatches(family, static_cast<std::int32_t>(tried)), costs, most_live);
    ListSchedule suited = schedule_by_list(family, costs, setting);
    if (suited.total < worth_it * simulate(family, costs).total)
        return std::move(suited.schedule);
    return family;
}

} // namespace sluice
