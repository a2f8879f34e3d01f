// Where a run came from, by what its metrics tell: saves of its own, and another run's checkpoint
// that it began with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace sluice {

/// With `checkpoint` a run in `run_folder` begins: how metrics tell of it besides its absolute
/// path, so that it is known again after both were moved together. Empty where it cannot be said.
std::string path_from_run_folder(const std::filesystem::path& run_folder,
                                 const std::filesystem::path& checkpoint);

/// The newest save that the metrics beside `checkpoints` tell of; 0 where they tell of none.
std::int64_t newest_save_told_of(const std::filesystem::path& checkpoints);

struct FirstCheckpoint {
    std::filesystem::path path; ///< may be gone
    bool branch = false;        ///< the run went on from it with another recipe
};

/// With what the run began where that was another's checkpoint, by the last start in its metrics.
std::optional<FirstCheckpoint> begun_with(const std::filesystem::path& checkpoints);

/// Whether what stands beside `checkpoints` began with `asked`, a checkpoint or a run's folder, or
/// with a checkpoint of that run, by the starts in its metrics. `asked` may be gone by now.
bool descends_from(const std::filesystem::path& asked, const std::filesystem::path& checkpoints);

} // namespace sluice
