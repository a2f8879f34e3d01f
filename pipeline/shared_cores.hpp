// What a schedule can reach where ranks have to share cores: the bound for a pipeline that is tried
// out on a machine with fewer cores than ranks.
#pragma once

#include "pipeline/simulator.hpp"

#include <span>

namespace sluice {

/// Seconds until the last rank is done when ranks that have something to compute take equal turns
/// on `num_cores` cores (each computes at the rate min(1, num_cores / ranks that compute)) and
/// messages take no time. Never less than simulate().total without transfers, nor than all work
/// divided by the cores; the first with as many cores as ranks. `costs`: processor seconds, one
/// entry per chunk; their transfers do not count. The schedule must have passed the checker;
/// communication actions in it take no time. `num_cores` is at least 1.
double seconds_on_cores(const Schedule& schedule, std::span<const ChunkCosts> costs, int num_cores);

} // namespace sluice
