// What would make a run fit that needs more memory than its ranks have.
#pragma once

#include "src/config/run_config.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace sluice {

/// A change of the run file that makes a run fit.
struct FittingChange {
    /// "--set pipeline.schedule=v-half"; "16 ranks", of all replicas; "--set ... and 16 ranks".
    std::string overrides;
    std::size_t peak_bytes = 0;
    bool changes_result = false; ///< other micro-batches round differently
};

/// Smallest change first: saves without a copy in memory, more recomputation, another schedule,
/// smaller micro-batches, more stages; each as small as fits, those that do not help left out, and
/// what would take long to plan. Where none is enough, each of them beside the first of these that
/// they need: saves without a copy, full recomputation, micro-batches of one sequence. `num_ranks`:
/// of one replica.
std::vector<FittingChange> changes_that_fit(const RunConfig& config, int num_ranks,
                                            std::size_t bytes_per_rank);

} // namespace sluice
