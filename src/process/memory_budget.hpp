// How much memory a rank may take, so that a run that cannot fit is refused before it starts.
#pragma once

#include <cstddef>
#include <filesystem>

namespace sluice {

/// This machine's memory, or the limit of this process' control group where that is smaller
/// (containers, Slurm with ConstrainRAMSpace), divided by ranks_on_this_machine().
std::size_t memory_per_rank();

/// The smallest memory limit of the control group `group` ("/a/b") and those above it, below the
/// mounted hierarchy `root`; the largest number when none is set. Reads memory.max (version 2) and
/// memory.limit_in_bytes (version 1).
std::size_t control_group_limit(const std::filesystem::path& root,
                                const std::filesystem::path& group);

} // namespace sluice
