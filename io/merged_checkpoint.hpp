// A checkpoint as one HDF5 file (docs/checkpoint-format.md, "One file"): what merge_checkpoint()
// writes, described as a folder's manifest describes its files.
#pragma once

#include "io/checkpoint_manifest.hpp"
#include "io/hdf5_file.hpp"

#include <filesystem>
#include <map>
#include <string>

namespace sluice {

/// What the file says of itself. Nothing of it is to be trusted beyond what CheckpointReader checks
/// of a folder's manifest: plain paths, places inside the file. Throws UserError (data) when it is
/// another kind of file, or damaged where this looks.
Manifest manifest_of_merged(const std::filesystem::path& path);

/// Checksums of all that a merged file holds beside tensors and attributes, by path. It carries
/// them as attributes.
std::map<std::string, std::string> section_checksums(const CheckpointProgress& progress,
                                                     const std::string& config_toml,
                                                     const WarmupState& gates);

} // namespace sluice
