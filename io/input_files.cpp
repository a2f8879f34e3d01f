#include "io/input_files.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <fnmatch.h>
#include <glob.h>

namespace sluice {

namespace fs = std::filesystem;

namespace {

bool matches_any(const std::vector<std::string>& patterns, const fs::path& below_folder)
{
    return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
        const fs::path subject =
            pattern.find('/') == std::string::npos ? below_folder.filename() : below_folder;
        return fnmatch(pattern.c_str(), subject.c_str(), 0) == 0;
    });
}

void sort_by_path_bytes(std::vector<InputFile>& files)
{
    std::sort(files.begin(), files.end(), [](const InputFile& a, const InputFile& b) {
        return a.path.native() < b.path.native();
    });
}

std::vector<InputFile> files_below(const fs::path& folder, const InputSelection& selection)
{
    std::vector<InputFile> files;
    fs::path at = folder; // the library does not say which one it could not open
    try {
        for (auto entry = fs::recursive_directory_iterator(folder);
             entry != fs::recursive_directory_iterator(); ++entry) {
            at = entry->path();
            if (at.filename().native().starts_with('.')) {
                entry.disable_recursion_pending();
                continue;
            }
            std::error_code dangling;
            if (!entry->is_regular_file(dangling))
                continue;
            const fs::path below = at.lexically_relative(folder);
            if ((selection.include.empty() || matches_any(selection.include, below)) &&
                !matches_any(selection.exclude, below))
                files.push_back({at, false, entry->file_size()});
        }
    } catch (const fs::filesystem_error& error) {
        throw data_error("cannot be read: " + error.code().message(), at.string(),
                         "check its permissions, or leave it out");
    }
    sort_by_path_bytes(files);
    return files;
}

void require_files(const std::vector<InputFile>& files, const std::string& folder,
                   const InputSelection& selection)
{
    if (files.empty())
        throw data_error("no file in this folder" +
                             std::string(selection.include.empty() && selection.exclude.empty()
                                             ? ""
                                             : " passes --include and --exclude"),
                         folder, "give a folder that holds text files");
}

/// Folders that match are walked. Links to folders, which are not followed below a folder, are
/// refused: left out they would be missed, and followed their files may come twice.
std::vector<InputFile> files_matching(const std::string& pattern, const InputSelection& selection)
{
    if (pattern.find("**") != std::string::npos)
        throw usage_error("** is not understood in a pattern", pattern,
                          "name the folder, whose folders are walked, and choose in it with "
                          "--include \"*.txt\"");
    glob_t found{};
    const int result = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &found);
    std::vector<InputFile> files;
    std::vector<fs::path> paths(found.gl_pathv,
                                found.gl_pathv + (result == 0 ? found.gl_pathc : 0));
    ::globfree(&found);
    for (fs::path& path : paths)
        if (!path.has_filename()) // "folder/"
            path = path.parent_path();
    for (const fs::path& path : paths) {
        if (fs::is_regular_file(path))
            files.push_back({path, false, fs::file_size(path)});
        else if (fs::is_directory(path) && fs::is_symlink(path))
            throw data_error("the pattern matches a link to a folder", path.string(),
                             "name the folders you mean, or a pattern without the link");
        else if (fs::is_directory(path) && path.filename() != "." && path.filename() != "..")
            std::ranges::move(files_below(path, selection), std::back_inserter(files));
    }
    if (files.empty())
        throw data_error("no file matches this pattern", pattern, "check the pattern");
    sort_by_path_bytes(files);
    return files;
}

} // namespace

std::vector<InputFile> find_input_files(const std::vector<std::string>& inputs,
                                        const InputSelection& selection)
{
    std::vector<InputFile> files;
    for (const std::string& input : inputs) {
        std::error_code error;
        const fs::file_status status = fs::status(input, error);
        std::vector<InputFile> more;
        if (fs::is_directory(status)) {
            more = files_below(input, selection);
            require_files(more, input, selection);
        } else if (fs::is_regular_file(status))
            more = {{input, true, fs::file_size(input)}};
        else if (fs::exists(status))
            throw data_error("neither a file nor a folder", input,
                             "give files, folders or patterns; write a stream to a file first");
        else if (input.find_first_of("*?[") != std::string::npos)
            more = files_matching(input, selection);
        else
            throw data_error("no such file or folder", input, "check the path");
        std::move(more.begin(), more.end(), std::back_inserter(files));
    }
    return files;
}

} // namespace sluice
