// Files that are, after any crash, either old and whole or new and whole: temporary name, write,
// fsync, rename, fsync of the folder; every call checked.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace sluice {

/// Replaces `path` by `bytes`, durably. Throws UserError (data) naming file, call and errno text;
/// the old file is then untouched and no temporary file is left.
void write_file_durably(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file_durably(const std::filesystem::path& path, std::string_view text);

/// rename(2) of a file or folder, then fsync of the folder that holds it.
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

void fsync_folder(const std::filesystem::path& folder);

/// Whole file in memory. Throws UserError (data).
std::string read_file(const std::filesystem::path& path);

} // namespace sluice
