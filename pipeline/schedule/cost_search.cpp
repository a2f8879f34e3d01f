#include "pipeline/schedule/cost_search.hpp"

#include "pipeline/schedule/list_scheduling.hpp"

#include <cstdint>
#include <limits>
#include <utility>

namespace sluice {

namespace {

constexpr std::int64_t most_searched = 1 << 17; ///< micro-batches times chunks
/// What counts as better: rounding is not.
constexpr double better = 1.0 - 1e-9;

/// Mean time of one action.
double mean_action(std::span<const ChunkCosts> costs)
{
    double sum = 0.0;
    for (const ChunkCosts& each : costs)
        sum += each.forward + each.backward_input + each.backward_weight;
    return sum / (3.0 * static_cast<double>(costs.size()));
}

} // namespace

Schedule best_for_costs(Schedule family, std::span<const ChunkCosts> costs, std::int32_t most_live)
{
    if (std::int64_t{family.num_chunks} * family.num_microbatches > most_searched)
        return family;
    const double unit = mean_action(costs);
    double least = simulate(family, costs).total;
    const Schedule reference = family;
    // Weight gradients at once, after some actions, or only in gaps; in any gap, in those that hold
    // half of one, or all of it. No setting is best for all costs.
    for (const double delay : {0.0, 1.0, 3.0, 6.0, 12.0, std::numeric_limits<double>::max()})
        for (const double gap : {0.0, 0.5, 1.0}) {
            const bool only_in_gaps = delay == std::numeric_limits<double>::max();
            ListSchedule candidate =
                schedule_by_list(reference, costs,
                                 {.most_live = most_live,
                                  .weight_delay = only_in_gaps ? delay : delay * unit,
                                  .least_gap = gap});
            if (candidate.total < least * better) {
                least = candidate.total;
                family = std::move(candidate.schedule);
            }
        }
    return family;
}

} // namespace sluice
