// From a run file and a number of ranks to everything that is known before anything runs: schedule,
// partition, memory. No MPI, no allocation of the model.
#pragma once

#include "pipeline/partition.hpp"
#include "pipeline/schedule/schedule.hpp"
#include "pipeline/simulator.hpp"
#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

#include <string>
#include <vector>

namespace sluice {

struct RunPlan {
    std::string schedule_name; ///< as in run files; what "auto" became
    Schedule program;          ///< training, with communication
    SlotTable slots;           ///< of `program`
    std::vector<LayerRange> partition;
    LayerCosts costs;
    StageOptions stage; ///< rank left at 0

    /// Of one activation or gradient between chunks.
    std::size_t message_bytes() const;
    /// All chunks of one rank.
    StageMemory rank_memory(int rank) const;
    std::size_t rank_bytes(int rank) const { return rank_memory(rank).total_bytes(); }
    /// What a save copies, of the rank with most.
    std::size_t largest_snapshot_bytes() const;
};

/// In units of one decoder layer's forward and backward; transfers are free.
std::vector<ChunkCosts> unit_costs(const std::vector<LayerRange>& partition,
                                   const LayerCosts& costs);

/// Where the run's chunks will compute, to plan them; a real stream takes its place on each rank.
Stream planned_stream(const RunConfig& config);

/// Of one replica on `num_ranks` ranks, with its share of the micro-batches. Throws UserError
/// (usage) when the run does not fit that many ranks, or the checker refuses the file of a custom
/// schedule (any other that it refuses is a broken invariant).
RunPlan plan_run(const RunConfig& config, int num_ranks);

} // namespace sluice
