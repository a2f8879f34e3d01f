// Which call of failing_files.cpp fails, and how: the environment says it, as described there.
#pragma once

#include <string>
#include <string_view>

namespace sluice::drill {

/// What a call does instead of its work.
struct Fate {
    int error = 0;            ///< to return
    bool short_write = false; ///< half of it is done
    bool disk_is_full = false;
};

/// Counts a call that touches `path` and says what becomes of it.
Fate count(std::string_view call, const std::string& path);
/// Counts a call of MPI, where those are counted.
void count_mpi(std::string_view call);

/// Whether this process takes part in it and the path lies below the folder.
bool covered(std::string_view path);
/// How long an fsync is to take; 0: as long as it does.
long fsync_ms();

/// Paths of the descriptors that were opened below the folder; empty for others.
std::string path_of(int descriptor);
void remember(int descriptor, const std::string& path);

/// The function that this library stands in front of.
void* next_symbol(const char* name);
template <class Function>
Function* next(const char* name)
{
    return reinterpret_cast<Function*>(next_symbol(name));
}

} // namespace sluice::drill
