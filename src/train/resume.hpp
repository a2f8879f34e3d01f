// What a run goes on from: which checkpoint, and whether the run file still fits it.
#pragma once

#include "io/checkpoint.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/config/run_config.hpp"
#include "src/train/ancestry.hpp"
#include "src/train/run_hardware.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sluice {

enum class ResumeMode : std::uint8_t { automatic, never, path };

struct ResumeRequest {
    ResumeMode mode = ResumeMode::automatic;
    /// Of a checkpoint, or of a run folder, which means its newest; for ResumeMode::path.
    std::filesystem::path path;
    /// From `path` on with the run file's recipe, whatever that run's was.
    bool branch = false;
};

/// Collective. The checkpoint to start from, verified: the newest undamaged one below `checkpoints`
/// (damaged ones are named in the log and skipped), the one asked for, or none. Where metrics.jsonl
/// beside `checkpoints` says that they descend from the one asked for, the newest of them: the same
/// command goes on. Throws UserError: usage when `never` meets a folder that has checkpoints, data
/// when the one asked for, or every one there is, is damaged.
std::optional<ChosenCheckpoint> choose_checkpoint(const std::filesystem::path& checkpoints,
                                                  const ResumeRequest& request,
                                                  Transport& transport);

/// What wrote the checkpoint.
RunConfig saved_config(const CheckpointReader& checkpoint);

/// precision.compute = "auto" became another one, for GPUs came or went; `why` it is on CPUs. And
/// what to do then.
std::string device_changed(const RunConfig& saved, const RunConfig& now, const std::string& why);
std::string device_remedy(const RunConfig& saved);

/// What rounds sums in another order than in the run that wrote `checkpoint`: keys, libraries,
/// processors.
std::vector<std::string> changed_rounding(const CheckpointReader& checkpoint,
                                          const RunConfig& config, const RunHardware& hardware);

/// The default of lr_schedule.warmup_steps follows the length of the run. Where that is another one
/// now (a constant schedule's) or was another run's (a branch's), it stays as it was when the run
/// began, if the run is that long.
void keep_saved_defaults(const CheckpointReader& checkpoint, RunConfig& config);

/// Throws UserError (usage) that lists every difference when the run file would change the result
/// of the run that wrote `checkpoint`, or says that GPUs came or went where that alone changed
/// precision.compute = "auto". `config` is concrete, on `hardware`.
void refuse_changed_result(const CheckpointReader& checkpoint, const RunConfig& config,
                           const RunHardware& hardware = {});

} // namespace sluice
