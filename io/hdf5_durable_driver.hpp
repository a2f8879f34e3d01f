// The HDF5 file driver behind Hdf5Writer: pwrite with every result checked, the first failure kept.
#pragma once

#include "io/hdf5_handle.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace sluice::hdf5 {

/// A new file on disk that HDF5 writes into. The driver answers "done" to HDF5 also after a failed
/// call, so that the library closes in good order; `error_number` tells what really happened.
struct DurableSink {
    std::filesystem::path path;
    int descriptor = -1;
    int error_number = 0;        ///< errno of the first failed call, 0 while all is well
    const char* error_call = ""; ///< its name
    std::uint64_t end_of_file = 0;

    void fail(const char* call, int number)
    {
        if (error_number == 0) {
            error_number = number;
            error_call = call;
        }
    }
};

/// Writes at `address`, unless a call has failed before. What fails is remembered in `sink`. Of
/// large writes the disk is told at once, so that it works while the next are copied.
void write_at(DurableSink& sink, std::uint64_t address, std::span<const std::byte> bytes);

/// File access properties that make H5Fcreate write into `sink`, which must outlive the file.
Id durable_file_access(DurableSink& sink);

} // namespace sluice::hdf5
