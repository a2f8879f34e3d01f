#include "core/file_lock.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/host_name.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace sluice {

std::string FileLock::this_process()
{
    return "process " + std::to_string(::getpid()) + " on " + host_name();
}

FileLock::~FileLock()
{
    if (descriptor_ >= 0 && afterwards_ == Afterwards::is_removed)
        ::unlink(path_.c_str()); // while it is held: afterwards it may be another's
    let_go();
}

void FileLock::let_go()
{
    if (descriptor_ >= 0)
        ::close(std::exchange(descriptor_, -1));
}

/// Of what was opened here and what stands under the name: the last holder may have removed it
/// since, and others lock another file.
FileLock::Sameness FileLock::sameness() const
{
    struct stat mine {
    }, there{};
    if (::stat(path_.c_str(), &there) != 0) // other errors: a network file system's bad moment
        return errno == ENOENT ? Sameness::other : Sameness::unknown;
    if (::fstat(descriptor_, &mine) != 0)
        return Sameness::unknown;
    return mine.st_dev == there.st_dev && mine.st_ino == there.st_ino ? Sameness::same
                                                                      : Sameness::other;
}

bool FileLock::take(std::chrono::milliseconds patience)
{
    report_size_limit_as_error();
    const auto deadline = std::chrono::steady_clock::now() + patience;
    int tries_left = 100; // where a file system cannot tell its files apart
    do {
        let_go();
        descriptor_ =
            retried([&] { return ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666); });
        if (descriptor_ < 0)
            throw file_error("open", path_, errno);
        why_it_guards_nothing_.clear();
        while (retried([&] { return ::flock(descriptor_, LOCK_EX | LOCK_NB); }) != 0) {
            if (errno != EWOULDBLOCK) {
                why_it_guards_nothing_ = file_error("flock", path_, errno).problem();
                break;
            }
            if (std::chrono::steady_clock::now() >= deadline) {
                let_go();
                return false;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
    } while (sameness() != Sameness::same && --tries_left > 0);
    tells_files_apart_ = tries_left > 0;
    const std::string who = this_process();
    // Nothing is lost where it cannot be written.
    if (::ftruncate(descriptor_, 0) == 0) [[maybe_unused]]
        const auto written = ::pwrite(descriptor_, who.data(), who.size(), 0);
    return true;
}

std::string FileLock::holder() const
{
    try {
        return read_file(path_);
    } catch (const UserError&) {
        return "";
    }
}

bool FileLock::is_in_place() const
{
    return descriptor_ >= 0 && (!tells_files_apart_ || sameness() != Sameness::other);
}

bool FileLock::is_held_here() const { return holder() == this_process(); }

} // namespace sluice
