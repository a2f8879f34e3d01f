// Two programs that write one file at a time would share its temporary name, and mix their bytes.
#pragma once

#include "core/file_lock.hpp"

#include <filesystem>

namespace sluice {

/// Held by whom makes the file `output`, from before its first byte to after its last: FILE.lock,
/// for HDF5 locks its own files. What a killed process leaves of it stops nobody.
class OutputLock {
public:
    /// Throws UserError (usage) when another process holds it, (data) when the folder cannot be
    /// written to.
    explicit OutputLock(const std::filesystem::path& output);

private:
    FileLock lock_;
};

} // namespace sluice
