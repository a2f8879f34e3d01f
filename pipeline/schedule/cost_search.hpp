// The best schedule of a family for given costs.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <span>

namespace sluice {

/// `family` (a family's schedule, without communication, all its backward passes whole or all
/// split), or one made from it by list scheduling with at most `most_live` activations per rank,
/// whichever takes least time with `costs`. Tries 18 of them, and none above 2^17 micro-batches
/// times chunks, where that would take seconds.
Schedule best_for_costs(Schedule family, std::span<const ChunkCosts> costs, std::int32_t most_live);

} // namespace sluice
