// A copy of what one rank's file of a checkpoint holds, in memory taken before the first update, so
// that training may go on while the file is written.
#pragma once

#include "core/arena.hpp"
#include "io/checkpoint.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

#include <vector>

namespace sluice {

class CheckpointSnapshot {
public:
    /// Takes StageMemory::snapshot_bytes on the ranks that write (replica 0), nothing on others.
    /// `stage` and `replicas` outlive it.
    CheckpointSnapshot(Stage& stage, const Replicas& replicas);

    /// Collective over the replicas, between two updates: copies parameters, moments and gates.
    /// OVERWRITES gradients where moments are shared out. Nobody may be reading contents().
    void take(const CheckpointProgress& progress, const RunConfig& config);

    /// What was taken; its arrays lie in the copy. Empty on ranks that do not write.
    const StageContents& contents() const { return contents_; }

private:
    Stage& stage_;
    const Replicas& replicas_;
    std::vector<Arena> memory_; ///< per chunk: values, first moments, second moments
    StageContents contents_;
};

} // namespace sluice
