// The inside of CheckpointReader, shared by reading (checkpoint_reader.cpp) and verifying
// (checkpoint_verify.cpp).
#pragma once

#include "io/checkpoint_manifest.hpp"
#include "io/hdf5_file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace sluice {

struct CheckpointReader::Files {
    /// What checkpoint.h5 holds itself; read when first asked for, after its checksum was checked.
    /// A merged file holds it, too, with a checksum for each part.
    struct Index {
        CheckpointProgress progress;
        std::string config_toml;
        WarmupState warmup;
    };

    std::filesystem::path path;   ///< of the checkpoint: its folder, or the merged file
    std::filesystem::path folder; ///< that its files are in
    Manifest manifest;
    std::vector<ArrayInfo> infos; ///< of manifest.arrays, in the same order
    std::optional<Index> index;

    const Index& loaded_index();
    Index index_in(const Hdf5Reader& file) const;
    Index read_index() const; ///< from the disk; throws UserError (data)
};

/// A file that may be damaged, read at offsets. Symbolic links are not followed.
class DamageableFile {
public:
    explicit DamageableFile(const std::filesystem::path& path);
    ~DamageableFile();
    DamageableFile(const DamageableFile&) = delete;
    DamageableFile& operator=(const DamageableFile&) = delete;

    /// Bytes read; fewer than asked for at the end of the file. Throws UserError (data).
    std::size_t read(std::uint64_t offset, std::span<std::byte> into) const;

private:
    std::filesystem::path path_;
    int descriptor_ = -1;
};

/// Empty when the file is there, is an ordinary file, and has the size the manifest says.
std::string problem_with(const std::filesystem::path& folder, const ManifestEntry& entry);

} // namespace sluice
