// Saving while training goes on.
//
// begin() copies what is to be saved and lets a thread of each writing rank write its stage's file.
// Every update's reduction carries how many ranks still write; once none does, all ranks know it at
// the same update, and advance() goes on: rank 0's thread makes the checkpoint out of the files,
// and an update later it is announced. MPI is used by the main thread alone.
#pragma once

#include "src/process/stopwatch.hpp"
#include "src/train/background_task.hpp"
#include "src/train/checkpoint_snapshot.hpp"
#include "src/train/checkpoint_steps.hpp"

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace sluice {

/// A save that is complete.
struct SavedCheckpoint {
    std::int64_t update = 0;
    std::string parameters_digest; ///< on rank 0
    double seconds = 0.0;          ///< from its begin until it was known to be complete
    double stall_seconds = 0.0;    ///< of them, training stood still
    double write_seconds = 0.0;    ///< the slowest stage's file, then index and manifest
};

class AsynchronousSave {
public:
    /// Takes the memory for the copy. `before_completion` runs on rank 0 on the writing thread,
    /// right before the checkpoint takes its name. The others outlive it.
    AsynchronousSave(std::filesystem::path checkpoints, Stage& stage, const Replicas& replicas,
                     const RunConfig& config, std::function<void()> before_completion);

    bool under_way() const { return phase_ != Phase::none; }
    /// That is being saved.
    std::int64_t update() const { return saved_.update; }
    /// Before parameters or moments change: on a GPU later work waits until they are copied.
    void before_changes() const
    {
        if (phase_ == Phase::stages)
            snapshot_.hold_back_changes();
    }
    /// This rank's thread writes: what an update's reduction carries.
    bool writes_here() const { return task_.running(); }

    // Collective over all ranks, between two updates; each throws the same UserError (data) on
    // every rank when the save fails. It is then over, and the checkpoints before it are untouched.

    /// None may be under way.
    void begin(const CheckpointProgress& progress);
    /// Goes on; no rank may be writing. Returns the checkpoint once it is complete.
    std::optional<SavedCheckpoint> advance();
    /// Waits until it is complete.
    SavedCheckpoint finish();

private:
    enum class Phase : std::uint8_t { none, stages, completion };
    void write_stages();
    void complete();

    std::filesystem::path checkpoints_;
    const Replicas& replicas_;
    const RunConfig& config_;
    std::function<void()> before_completion_;
    CheckpointSnapshot snapshot_;
    Phase phase_ = Phase::none;
    std::optional<SaveFolders> folders_;
    WrittenStage mine_;
    std::vector<WrittenStage> stages_;
    SavedCheckpoint saved_;
    Stopwatch begun_;
    BackgroundTask task_; ///< last: it ends before what it uses
};

} // namespace sluice
