// From a run file and a number of ranks to everything that is known before anything runs: schedule,
// partition, memory. No MPI, no allocation of the model.
#pragma once

#include "pipeline/partition.hpp"
#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

#include <vector>

namespace sluice {

struct RunPlan {
    Schedule program;      ///< training, with communication
    ScheduleReport report; ///< of `program`
    std::vector<LayerRange> partition;
    LayerCosts costs;
    StageOptions stage; ///< rank left at 0

    /// What chunk `index` takes, and its pool.
    ChunkMemory chunk_memory(std::int32_t index) const;
    PoolSizes chunk_pool(std::int32_t index) const;
    /// All chunks of one rank.
    std::size_t rank_bytes(int rank) const;
};

/// Throws UserError (usage) when the run does not fit that many ranks; a schedule that the checker
/// refuses is a broken invariant.
RunPlan plan_run(const RunConfig& config, int num_ranks);

/// Forwards only, each chunk passing its output on; needs one activation slot.
Schedule make_forward_only(const std::vector<std::int32_t>& rank_of_chunk, int num_ranks,
                           std::int32_t num_microbatches);

} // namespace sluice
