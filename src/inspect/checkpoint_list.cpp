#include "src/inspect/checkpoint_list.hpp"

#include "core/error.hpp"
#include "io/checkpoint_manifest.hpp"
#include "src/text/number_text.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace fs = std::filesystem;

namespace {

/// What is wrong in `folder`, without its path: its name stands in the line above.
std::string without_folder(std::string problem, const fs::path& folder)
{
    for (const std::string& prefix : {folder.string() + "/", folder.string() + ": "})
        for (std::size_t at = 0; (at = problem.find(prefix, at)) != std::string::npos;)
            problem.erase(at, prefix.size());
    return problem;
}

/// Or it would be called what nobody has asked whether it is.
void require_something_at(const fs::path& path)
{
    if (!fs::exists(path))
        throw data_error("this does not exist", path.string(), "check the path");
}

} // namespace

fs::path checkpoint_at(const fs::path& path)
{
    if (fs::exists(path / manifest_name) || fs::is_regular_file(path))
        return path; // of a file the reader says whether it is one
    const auto checkpoints = list_checkpoints(path / "checkpoints");
    if (!checkpoints.empty())
        return checkpoints.back();
    require_something_at(path);
    throw data_error("neither a checkpoint (no manifest.json) nor a run folder with checkpoints",
                     path.string(),
                     "name a folder like RUN_DIR/checkpoints/update-00001000, or a file made by "
                     "`sluice checkpoint merge`");
}

fs::path checkpoints_of_run(const fs::path& run_dir)
{
    const fs::path checkpoints = run_dir / "checkpoints";
    require_something_at(run_dir);
    if (!fs::is_directory(checkpoints))
        throw data_error("not a run folder: it has no folder `checkpoints`", run_dir.string(),
                         "name the folder that --run-dir named, like runs/first");
    return checkpoints;
}

std::vector<ListedCheckpoint> list_with_problems(const fs::path& checkpoints, LookAt look_at)
{
    std::vector<ListedCheckpoint> listed;
    for (const fs::path& folder : list_checkpoints(checkpoints)) {
        ListedCheckpoint each{
            .folder = folder, .created_at = {}, .parameters_digest = {}, .problems = {}};
        try {
            const CheckpointReader reader(folder);
            each.created_at = reader.created_at();
            each.parameters_digest = reader.parameters_digest();
            each.num_stages = reader.num_stages();
            for (const ManifestEntry& file : reader.manifest())
                each.size_bytes += file.size_bytes;
            if (look_at == LookAt::every_byte)
                each.problems = reader.verify();
            each.update = reader.update();
        } catch (const UserError& error) {
            each.problems.push_back(error.where() + ": " + error.problem());
        }
        listed.push_back(std::move(each));
    }
    return listed;
}

std::string checkpoint_list_text(const std::vector<ListedCheckpoint>& listed, LookAt look_at,
                                 const std::vector<fs::path>& leftovers)
{
    std::string text;
    if (listed.empty())
        text = "no checkpoints\n";
    else
        text = fmt::format("{:<18}{:>7}{:>9}  {:<22}{:<10}{}\n", "checkpoint", "stages", "size",
                           "saved", "weights", "state");
    for (const ListedCheckpoint& each : listed) {
        const bool known = !each.created_at.empty();
        const char* const state = !each.problems.empty()          ? "DAMAGED"
                                  : look_at == LookAt::every_byte ? "whole"
                                                                  : "looks whole";
        text +=
            fmt::format("{:<18}{:>7}{:>9}  {:<22}{:<10}{}\n", each.folder.filename().string(),
                        known ? std::to_string(each.num_stages) : "?",
                        known ? bytes_text(each.size_bytes) : "?", known ? each.created_at : "?",
                        known ? each.parameters_digest.substr(0, 8) : "?", state);
        for (const std::string& problem : each.problems)
            text += "  " + without_folder(problem, each.folder) + "\n";
    }
    for (const fs::path& leftover : leftovers)
        text += fmt::format("{}: of a save under way, or of one that died\n",
                            leftover.filename().string());
    if (text.find("looks whole") != std::string::npos)
        text += "looks whole: manifest and sizes; --verify reads every byte\n";
    return text;
}

std::string checkpoint_list_json(const std::vector<ListedCheckpoint>& listed,
                                 const std::vector<fs::path>& leftovers)
{
    nlohmann::ordered_json json = {{"checkpoints", nlohmann::json::array()},
                                   {"leftovers", nlohmann::json::array()}};
    for (const ListedCheckpoint& each : listed)
        json["checkpoints"].push_back({{"checkpoint", each.folder.string()},
                                       {"update", each.update},
                                       {"created_at", each.created_at},
                                       {"num_stages", each.num_stages},
                                       {"size_bytes", each.size_bytes},
                                       {"parameters_digest", each.parameters_digest},
                                       {"whole", each.problems.empty()},
                                       {"problems", each.problems}});
    for (const fs::path& leftover : leftovers)
        json["leftovers"].push_back(leftover.string());
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace sluice
