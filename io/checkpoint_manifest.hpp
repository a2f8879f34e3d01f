// manifest.json: what makes a folder a checkpoint. Lists every file with size and checksum, and
// every tensor with its place in its file, and protects itself with a checksum of its own text.
// The format is docs/checkpoint-format.md.
#pragma once

#include "io/checkpoint.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

inline constexpr std::string_view manifest_name = "manifest.json";
inline constexpr std::string_view index_name = "checkpoint.h5";
inline constexpr std::int64_t checkpoint_format_version = 1;

std::string stage_file_name(int stage, int num_stages); ///< "stage-0000-of-0002.h5"

/// One tensor: what the reader tells others, and where its bytes lie in its stage's file.
struct ManifestArray {
    CheckpointReader::ArrayInfo info;
    std::uint64_t file_offset = 0;
    std::uint64_t num_bytes() const
    {
        return static_cast<std::uint64_t>(info.shape.num_elements()) * size_of(info.dtype);
    }
};

struct Manifest {
    /// Not of a folder: one file holds everything, and has no checksum of its own
    /// (io/merged_checkpoint.hpp).
    bool merged = false;
    std::int64_t update = 0;
    std::int64_t num_layers = 0;
    std::string created_at; ///< UTC, "2026-01-31T23:59:59Z"
    std::string parameters_digest;
    std::string state_digest;
    std::vector<ManifestEntry> files;  ///< the index, then the stages in order; merged: the file
    std::vector<ManifestArray> arrays; ///< sorted by path

    int num_stages() const { return merged ? 1 : static_cast<int>(files.size()) - 1; }
    const ManifestEntry& index_file() const { return files.front(); }
    const ManifestEntry& stage_file(int stage) const
    {
        return merged ? files.front() : files[static_cast<std::size_t>(stage) + 1];
    }
};

std::string manifest_text(const Manifest& manifest);
/// Throws UserError (data) on anything that manifest_text() would not have written; `where` is the
/// file's name for the message.
Manifest parse_manifest(const std::string& text, const std::string& where);

/// Plain characters behind a '/': it may be printed, and names nothing outside of a file's tree.
bool is_tensor_path(std::string_view path);
/// Empty when the tensors have such paths in order, each once, and lie inside their files, apart
/// from one another.
std::string problem_with_arrays(const Manifest& manifest);
/// Nothing when no tensor can have these extents.
std::optional<Shape> possible_shape(std::span<const std::uint64_t> extents);

/// What one stage tells rank 0 besides its file: written beside the stage's file while the save
/// goes on, merged into index and manifest, then deleted.
struct StageSummary {
    std::vector<ManifestArray> arrays;
    std::vector<WarmupState> warmup;
    CheckpointProgress progress;
    std::string config_toml;
};

std::string stage_summary_text(const StageSummary& summary);
StageSummary parse_stage_summary(const std::string& text, const std::string& where);

/// Checksum over the sorted lines "path checksum\n" of the arrays below `prefix`.
std::string digest_of(const std::vector<ManifestArray>& arrays, std::string_view prefix);
/// Checksum over the sorted lines of all arrays, then "/warmup/counter/LAYER COUNTER\n" per layer.
std::string state_digest_of(const std::vector<ManifestArray>& arrays,
                            const std::vector<std::int64_t>& counters);

} // namespace sluice
