// The checkpoints of a run folder, as a table for people or as JSON.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice {

/// A checkpoint's folder or a merged file (any file: the reader says whether it is one) as it is;
/// of a run folder, its newest checkpoint. Throws UserError (data) for anything else.
std::filesystem::path checkpoint_at(const std::filesystem::path& path);
/// Where the checkpoints of a run folder lie. Throws UserError (data) when it is not one.
std::filesystem::path checkpoints_of_run(const std::filesystem::path& run_dir);

struct ListedCheckpoint {
    std::filesystem::path folder;
    std::int64_t update = -1; ///< -1 where the manifest cannot tell, as all that follows
    std::string created_at, parameters_digest;
    int num_stages = 0;
    std::uint64_t size_bytes = 0;
    std::vector<std::string> problems; ///< none: whole, as far as was looked
};

/// How closely to look.
enum class LookAt : std::uint8_t { manifest_and_sizes, every_byte };

/// Oldest first. Damage is listed, never thrown.
std::vector<ListedCheckpoint> list_with_problems(const std::filesystem::path& checkpoints,
                                                 LookAt look_at);

/// `leftovers`: what lies beside the checkpoints, of saves that died or are under way.
std::string checkpoint_list_text(const std::vector<ListedCheckpoint>& listed, LookAt look_at,
                                 const std::vector<std::filesystem::path>& leftovers);
std::string checkpoint_list_json(const std::vector<ListedCheckpoint>& listed,
                                 const std::vector<std::filesystem::path>& leftovers);

} // namespace sluice
