// Saving and restoring a run: between the stages' parameters and gates and the named arrays on
// disk.
#pragma once

#include "io/checkpoint.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

#include <filesystem>
#include <string>

namespace sluice {

/// Collective over all ranks, between two updates. Writes a complete checkpoint below
/// `checkpoints`, or none; then retention. Replica 0 writes, with the moments that others hold,
/// and OVERWRITES its gradients on the way when there are others. Returns the digest of all
/// parameters. Throws the same UserError (data) on every rank; the previous checkpoint is then
/// untouched.
std::string save_checkpoint(const std::filesystem::path& checkpoints, Stage& stage,
                            const Replicas& replicas, const CheckpointProgress& progress,
                            const RunConfig& config);

/// Fills parameters, the part of master weights and moments that lives here, and gate counters of
/// this rank's chunks from a checkpoint saved at any number of stages and replicas. OVERWRITES
/// gradients where there are master weights, or moments are shared out. Not collective. Throws
/// UserError (data) naming file and tensor.
/// `activity`: who watches hears of every array; nullptr: nobody watches.
void restore_stage(const CheckpointReader& checkpoint, Stage& stage,
                   RankActivity* activity = nullptr);

/// Checksum over the sorted list of all parameters' names and checksums, as in a checkpoint's
/// manifest; the same for any layout. Collective over the world, between two updates; the result is
/// on every rank of replica 0. OVERWRITES gradients where master weights are shared out.
std::string parameters_digest(Stage& stage, const Replicas& replicas);

} // namespace sluice
