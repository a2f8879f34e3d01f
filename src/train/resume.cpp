#include "src/train/resume.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "src/train/agreement.hpp"

#include <algorithm>

namespace sluice {

namespace {

namespace fs = std::filesystem;

std::string first_lines(const std::vector<std::string>& lines, std::size_t count)
{
    std::string text;
    for (std::size_t i = 0; i < std::min(count, lines.size()); ++i)
        text += "\n    " + lines[i];
    if (lines.size() > count)
        text += "\n    and " + std::to_string(lines.size() - count) + " more";
    return text;
}

/// Empty when the checkpoint is whole.
std::vector<std::string> problems_of(const fs::path& folder)
{
    try {
        return CheckpointReader(folder).verify();
    } catch (const UserError& error) {
        return {error.what()};
    }
}

/// The one asked for, unless it is damaged or this run has gone further.
std::string chosen_by_path(const fs::path& checkpoints, const fs::path& path)
{
    const auto problems = problems_of(path);
    if (!problems.empty())
        throw data_error("this checkpoint cannot be used:" + first_lines(problems, 5),
                         path.string(),
                         "choose another checkpoint, or --resume auto for the newest whole one");
    const auto later = list_checkpoints(checkpoints);
    if (!later.empty() && update_of_checkpoint(later.back()) > CheckpointReader(path).update())
        throw usage_error(
            "this run folder has a later checkpoint, " + later.back().filename().string() +
                ": going on from an earlier one would mix two histories",
            path.string(), "choose another --run-dir, or move the later checkpoints away");
    return path.string();
}

/// On rank 0: the checkpoint's path, or empty for a fresh start.
std::string choose(const fs::path& checkpoints, const ResumeRequest& request)
{
    if (request.mode == ResumeMode::path)
        return chosen_by_path(checkpoints, request.path);
    auto folders = list_checkpoints(checkpoints);
    if (request.mode == ResumeMode::never) {
        if (!folders.empty())
            throw usage_error("--resume never, but this run folder already has checkpoints",
                              checkpoints.string(),
                              "choose another --run-dir, or delete them if they are not needed");
        return {};
    }
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
        const auto problems = problems_of(*folder);
        if (problems.empty())
            return folder->string();
        log_warning("skipping damaged checkpoint " + folder->string() + ":" +
                    first_lines(problems, 5));
    }
    if (!folders.empty())
        throw data_error("every checkpoint of this run is damaged", checkpoints.string(),
                         "see the list above; move the folder away to start from the beginning");
    return {};
}

} // namespace

std::optional<fs::path> choose_checkpoint(const fs::path& checkpoints, const ResumeRequest& request,
                                          Transport& transport)
{
    std::string chosen;
    on_rank_zero(transport, [&] { chosen = choose(checkpoints, request); });
    chosen = text_of_rank_zero(transport, chosen);
    if (chosen.empty())
        return std::nullopt;
    return fs::path(chosen);
}

std::vector<std::string> refuse_changed_result(const CheckpointReader& checkpoint,
                                               const RunConfig& config)
{
    const RunConfig saved = parse_run_config(checkpoint.config_toml(),
                                             (checkpoint.path() / "config").string(), ".", {});
    const auto differences = differences_in_result(saved, config);
    if (differences.empty())
        return differences_in_rounding(saved, config);
    throw usage_error("the run file differs from the one this run was started with, in a way that "
                      "changes the result:" +
                          first_lines(differences, 40),
                      checkpoint.path().string(),
                      "undo the change, or start a new run in another --run-dir");
}

} // namespace sluice
