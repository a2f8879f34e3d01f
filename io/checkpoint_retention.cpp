#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint_manifest.hpp"

#include <algorithm>
#include <charconv>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// 1000 for "update-00001000"; empty for names we did not give.
std::optional<std::int64_t> update_of(const std::string& folder_name)
{
    constexpr std::string_view prefix = "update-";
    if (!folder_name.starts_with(prefix))
        return std::nullopt;
    const std::string_view digits = std::string_view(folder_name).substr(prefix.size());
    std::int64_t update = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), update);
    if (error != std::errc() || end != digits.data() + digits.size() ||
        checkpoint_folder_name(update) != folder_name)
        return std::nullopt;
    return update;
}

/// Leftovers of saves and deletions that died: ".update-00001000.partial", "... .deleting".
bool is_leftover(const std::string& name)
{
    if (!name.starts_with(".update-"))
        return false;
    const std::size_t dot = name.find('.', 1);
    if (dot == std::string::npos || !update_of(name.substr(1, dot - 1)))
        return false;
    const std::string_view ending = std::string_view(name).substr(dot);
    return ending == ".partial" || ending == ".deleting" || ending == ".partial.replaced";
}

/// Nothing where there is no such folder. A folder that is there but cannot be read is an error: a
/// run that took it for an empty one would begin again.
std::vector<fs::path> entries_of(const fs::path& folder)
{
    std::vector<fs::path> entries;
    std::error_code error;
    do {
        entries.clear();
        for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
             entry.increment(error))
            entries.push_back(entry->path());
    } while (error == std::errc::interrupted);
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory)
        throw file_error("opendir", folder, error.value());
    return entries;
}

/// Off its name first, so that a deletion that dies never leaves half a checkpoint.
void delete_checkpoint(const fs::path& folder)
{
    const fs::path aside = folder.parent_path() / ("." + folder.filename().string() + ".deleting");
    rename_durably(folder, aside);
    std::error_code error;
    remove_folder(aside, error);
    if (error)
        throw file_error("unlink", aside, error.value());
}

/// The newest that looks whole and lies `rewind_updates` or more before the update that follows the
/// last; empty: none does, or no rewinds are wanted.
fs::path rewind_target(const std::vector<fs::path>& folders, std::int64_t rewind_updates)
{
    if (rewind_updates <= 0 || folders.empty())
        return {};
    const std::int64_t bound = update_of_checkpoint(folders.back()) + 1 - rewind_updates;
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder)
        if (update_of_checkpoint(*folder) <= bound && looks_whole(*folder))
            return *folder;
    return {};
}

} // namespace

std::vector<fs::path> list_checkpoints(const fs::path& checkpoints)
{
    std::vector<std::pair<std::int64_t, fs::path>> found;
    for (const fs::path& entry : entries_of(checkpoints)) {
        std::error_code error;
        const auto update = update_of(entry.filename().string());
        if (update && fs::is_directory(entry, error) &&
            fs::is_regular_file(entry / manifest_name, error))
            found.emplace_back(*update, entry);
    }
    std::sort(found.begin(), found.end());
    std::vector<fs::path> folders;
    for (auto& [update, folder] : found)
        folders.push_back(std::move(folder));
    return folders;
}

std::int64_t update_of_checkpoint(const fs::path& folder)
{
    const auto update = update_of(folder.filename().string());
    SLUICE_CHECK(update.has_value(), folder.string());
    return *update;
}

std::vector<fs::path> delete_checkpoints_after(const fs::path& checkpoints, std::int64_t update)
{
    std::vector<fs::path> deleted = list_checkpoints(checkpoints);
    std::reverse(deleted.begin(), deleted.end());
    std::erase_if(deleted,
                  [&](const fs::path& folder) { return update_of_checkpoint(folder) <= update; });
    for (const fs::path& folder : deleted)
        delete_checkpoint(folder);
    return deleted;
}

bool looks_whole(const fs::path& folder)
{
    try {
        const CheckpointReader reader(folder);
        return true;
    } catch (const UserError&) {
        return false;
    }
}

std::vector<fs::path> superfluous_checkpoints(const fs::path& checkpoints, std::int64_t keep_last,
                                              std::int64_t keep_every, std::int64_t rewind_updates)
{
    std::vector<fs::path> superfluous;
    if (keep_last <= 0)
        return superfluous;
    std::vector<fs::path> folders = list_checkpoints(checkpoints);
    const fs::path rewound_to = rewind_target(folders, rewind_updates);
    std::int64_t num_whole = 0;
    while (!folders.empty() && num_whole < keep_last) {
        num_whole += looks_whole(folders.back()) ? 1 : 0;
        folders.pop_back();
    }
    for (const fs::path& folder : folders) {
        const bool kept = keep_every > 0 && update_of_checkpoint(folder) % keep_every == 0;
        if (!kept && folder != rewound_to)
            superfluous.push_back(folder);
    }
    return superfluous;
}

std::vector<fs::path> leftovers_of_saves(const fs::path& checkpoints)
{
    std::vector<fs::path> leftovers;
    for (const fs::path& entry : entries_of(checkpoints))
        if (is_leftover(entry.filename().string()))
            leftovers.push_back(entry);
    return leftovers;
}

std::vector<fs::path> prune_checkpoints(const fs::path& checkpoints, std::int64_t keep_last,
                                        std::int64_t keep_every, std::int64_t rewind_updates)
{
    std::vector<fs::path> deleted = leftovers_of_saves(checkpoints);
    for (const fs::path& entry : deleted) {
        std::error_code error;
        remove_folder(entry, error);
        if (error)
            throw file_error("unlink", entry, error.value());
    }
    for (const fs::path& folder :
         superfluous_checkpoints(checkpoints, keep_last, keep_every, rewind_updates)) {
        delete_checkpoint(folder);
        deleted.push_back(folder);
    }
    return deleted;
}

} // namespace sluice
