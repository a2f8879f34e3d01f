// Which checkpoints of a run can be gone on from: every byte is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>

namespace sluice {

/// The newest whole one of update `most_update` or before; empty where there is none. Warns of
/// every damaged one that it passes over. `on_block`: see CheckpointReader::verify().
std::filesystem::path
newest_whole_checkpoint(const std::filesystem::path& checkpoints,
                        const std::function<void()>& on_block,
                        std::int64_t most_update = std::numeric_limits<std::int64_t>::max());

} // namespace sluice
