#include "src/train/resume.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "pipeline/agreement.hpp"
#include "src/config/run_key.hpp"
#include "src/inspect/checkpoint_list.hpp"
#include "src/text/first_lines.hpp"
#include "src/train/checkpoint_steps.hpp"
#include "src/train/whole_checkpoint.hpp"

#include <string>

namespace sluice {

namespace {

using OnBlock = std::function<void()>; ///< of CheckpointReader::verify()

namespace fs = std::filesystem;

/// Throws UserError (data) where this run has saved, by its metrics, and there is nothing.
void refuse_lost_saves(const fs::path& checkpoints)
{
    if (const std::int64_t told_of = newest_save_told_of(checkpoints); told_of > 0)
        throw data_error("metrics.jsonl tells of a save of update " + std::to_string(told_of) +
                             ", and there is no checkpoint",
                         checkpoints.string(),
                         "put the checkpoints back (is a file system not mounted?), or add "
                         "--resume never to start from the beginning");
}

/// Empty for a run that has saved nothing yet. Throws UserError (data) when every one is damaged,
/// or there was one: a beginning would drop what the metrics tell.
std::string newest_whole(const fs::path& checkpoints, const OnBlock& on_block)
{
    const fs::path newest = newest_whole_checkpoint(checkpoints, on_block);
    if (!newest.empty())
        return newest.string();
    if (!list_checkpoints(checkpoints).empty())
        throw data_error("every checkpoint of this run is damaged", checkpoints.string(),
                         "see the list above; move the folder away and add --resume never to "
                         "start from the beginning");
    refuse_lost_saves(checkpoints);
    return {};
}

/// Whether both checkpoints are of one history: a run file has only one.
bool of_one_history(const fs::path& one, const fs::path& other)
{
    return differences_in_result(saved_config(CheckpointReader(one)),
                                 saved_config(CheckpointReader(other)))
        .empty();
}

/// Throws UserError where going on from `path` would put two histories into one run folder.
void refuse_mixing(const fs::path& path, const fs::path& own_newest, bool branch)
{
    const bool is_later = update_of_checkpoint(own_newest) > CheckpointReader(path).update();
    if (!is_later && !branch && (!looks_whole(own_newest) || of_one_history(path, own_newest)))
        return;
    throw usage_error(
        "this run folder has " +
            std::string(is_later ? "a later checkpoint, " : "a checkpoint of another run, ") +
            own_newest.filename().string() + ": going on from " +
            (is_later ? "an earlier one" : "this one") + " would mix two histories",
        path.string(),
        "choose another --run-dir, or move the run folder's checkpoints away; "
        "--resume auto goes on from the newest");
}

void require_whole(const fs::path& checkpoint, const OnBlock& on_block)
{
    const auto problems = problems_in_checkpoint(checkpoint, on_block);
    if (!problems.empty())
        throw data_error(
            "this checkpoint cannot be used:" + first_lines(problems, 5), checkpoint.string(),
            "choose another one; `sluice checkpoint list RUN_DIR --verify` tells which "
            "are whole");
}

/// Of a run that has saved nothing yet: to begin elsewhere would be another run.
void refuse_lost_beginning(const fs::path& began_with)
{
    std::error_code error;
    if (!fs::exists(began_with, error))
        throw data_error("this run began with a checkpoint that is gone, and has saved nothing yet",
                         began_with.string(),
                         "put it back, choose another --run-dir to begin with another one, or add "
                         "--resume never to start from the beginning");
}

/// The one asked for, or what this run has made of it since. Throws UserError where it is damaged
/// or this run folder holds another history.
fs::path chosen_by_path(const fs::path& checkpoints, const ResumeRequest& request,
                        const OnBlock& on_block)
{
    const fs::path& asked = request.path;
    std::error_code error;
    if (request.branch && (fs::equivalent(asked, checkpoints.parent_path(), error) ||
                           fs::equivalent(asked.parent_path(), checkpoints, error)))
        throw usage_error("a branch needs a run folder of its own, and this is the one it leaves",
                          checkpoints.parent_path().string(), "choose another --run-dir");
    const auto own = list_checkpoints(checkpoints);
    const bool descends = descends_from(asked, checkpoints);
    if (!own.empty() && descends) {
        const std::string newest = newest_whole(checkpoints, on_block);
        log_warning("this run has gone on from " + asked.string() + " and continues from " +
                    fs::path(newest).filename().string() +
                    " of its own; to go back, choose another --run-dir");
        return newest;
    }
    fs::path path = checkpoint_at(asked);
    if (descends) { // and has nothing of its own yet
        refuse_lost_saves(checkpoints);
        // The newest of a run folder may be another one by now.
        if (const auto before = begun_with(checkpoints)) {
            refuse_lost_beginning(before->path);
            path = before->path;
        }
    }
    require_whole(path, on_block);
    if (!own.empty())
        refuse_mixing(path, own.back(), request.branch);
    return path;
}

/// The newest whole one of this run; before it has one, what it began with.
std::optional<ChosenCheckpoint> chosen_by_itself(const fs::path& checkpoints,
                                                 const OnBlock& on_block)
{
    if (const std::string newest = newest_whole(checkpoints, on_block); !newest.empty())
        return ChosenCheckpoint{newest};
    const auto origin = begun_with(checkpoints);
    if (!origin)
        return std::nullopt;
    refuse_lost_beginning(origin->path);
    require_whole(origin->path, on_block);
    log_warning("nothing of this run is saved yet: it begins again with " + origin->path.string());
    return origin;
}

/// On rank 0. Nothing for a fresh start.
std::optional<ChosenCheckpoint> choose(const fs::path& checkpoints, const ResumeRequest& request,
                                       const OnBlock& on_block)
{
    std::error_code error;
    const bool itself =
        !request.branch && fs::equivalent(request.path, checkpoints.parent_path(), error);
    if (request.mode == ResumeMode::path && !itself)
        return ChosenCheckpoint{chosen_by_path(checkpoints, request, on_block), request.branch};
    if (request.mode != ResumeMode::never)
        return chosen_by_itself(checkpoints, on_block);
    if (!list_checkpoints(checkpoints).empty())
        throw usage_error("--resume never, but this run folder already has checkpoints",
                          checkpoints.string(),
                          "choose another --run-dir, or delete them if they are not needed");
    return std::nullopt;
}

} // namespace

RunConfig saved_config(const CheckpointReader& checkpoint)
{
    return parse_run_config(checkpoint.config_toml(), (checkpoint.path() / "config").string(), ".",
                            {});
}

std::optional<ChosenCheckpoint>
choose_checkpoint(const fs::path& checkpoints, const ResumeRequest& request, Transport& transport)
{
    std::optional<ChosenCheckpoint> chosen;
    on_rank_zero(transport, [&] {
        for (const fs::path& checkpoint : put_back_replaced(checkpoints))
            log_warning("a save died while it replaced " + checkpoint.string() +
                        "; it has its name again");
        chosen = choose(checkpoints, request, moved_on(transport));
    });
    const std::string path = text_of_rank_zero(transport, chosen ? chosen->path.string() : "");
    const bool branch = on_any_rank(transport, chosen && chosen->branch);
    if (path.empty())
        return std::nullopt;
    return ChosenCheckpoint{path, branch};
}

void keep_saved_defaults(const CheckpointReader& checkpoint, RunConfig& config)
{
    const std::int64_t saved = saved_config(checkpoint).lr_schedule.warmup_steps;
    if (config.lr_schedule.warmup_is_default && saved <= config.run.updates)
        config.lr_schedule.warmup_steps = saved;
}

std::vector<std::string> changed_rounding(const CheckpointReader& checkpoint,
                                          const RunConfig& config, const RunHardware& hardware)
{
    std::vector<std::string> changed = differences_in_rounding(saved_config(checkpoint), config);
    const std::string& before = checkpoint.progress().arithmetic;
    if (!before.empty() && !hardware.arithmetic.empty() && before != hardware.arithmetic)
        changed.push_back("computed by " + before + " when saved, by " + hardware.arithmetic +
                          " now");
    return changed;
}

std::string device_changed(const RunConfig& saved, const RunConfig& now, const std::string& why)
{
    const std::string before(name_of(saved.precision)), after(name_of(now.precision));
    if (now.run.device == "cuda")
        return "this run was saved on CPUs in " + before +
               ", and this start is on GPUs, where precision.compute = \"auto\" is " + after;
    return "this run was saved on GPUs in " + before + ", and this start is on CPUs (" +
           (why.empty() ? "as run.device says" : why) +
           "), where precision.compute = \"auto\" is " + after;
}

std::string device_remedy(const RunConfig& saved)
{
    const bool on_gpus = saved.run.device == "cuda";
    return std::string(on_gpus ? "start it where every rank has a GPU"
                               : "add --set run.device=cpu") +
           ", or add --set precision.compute=" + std::string(name_of(saved.precision)) +
           " to go on on " + (on_gpus ? "CPUs" : "GPUs");
}

void refuse_changed_result(const CheckpointReader& checkpoint, const RunConfig& config,
                           const RunHardware& hardware)
{
    RunConfig saved = saved_config(checkpoint);
    settle_precision(saved);
    auto differences = differences_in_result(saved, config);
    if (differences.empty())
        return;
    std::string problem, remedy;
    const bool saved_on_gpus = saved.run.device == "cuda",
               now_on_gpus = config.run.device == "cuda";
    if (hardware.precision_was_auto && saved.precision != config.precision &&
        saved_on_gpus != now_on_gpus) {
        std::erase_if(differences, [](const std::string& difference) {
            return difference.starts_with("precision.compute:");
        });
        problem = device_changed(saved, config, hardware.why_on_cpus);
        remedy = device_remedy(saved);
    }
    if (!differences.empty()) {
        problem += (problem.empty() ? "the" : "; and the") +
                   std::string(" run file differs from the one this run was started with, in a way "
                               "that changes the result:") +
                   first_lines(differences, 40);
        remedy +=
            (remedy.empty() ? "undo" : "; and undo") +
            std::string(" the change (a run goes on, from its own or another's checkpoint, only "
                        "where the result stays the same), go on from it with another recipe in a "
                        "run folder of its own (--branch), or start a new run at its "
                        "beginning: another --run-dir, without --resume PATH");
    }
    throw usage_error(problem, checkpoint.path().string(), remedy);
}

} // namespace sluice
