// How much memory a rank may take, so that a run that cannot fit is refused before it starts.
#pragma once

#include <cstddef>
#include <filesystem>

namespace sluice {

/// This machine's memory, or the limit of this process' control group where that is smaller
/// (containers, Slurm with ConstrainRAMSpace), divided by ranks_on_this_machine(); or what is left
/// of this process' address space (ulimit -v, h_vmem of Grid Engine) where that is less.
std::size_t memory_per_rank();

/// Of a process that may take `limit` bytes of addresses and has taken `taken`: for tensors and the
/// program (process_memory.hpp), whose addresses are taken already. Threads reserve more than they
/// use, and libraries that find no more memory crash (HDF5 1.10).
std::size_t address_space_for_a_rank(std::size_t limit, std::size_t taken);

/// The smallest memory limit of the control group `group` ("/a/b") and those above it, below the
/// mounted hierarchy `root`; the largest number when none is set. Reads memory.max (version 2) and
/// memory.limit_in_bytes (version 1).
std::size_t control_group_limit(const std::filesystem::path& root,
                                const std::filesystem::path& group);

} // namespace sluice
