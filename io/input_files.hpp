// What a list of files, folders and patterns stands for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice {

struct InputFile {
    std::filesystem::path path;
    /// Named by the user, so that it must be usable; false for what a folder or a pattern gave,
    /// where files that are not text are passed over.
    bool named = false;
    std::uint64_t size_bytes = 0;
};

struct InputSelection {
    /// Patterns (`*`, `?`, `[...]`) on the name of files found in folders, or on their path below
    /// the folder when the pattern contains a slash. Empty `include`: all.
    std::vector<std::string> include, exclude;
};

/// Files in the order of `inputs`; a folder gives every file below it, and a pattern every file
/// that matches and every file below a folder that does, sorted by path bytes. Hidden files and
/// folders inside a folder are passed over; links to folders are not followed, but named ones, and
/// refused where a pattern matches one.
/// Throws UserError: data when something does not exist, cannot be read, or gives no file; usage
/// where a pattern has **.
std::vector<InputFile> find_input_files(const std::vector<std::string>& inputs,
                                        const InputSelection& selection);

} // namespace sluice
