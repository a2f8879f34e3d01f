// The best schedule of a family for given costs.
#pragma once

#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"

#include <span>

namespace sluice {

/// `family` (a family's schedule, without communication, all its backward passes whole or all
/// split), or, where that takes at least 0.5% less time with `costs`, one made from it by list
/// scheduling with at most `most_live` activations per rank. Compares 18 of them on the first
/// micro-batches and makes the best for all, in about a second at most; very large schedules stay
/// as they are.
Schedule best_for_costs(Schedule family, std::span<const ChunkCosts> costs, std::int32_t most_live);

} // namespace sluice
