#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/checkpoint_manifest.hpp"

#include <algorithm>
#include <charconv>
#include <deque>
#include <iterator>
#include <set>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// Leftovers of saves and deletions that died: ".update-00001000.partial", "... .deleting".
bool is_leftover(const std::string& name)
{
    if (!name.starts_with(".update-"))
        return false;
    const std::size_t dot = name.find('.', 1);
    if (dot == std::string::npos || !update_in_name(name.substr(1, dot - 1)))
        return false;
    const std::string_view ending = std::string_view(name).substr(dot);
    return ending == ".partial" || ending == ".deleting" || ending == ".partial.replaced";
}

constexpr const char* replaced_ending = ".replaced";

/// Of a folder that replaced_folder() has named.
fs::path name_it_had(const fs::path& replaced)
{
    const std::string name = replaced.filename().string();
    return replaced.parent_path() / name.substr(1, name.find('.', 1) - 1);
}

/// A checkpoint that was to be replaced when the save died, and nothing has its name.
bool would_be_lost(const fs::path& entry)
{
    const std::string name = entry.filename().string();
    if (!is_leftover(name) || !name.ends_with(replaced_ending))
        return false;
    std::error_code error;
    const fs::file_type there = fs::symlink_status(name_it_had(entry), error).type();
    if (there == fs::file_type::none) // a network file system's bad moment proves nothing
        throw file_error("stat", name_it_had(entry), error.value());
    return there == fs::file_type::not_found;
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

void remove_wholly(const fs::path& folder)
{
    std::error_code error;
    remove_folder(folder, error);
    if (error)
        throw file_error("unlink", folder, error.value());
}

/// Off its name first, so that a deletion that dies never leaves half a checkpoint.
void delete_checkpoint(const fs::path& folder)
{
    const fs::path aside = folder.parent_path() / ("." + folder.filename().string() + ".deleting");
    rename_durably(folder, aside);
    remove_wholly(aside);
}

bool is_there(const fs::path& path, fs::file_type type)
{
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (status.type() == fs::file_type::none) // not even whether it is there
        throw file_error("stat", path, error.value());
    return status.type() == type;
}

/// As far back as the rules look: to look may take long. In order.
std::vector<fs::path> newest_whole(const std::vector<fs::path>& folders, const Retention& retention,
                                   const IsWhole& is_whole)
{
    std::deque<fs::path> whole;
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
        if (!is_whole(*folder))
            continue;
        whole.push_front(*folder);
        const std::int64_t back =
            update_of_checkpoint(whole.back()) + 1 - update_of_checkpoint(*folder);
        if (std::ssize(whole) >= retention.keep_last && back >= 3 * retention.rewind_updates)
            break;
    }
    return {whole.begin(), whole.end()};
}

/// The newest of at most `update`, or the oldest of all; empty where there is none.
fs::path newest_until(const std::vector<fs::path>& whole, std::int64_t update)
{
    for (auto folder = whole.rbegin(); folder != whole.rend(); ++folder)
        if (update_of_checkpoint(*folder) <= update)
            return *folder;
    return whole.empty() ? fs::path() : whole.front();
}

/// Of `whole`, in order, those that rewinds over `reach` updates may go back to, from the update
/// that follows the last. Updates fall into intervals of half a reach. The first checkpoint of each
/// stays, whatever comes later, until the interval is more than three reaches old: so while time
/// goes on there always is one of the right age.
std::set<fs::path> rewind_targets(const std::vector<fs::path>& whole, std::int64_t reach)
{
    if (reach <= 0 || whole.empty())
        return {};
    const std::int64_t target = update_of_checkpoint(whole.back()) + 1 - reach;
    const std::int64_t interval = std::max<std::int64_t>(1, reach / 2);
    std::set<fs::path> kept;
    for (std::int64_t rewind = 0; rewind < 3; ++rewind)
        kept.insert(newest_until(whole, target - rewind * reach));
    std::int64_t last_interval = -1;
    for (const fs::path& folder : whole) {
        const std::int64_t update = update_of_checkpoint(folder);
        const bool is_first = update / interval != last_interval;
        last_interval = update / interval;
        if (is_first && update > target - 2 * reach)
            kept.insert(folder);
    }
    return kept;
}

} // namespace

std::optional<std::int64_t> update_in_name(const std::string& folder_name)
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

std::vector<fs::path> list_named_as_checkpoints(const fs::path& checkpoints)
{
    std::vector<std::pair<std::int64_t, fs::path>> found;
    for (const fs::path& entry : entries_of(checkpoints)) {
        const auto update = update_in_name(entry.filename().string());
        if (update && is_there(entry, fs::file_type::directory))
            found.emplace_back(*update, entry);
    }
    std::sort(found.begin(), found.end());
    std::vector<fs::path> folders;
    for (auto& [update, folder] : found)
        folders.push_back(std::move(folder));
    return folders;
}

std::vector<fs::path> list_checkpoints(const fs::path& checkpoints)
{
    std::vector<fs::path> folders = list_named_as_checkpoints(checkpoints);
    std::erase_if(folders, [](const fs::path& folder) { return !has_manifest(folder); });
    return folders;
}

bool has_manifest(const fs::path& folder)
{
    return is_there(folder / manifest_name, fs::file_type::regular);
}

std::int64_t update_of_checkpoint(const fs::path& folder)
{
    const auto update = update_in_name(folder.filename().string());
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

std::vector<fs::path> superfluous_checkpoints(const fs::path& checkpoints,
                                              const Retention& retention,
                                              std::optional<std::int64_t> newest,
                                              const IsWhole& is_whole)
{
    std::vector<fs::path> superfluous;
    if (retention.keep_last <= 0)
        return superfluous;
    std::vector<fs::path> folders = list_checkpoints(checkpoints);
    while (newest && !folders.empty() && update_of_checkpoint(folders.back()) > *newest)
        folders.pop_back();
    const std::vector<fs::path> whole = newest_whole(folders, retention, is_whole);
    const std::set<fs::path> targets = rewind_targets(whole, retention.rewind_updates);
    const auto num_last = std::min<std::int64_t>(retention.keep_last, std::ssize(whole));
    const fs::path oldest_of_last = num_last > 0 ? *(whole.end() - num_last) : fs::path();
    for (const fs::path& folder : folders) {
        if (num_last == 0 || folder == oldest_of_last)
            break;
        const bool kept =
            retention.keep_every > 0 && update_of_checkpoint(folder) % retention.keep_every == 0;
        if (!kept && !targets.contains(folder))
            superfluous.push_back(folder);
    }
    return superfluous;
}

fs::path replaced_folder(const fs::path& final_folder)
{
    return final_folder.parent_path() /
           (partial_folder_name(update_of_checkpoint(final_folder)) + replaced_ending);
}

std::vector<fs::path> leftovers_of_saves(const fs::path& checkpoints)
{
    std::vector<fs::path> leftovers;
    for (const fs::path& entry : entries_of(checkpoints))
        if (is_leftover(entry.filename().string()) && !would_be_lost(entry))
            leftovers.push_back(entry);
    return leftovers;
}

std::vector<fs::path> put_back_replaced(const fs::path& checkpoints)
{
    std::vector<fs::path> put_back;
    for (const fs::path& entry : entries_of(checkpoints))
        if (would_be_lost(entry)) {
            put_back.push_back(name_it_had(entry));
            rename_durably(entry, put_back.back());
        }
    return put_back;
}

std::vector<fs::path> prune_checkpoints(const fs::path& checkpoints, const Retention& retention,
                                        std::optional<std::int64_t> newest, const IsWhole& is_whole,
                                        const OnFailure& on_failure)
{
    std::vector<fs::path> deleted;
    const auto attempt = [&](const fs::path& folder, const auto& remove) {
        try {
            remove();
            deleted.push_back(folder);
        } catch (const UserError& error) {
            on_failure(error);
        }
    };
    for (const fs::path& entry : leftovers_of_saves(checkpoints))
        attempt(entry, [&] { remove_wholly(entry); });
    for (const fs::path& folder : superfluous_checkpoints(checkpoints, retention, newest, is_whole))
        attempt(folder, [&] { delete_checkpoint(folder); });
    return deleted;
}

} // namespace sluice
