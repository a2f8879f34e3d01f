#include "io/line_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <span>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace sluice {

namespace fs = std::filesystem;

LineFile::LineFile(fs::path path) : path_(std::move(path))
{
    report_size_limit_as_error();
    descriptor_ = retried(
        [&] { return ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666); });
    if (descriptor_ < 0)
        throw file_error("open", path_, errno);
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) {
        const int code = errno;
        ::close(descriptor_);
        throw file_error("fstat", path_, code);
    }
    size_bytes_ = synced_bytes_ = static_cast<std::uint64_t>(status.st_size);
}

LineFile::~LineFile() { ::close(descriptor_); }

void LineFile::keep_refused_lines(std::size_t most_bytes)
{
    const std::lock_guard lock(mutex_);
    most_kept_bytes_ = most_bytes;
    synced_bytes_ = size_bytes_;
}

std::string LineFile::why_lines_wait() const
{
    const std::lock_guard lock(mutex_);
    return why_waiting_;
}

void LineFile::append(std::string_view lines)
{
    const std::lock_guard lock(mutex_);
    write_or_keep(lines);
}

std::uint64_t LineFile::size_bytes() const
{
    const std::lock_guard lock(mutex_);
    return size_bytes_;
}

void LineFile::cut(const std::function<Cut(std::uint64_t, const std::string&)>& decide)
{
    const std::lock_guard lock(mutex_);
    const Cut cut = decide(size_bytes_, waiting_);
    if (cut.end != size_bytes_)
        truncate(cut.end);
    waiting_.clear();
    write_or_keep(cut.behind);
}

void LineFile::truncate(std::uint64_t to_bytes)
{
    if (retried([&] { return ::ftruncate(descriptor_, static_cast<off_t>(to_bytes)); }) != 0)
        throw file_error("ftruncate", path_, errno);
    size_bytes_ = to_bytes;
    synced_bytes_ = std::min(synced_bytes_, to_bytes);
    unsynced_.resize(
        std::min(unsynced_.size(), static_cast<std::size_t>(to_bytes - synced_bytes_)));
}

void LineFile::write_out(std::string_view lines)
{
    for (std::string_view rest = lines; !rest.empty();) {
        const ssize_t done =
            retried([&] { return ::write(descriptor_, rest.data(), rest.size()); });
        if (done < 0) {
            const int code = errno;
            truncate(size_bytes_); // no half line
            throw file_error("write", path_, code);
        }
        rest.remove_prefix(static_cast<std::size_t>(done));
    }
    size_bytes_ += lines.size();
    remember_unsynced(lines);
}

void LineFile::remember_unsynced(std::string_view lines)
{
    if (most_kept_bytes_ == 0)
        return;
    unsynced_ += lines;
    if (unsynced_.size() > most_kept_bytes_) { // what is not on disk yet is taken on trust
        unsynced_.clear();
        synced_bytes_ = size_bytes_;
    }
}

void LineFile::write_waiting()
{
    if (waiting_.empty())
        return;
    try {
        if (!why_waiting_.empty())
            truncate(size_bytes_); // a file system that fails may have kept half a line
        write_out(waiting_);
    } catch (const UserError& error) {
        why_waiting_ = error.where() + ": " + error.problem();
        throw;
    }
    waiting_.clear();
    why_waiting_.clear();
}

void LineFile::write_or_keep(std::string_view lines)
{
    if (most_kept_bytes_ == 0)
        return write_out(lines);
    waiting_ += lines;
    try {
        write_waiting();
    } catch (const UserError&) {
        if (waiting_.size() > most_kept_bytes_)
            throw;
    }
}

/// The kernel forgets what it could not write, and reports that once.
void LineFile::take_back_unsynced(const std::string& why)
{
    waiting_.insert(0, std::exchange(unsynced_, {}));
    size_bytes_ = synced_bytes_;
    if (!waiting_.empty())
        why_waiting_ = why;
}

void LineFile::sync()
{
    std::uint64_t until = 0;
    {
        const std::lock_guard lock(mutex_);
        write_waiting();
        until = size_bytes_;
    }
    const bool synced = retried([&] { return ::fsync(descriptor_); }) == 0;
    const int code = errno;
    const std::lock_guard lock(mutex_);
    if (synced) {
        until = std::clamp(until, synced_bytes_, size_bytes_);
        unsynced_.erase(0, static_cast<std::size_t>(until - synced_bytes_));
        synced_bytes_ = until;
        return;
    }
    const UserError error = file_error("fsync", path_, code);
    if (most_kept_bytes_ > 0)
        take_back_unsynced(error.where() + ": " + error.problem());
    throw error;
}

bool LineFile::is_in_place() const
{
    struct stat ours {
    }, there{};
    const bool is_there = ::stat(path_.c_str(), &there) == 0;
    if (!is_there && errno != ENOENT)
        throw file_error("stat", path_, errno);
    if (::fstat(descriptor_, &ours) != 0)
        throw file_error("fstat", path_, errno);
    return is_there && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

bool LineFile::put_back()
{
    const std::lock_guard lock(mutex_);
    if (is_in_place())
        return false;
    std::error_code error;
    if (fs::exists(path_, error))
        rename_durably(path_, path_.string() + ".other");
    std::string whole(static_cast<std::size_t>(size_bytes_), '\0');
    if (read_at(descriptor_, 0, std::as_writable_bytes(std::span(whole)), path_) != whole.size())
        throw file_error("read", path_, EIO);
    write_file_durably(path_, whole);
    const int anew = retried([&] { return ::open(path_.c_str(), O_RDWR | O_APPEND | O_CLOEXEC); });
    if (anew < 0)
        throw file_error("open", path_, errno);
    // The number stays: another thread may be about to sync it.
    const int moved = retried([&] { return ::dup3(anew, descriptor_, O_CLOEXEC); });
    const int code = errno;
    ::close(anew);
    if (moved < 0)
        throw file_error("dup", path_, code);
    unsynced_.clear();
    synced_bytes_ = size_bytes_;
    return true;
}

} // namespace sluice
