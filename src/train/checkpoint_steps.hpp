// The steps of a save, shared by saves that hold training up and those that do not.
#pragma once

#include "io/checkpoint.hpp"
#include "pipeline/replicas.hpp"
#include "pipeline/stage.hpp"
#include "src/config/run_config.hpp"

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace sluice {

WarmupState warmup_state_of(const StageChunk& chunk);

/// StageContents::on_array on this rank: from any thread, for the watch.
std::function<void()> moved_on(Transport& transport);

/// The type in which checkpoints hold arrays of `dtype`: bf16 as f32, which is exact.
DType stored_dtype(DType dtype);
/// Queues a copy of an array, wherever it is, to host memory as checkpoints hold it; there after
/// synchronize().
void copy_as_stored(const Stream& stream, const TensorView& from, const TensorView& to);

/// One save's folders below `checkpoints`.
struct SaveFolders {
    SaveFolders(const std::filesystem::path& checkpoints, std::int64_t update);
    std::int64_t update;
    std::filesystem::path checkpoints, partial, final;
};

/// Collective over `world`. An empty folder for the stages' files, also where a save of the same
/// update has died.
void make_partial_folder(Transport& world, const SaveFolders& folders);
/// On rank 0, after a failure.
void drop_partial_folder(const Transport& world, const SaveFolders& folders) noexcept;

/// A stage's file, and the time it took.
struct WrittenStage {
    ManifestEntry entry;
    double seconds = 0.0;
};

/// Collective over the world: the stages in order, from the ranks of replica 0, on every rank.
std::vector<WrittenStage> gather_stages(const Replicas& replicas, const WrittenStage& mine);

/// On rank 0: makes the checkpoint out of the stages' files, then retention. Returns the digest of
/// all parameters.
std::string complete_checkpoint(const SaveFolders& folders, const std::vector<WrittenStage>& stages,
                                const RunConfig& config);

/// prune_checkpoints(), where failing is only told: nothing is at risk, and a run must not end
/// because somebody else has an old file open (on NFS its folder then cannot go).
void delete_old_checkpoints(const std::filesystem::path& checkpoints, const Retention& retention,
                            std::optional<std::int64_t> newest = std::nullopt);

} // namespace sluice
