// A copy of what one rank's file of a checkpoint holds, in memory taken before the first update, so
// that training may go on while the file is written.
//
// On a GPU training goes on while the copy is taken, too: into locked memory, on a stream of its
// own, behind the update it is of; only the next change of weights waits for it, on the GPU. Not so
// where replicas share out the optimizer's state: it comes together in the gradients' memory, which
// the next update needs at once.
#pragma once

#include "core/arena.hpp"
#include "io/checkpoint.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

#include <memory>
#include <vector>

namespace sluice {

class CheckpointSnapshot {
public:
    /// Takes the memory on the ranks that write (replica 0), nothing on others. `stage` and
    /// `replicas` outlive it.
    CheckpointSnapshot(Stage& stage, const Replicas& replicas);
    ~CheckpointSnapshot();
    CheckpointSnapshot(const CheckpointSnapshot&) = delete;
    CheckpointSnapshot& operator=(const CheckpointSnapshot&) = delete;

    /// Collective over the replicas, between two updates: copies parameters, moments and gates, or
    /// queues the copies. OVERWRITES gradients where moments are shared out. Nobody may be reading
    /// contents().
    void take(const CheckpointProgress& progress, const RunConfig& config);

    /// Before parameters or moments change: later work on the stage's stream waits until they are
    /// copied, the host does not.
    void hold_back_changes() const;

    /// Blocks until the copies are there, on any one thread.
    void wait() const;
    /// What was taken, once wait() has returned; its arrays lie in the copy, or are brought from it
    /// one at a time. Empty on ranks that do not write.
    const StageContents& contents() const { return contents_; }

private:
    class CopiesFromGpu;
    void reserve_in_host_memory();

    Stage& stage_;
    const Replicas& replicas_;
    std::vector<Arena> memory_; ///< per chunk: values, first moments, second moments
    std::unique_ptr<CopiesFromGpu> from_gpu_;
    StageContents contents_;
};

} // namespace sluice
