// Whether a run fits into the memory of its ranks, and what would help when it does not.
#pragma once

#include "src/train/run_plan.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace sluice {

/// "80GB", "512 MiB", "2.5G" (10^9), "1000000". Throws UserError (usage) at `where`.
std::size_t bytes_from(const std::string& text, const std::string& where);
/// "7.93 GB", "512 MB": 10^9 and 10^6 bytes, three digits.
std::string bytes_text(std::size_t bytes);

/// A change of the run file that makes a run fit.
struct FittingChange {
    std::string overrides; ///< "--set pipeline.schedule=v-half"; or "16 ranks", of all replicas
    std::size_t peak_bytes = 0;
    bool changes_result = false; ///< other micro-batches round differently
};

/// Smallest change first: saves without a copy in memory, more recomputation, another schedule,
/// smaller micro-batches, more stages; each as small as fits, those that do not help left out, and
/// what would take long to plan. `num_ranks`: of one replica.
std::vector<FittingChange> changes_that_fit(const RunConfig& config, int num_ranks,
                                            std::size_t bytes_per_rank);

/// checkpoint.asynchronous = "auto" made concrete, in both: on where the copy for saves fits beside
/// everything else; on GPUs, where it takes at most half of a rank's host memory. Any other choice
/// stays as it is. `plan` is of `config`, `host_bytes_per_rank` of host memory.
void settle_saves(RunConfig& config, RunPlan& plan, std::size_t host_bytes_per_rank);

/// Throws UserError (usage) when a rank would need more than `bytes_per_rank`, with what it needs
/// for what, and the smallest changes that would fit. `plan` must be of `config`.
void refuse_unless_it_fits(const RunConfig& config, const RunPlan& plan,
                           std::size_t bytes_per_rank);

} // namespace sluice
