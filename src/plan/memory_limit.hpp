// Whether a run fits into the memory of its ranks.
#pragma once

#include "src/plan/run_plan.hpp"

#include <cstddef>

namespace sluice {

/// checkpoint.asynchronous = "auto" made concrete, in both: on where the copy for saves fits beside
/// everything else; on GPUs, where it takes at most half of a rank's host memory. Any other choice
/// stays as it is. `plan` is of `config`, `host_bytes_per_rank` of host memory.
void settle_saves(RunConfig& config, RunPlan& plan, std::size_t host_bytes_per_rank);

/// Throws UserError (usage) when a rank would need more than `bytes_per_rank`, with what it needs
/// for what, and the smallest changes that would fit. `plan` must be of `config`.
void refuse_unless_it_fits(const RunConfig& config, const RunPlan& plan,
                           std::size_t bytes_per_rank);

} // namespace sluice
