// What the HDF5 files of a checkpoint have in common (docs/checkpoint-format.md).
#pragma once

#include "io/checkpoint.hpp"
#include "io/hdf5_file.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

/// `/progress` with its attributes, and `/config`.
void write_progress(Hdf5Writer& file, const CheckpointProgress& progress,
                    const std::string& config);
/// `/warmup/counter` and `/warmup/alpha`.
void write_gates(Hdf5Writer& file, const std::vector<std::int64_t>& counters,
                 const std::vector<double>& alphas);
void write_numbers(Hdf5Writer& file, std::string_view path,
                   const std::vector<std::int64_t>& numbers);
/// A tensor of at least one element, with its checksum as an attribute.
HashedDataset write_tensor(Hdf5Writer& file, std::string_view path, const TensorView& tensor);

} // namespace sluice
