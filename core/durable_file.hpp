// Files that are, after any crash, either old and whole or new and whole: temporary name, write,
// fsync, rename, fsync of the folder; every call checked.
#pragma once

#include "core/error.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace sluice {

/// Where the file goes that is written under `path`: there, or, where that is a symbolic link,
/// where it leads to, which need not exist. Throws UserError (data) when something is there that is
/// not a regular file: /dev/null would be replaced for the whole machine.
std::filesystem::path replaceable_file(const std::filesystem::path& path);

/// Replaces replaceable_file(`path`) by `bytes`, durably. Throws UserError (data) naming file, call
/// and errno text; the old file is then untouched (or the new one in its place, where its folder
/// alone could not be put on disk), and no temporary file is left.
void write_file_durably(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_durably(const std::filesystem::path& path, std::string_view text);

/// Writes a short text over the file that is there, with spaces to its old length, and durably,
/// where that takes no room beyond what the file has: for last words on a disk that is full. A
/// crash meanwhile leaves a mixture. Whether that was done.
bool write_over(const std::filesystem::path& path, std::string_view text);

/// rename(2) of a file or folder, then fsync of the folder that holds it.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// std::filesystem::remove_all, again where a signal cuts it short.
void remove_folder(const std::filesystem::path& folder, std::error_code& error);

void fsync_folder(const std::filesystem::path& folder);

/// Whole file in memory. Throws UserError (data), also when it has more than `max_bytes`.
std::string read_file(const std::filesystem::path& path,
                      std::uint64_t max_bytes = std::uint64_t{1} << 32);

/// Reads what the file has at `offset`, up to the size of `into`, and returns how many bytes that
/// were. Throws UserError (data) naming `path`.
std::size_t read_at(int descriptor, std::uint64_t offset, std::span<std::byte> into,
                    const std::filesystem::path& path);

/// Calls again for as long as a signal cuts the call short (EINTR), as slow and network file
/// systems allow: `retried([&] { return ::open(path, flags); })`.
template <class Call>
auto retried(const Call& call)
{
    auto result = call();
    while (result < 0 && errno == EINTR)
        result = call();
    return result;
}

/// The UserError (data) for a failed system call: "No space left on device (fsync)" at `path`, with
/// the remedy that fits `error_number`.
UserError file_error(std::string_view call, const std::filesystem::path& path, int error_number);

UserError file_error(const std::filesystem::filesystem_error& error);

/// `work()`, of which what std::filesystem throws comes as UserError (data): whoever calls that
/// means files that the user has named.
template <class Work>
auto with_file_errors_in_words(const Work& work)
{
    try {
        return work();
    } catch (const std::filesystem::filesystem_error& error) {
        throw file_error(error);
    }
}

/// Bytes that we may still write to the file system that holds `folder`; nothing where it cannot
/// say.
std::optional<std::uint64_t> free_space(const std::filesystem::path& folder);

/// Fails now, in words, when the file system that holds `folder` has less than `bytes` to give, so
/// that a save does not end halfway. A file system that cannot say is let pass.
void require_free_space(const std::filesystem::path& folder, std::uint64_t bytes);

/// A write beyond the file-size limit (ulimit -f) returns EFBIG instead of ending the process.
/// Called by everything here that writes; a handler somebody installed stays.
void report_size_limit_as_error();

} // namespace sluice
