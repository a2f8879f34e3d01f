#include "pipeline/idle_causes.hpp"

namespace sluice {

namespace {

std::vector<ChunkCosts> with_free_transfers(std::span<const ChunkCosts> costs)
{
    std::vector<ChunkCosts> free(costs.begin(), costs.end());
    for (ChunkCosts& cost : free)
        cost.transfer = 0.0;
    return free;
}

std::vector<ChunkCosts> all_the_mean(std::span<const ChunkCosts> costs)
{
    ChunkCosts mean;
    const auto count = static_cast<double>(costs.size());
    for (const ChunkCosts& cost : costs) {
        mean.forward += cost.forward / count;
        mean.backward_input += cost.backward_input / count;
        mean.backward_weight += cost.backward_weight / count;
    }
    return std::vector<ChunkCosts>(costs.size(), mean);
}

} // namespace

IdleCauses IdleByCause::mean() const
{
    IdleCauses mean;
    const auto count = static_cast<double>(ranks.size());
    for (const IdleCauses& rank : ranks) {
        mean.fill_drain += rank.fill_drain / count;
        mean.imbalance += rank.imbalance / count;
        mean.exposed_transfer += rank.exposed_transfer / count;
        mean.barrier += rank.barrier / count;
    }
    return mean;
}

IdleByCause idle_causes(const Schedule& schedule, std::span<const ChunkCosts> costs,
                        double barrier_seconds)
{
    const auto real = simulate(schedule, costs, ActionTimes::left_out);
    const auto unhindered = simulate(schedule, with_free_transfers(costs), ActionTimes::left_out);
    const auto even = simulate(schedule, all_the_mean(costs), ActionTimes::left_out);

    IdleByCause by_cause;
    by_cause.busy = real.busy;
    by_cause.total = real.total + barrier_seconds;
    for (std::size_t rank = 0; rank < real.idle.size(); ++rank)
        by_cause.ranks.push_back({.fill_drain = even.idle[rank],
                                  .imbalance = unhindered.idle[rank] - even.idle[rank],
                                  .exposed_transfer = real.idle[rank] - unhindered.idle[rank],
                                  .barrier = barrier_seconds});
    return by_cause;
}

} // namespace sluice
