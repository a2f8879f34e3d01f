#include "src/train/ancestry.hpp"

#include "src/train/run_folder.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// visit(row) for every line of this event in the metrics of the run folder.
template <class Visit>
void for_each_row(const fs::path& checkpoints, std::string_view event, const Visit& visit)
{
    std::ifstream metrics(RunFolder::metrics_beside(checkpoints));
    const std::string word = '"' + std::string(event) + '"';
    for (std::string line; std::getline(metrics, line);) {
        if (line.find(word) == std::string::npos)
            continue;
        const auto row = nlohmann::json::parse(line, nullptr, false);
        if (row.is_object() && row.value("event", nlohmann::json()) == event)
            visit(row);
    }
}

/// Empty where it is none, or somebody has edited the row.
std::string text_of(const nlohmann::json& row, const char* field)
{
    const auto text = row.find(field);
    return text != row.end() && text->is_string() ? text->get<std::string>() : std::string();
}

/// What a start went on from: as it was called then, and where it lies seen from the run's folder,
/// if that is another path now. None for a start from the beginning.
std::vector<fs::path> sources(const nlohmann::json& start, const fs::path& checkpoints)
{
    const std::string absolute = text_of(start, "resumed_from");
    if (absolute.empty())
        return {};
    std::vector<fs::path> paths{absolute_path(absolute)};
    if (const std::string relative = text_of(start, "resumed_from_relative"); !relative.empty())
        // Not the parent of what `checkpoints` may link to.
        paths.push_back(absolute_path(fs::absolute(checkpoints).parent_path() / relative));
    return paths;
}

} // namespace

fs::path absolute_path(const fs::path& path)
{
    std::error_code error; // the current folder may be gone
    fs::path absolute = fs::absolute(path, error);
    if (!error)
        absolute = fs::weakly_canonical(absolute, error);
    if (error)
        return path;
    return absolute.has_filename() ? absolute : absolute.parent_path();
}

std::string path_from_run_folder(const fs::path& run_folder, const fs::path& checkpoint)
{
    return absolute_path(checkpoint).lexically_relative(absolute_path(run_folder)).string();
}

std::int64_t newest_save_told_of(const fs::path& checkpoints)
{
    std::int64_t newest = 0;
    for_each_row(checkpoints, "checkpoint", [&](const nlohmann::json& row) {
        if (const auto update = row.find("update");
            update != row.end() && update->is_number_integer())
            newest = std::max(newest, update->get<std::int64_t>());
    });
    return newest;
}

std::optional<ChosenCheckpoint> begun_with(const fs::path& checkpoints)
{
    std::optional<ChosenCheckpoint> origin;
    for_each_row(checkpoints, "start", [&](const nlohmann::json& row) {
        const auto paths = sources(row, checkpoints);
        const auto changes = row.find("changed_recipe");
        origin.reset();
        if (paths.empty())
            return;
        std::error_code error;
        const auto there = std::find_if(paths.begin(), paths.end(),
                                        [&](const fs::path& path) { return exists(path, error); });
        origin = {there == paths.end() ? paths.front() : *there,
                  changes != row.end() && changes->is_array() && !changes->empty()};
    });
    return origin;
}

bool descends_from(const fs::path& asked, const fs::path& checkpoints)
{
    const fs::path ancestor = absolute_path(asked), own = absolute_path(checkpoints);
    bool descends = false;
    for_each_row(checkpoints, "start", [&](const nlohmann::json& row) {
        const auto paths = sources(row, checkpoints);
        const auto any = [&](const auto& is) {
            return std::any_of(paths.begin(), paths.end(), is);
        };
        if (any([&](const fs::path& from) {
                return from == ancestor || from.parent_path() == ancestor / "checkpoints";
            }))
            descends = true;
        else if (!any([&](const fs::path& from) { return from.parent_path() == own; }))
            descends = false; // another history began
    });
    return descends;
}

} // namespace sluice
