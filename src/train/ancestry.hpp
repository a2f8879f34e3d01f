// Where a run came from, by what its metrics tell: saves of its own, and another run's checkpoint
// that it began with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace sluice {

/// Absolute, by whatever links, without a slash at its end; as it is where that cannot be told.
std::filesystem::path absolute_path(const std::filesystem::path& path);

/// With `checkpoint` a run in `run_folder` begins: how metrics tell of it besides its absolute
/// path, so that it is known again after both were moved together. Empty where it cannot be said.
std::string path_from_run_folder(const std::filesystem::path& run_folder,
                                 const std::filesystem::path& checkpoint);

/// The newest save that the metrics beside `checkpoints` tell of; 0 where they tell of none.
std::int64_t newest_save_told_of(const std::filesystem::path& checkpoints);

/// What a run begins with, or goes on from.
struct ChosenCheckpoint {
    std::filesystem::path path;
    bool branch = false; ///< with another recipe; where `path` is of this run it counts no more
};

/// With what the run began where that was another's checkpoint, by the last start in its metrics.
/// That may be gone by now.
std::optional<ChosenCheckpoint> begun_with(const std::filesystem::path& checkpoints);

/// Whether what stands beside `checkpoints` began with `asked`, a checkpoint or a run's folder, or
/// with a checkpoint of that run, by the starts in its metrics. `asked` may be gone by now.
bool descends_from(const std::filesystem::path& asked, const std::filesystem::path& checkpoints);

} // namespace sluice
