#include "io/output_lock.hpp"

#include "core/error.hpp"

namespace sluice {

namespace fs = std::filesystem;

namespace {

fs::path lock_of(const fs::path& output) { return output.string() + ".lock"; }

} // namespace

OutputLock::OutputLock(const fs::path& output)
    : lock_(lock_of(output), FileLock::Afterwards::is_removed)
{
    try {
        if (lock_.take())
            return;
    } catch (const UserError& error) {
        std::error_code ignored;
        if (fs::exists(lock_of(output), ignored)) // another user's
            throw;
        throw UserError(error.code(), error.problem(), output.string(), error.remedy());
    }
    throw usage_error("another program (" + lock_.holder() + ") is writing this file",
                      output.string(), "wait until it has ended, or choose another file");
}

} // namespace sluice
