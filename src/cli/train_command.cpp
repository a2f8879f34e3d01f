// sluice train: one rank of a training run.

#include "core/error.hpp"
#include "core/gpu_queues.hpp"
#include "core/parallel.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/transport/nccl_requirements.hpp"
#include "pipeline/transport/transport.hpp"
#include "src/cli/commands.hpp"
#include "src/cli/launcher.hpp"
#include "src/cli/option_checks.hpp"
#include "src/cli/repeated_option.hpp"
#include "src/config/layout.hpp"
#include "src/config/nearest_name.hpp"
#include "src/process/started_ranks.hpp"
#include "src/process/threads.hpp"
#include "src/train/rank_run.hpp"
#include "src/train/run_folder.hpp"
#include "src/train/stop_patience.hpp"
#include "src/train/stop_request.hpp"
#include "src/train/stop_signals.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <regex>
#include <unistd.h>

namespace sluice {

namespace {

struct TrainOptions {
    std::string run_file;
    std::vector<std::string> overrides;
    std::string run_dir;
    std::string resume = "auto", branch;
    std::int64_t stop_after = 0;
    std::string inject;
    int num_ranks = 0; ///< 0: as the launcher says
};

ResumeRequest resume_request(const TrainOptions& options)
{
    if (!options.branch.empty())
        return {.mode = ResumeMode::path, .path = options.branch, .branch = true};
    if (options.resume == "auto")
        return {.mode = ResumeMode::automatic, .path = {}};
    if (options.resume == "never")
        return {.mode = ResumeMode::never, .path = {}};
    return {.mode = ResumeMode::path, .path = options.resume};
}

/// "nan-gradient@5:2", "slow@100-160:2" or "nan-gradient@5:2:1": kind, update or updates, layer,
/// replica.
FaultInjection fault_from(const std::string& text)
{
    using Kind = FaultInjection::Kind;
    if (text.empty())
        return {};
    static const std::vector<std::pair<std::string, Kind>> kinds{
        {"nan-gradient", Kind::nan_gradient},
        {"wrong-gradient", Kind::wrong_gradient},
        {"nan-weight", Kind::nan_weight},
        {"garbled-targets", Kind::garbled_targets},
        {"flip-activation", Kind::flip_activation},
        {"flip-gradient", Kind::flip_gradient},
        {"flip-weight", Kind::flip_weight},
        {"flip-exchange", Kind::flip_exchange},
        {"advance-gate", Kind::advance_gate},
        {"hang", Kind::hang},
        {"slow", Kind::slow}};
    static const std::regex form(
        "([a-z-]+)@([0-9]{1,18})(-([0-9]{1,18}))?:([0-9]{1,9})(:([0-9]{1,9}))?");
    std::string names;
    std::smatch part;
    const bool understood = std::regex_match(text, part, form);
    for (const auto& [name, kind] : kinds) {
        names += (names.empty() ? "" : ", ") + name;
        if (understood && part[1] == name)
            return {.kind = kind,
                    .first_batch = std::stoll(part[2]),
                    .last_batch = std::stoll(part[4].matched ? part[4] : part[2]),
                    .layer = std::stoll(part[5]),
                    .replica = part[7].matched ? std::stoi(part[7]) : 0,
                    .text = text};
    }
    throw usage_error("'" + text + "' is not a fault", "--inject",
                      "write KIND@UPDATE:LAYER, KIND@FIRST-LAST:LAYER, or either with :REPLICA "
                      "behind, KIND one of " +
                          names);
}

/// The command line again, for the ranks: without --ranks.
std::vector<std::string> without_ranks(const TrainOptions& options)
{
    const bool branches = !options.branch.empty();
    std::vector<std::string> arguments{"train",
                                       options.run_file,
                                       branches ? "--branch" : "--resume",
                                       branches ? options.branch : options.resume,
                                       "--stop-after",
                                       std::to_string(options.stop_after)};
    for (const std::string& override : options.overrides)
        arguments.insert(arguments.end(), {"--set", override});
    if (!options.run_dir.empty())
        arguments.insert(arguments.end(), {"--run-dir", options.run_dir});
    if (!options.inject.empty())
        arguments.insert(arguments.end(), {"--inject", options.inject});
    return arguments;
}

/// For signals, the watch, saves, and last words.
constexpr int threads_beside_computing = 4;

/// Slurm's word against MPI's: with the wrong launcher every task trains a world of its own.
void check_world(const LaunchedAs& launched, int num_ranks)
{
    if (launched.num_slurm_tasks == 0 || launched.num_slurm_tasks == num_ranks)
        return;
    throw AgreedError(ExitCode::usage,
                      "srun started " + std::to_string(launched.num_slurm_tasks) +
                          " tasks, but MPI sees " + std::to_string(num_ranks) +
                          (num_ranks == 1 ? " rank" : " ranks") + " in this one's world",
                      "launcher",
                      "start the ranks with `srun --mpi=pmix` (`srun --mpi=list` shows whether "
                      "this Slurm has it), or with mpirun");
}

/// One rank tells people what comes of a signal, unless the launcher does.
StopSignalOptions stop_signal_options(int rank, const std::filesystem::path& run_dir)
{
    if (rank != 0)
        return {};
    return {.speaks = !started_by_launch_ranks(), .before_giving_up = [run_dir] {
                const RunFolder folder(run_dir);
                if (folder.is_held_here())
                    folder.tell_ended_without_a_word(given_up_reason);
            }};
}

/// Ends this process where ranks do not find each other. Rank 0 says so, every other one once those
/// before it had the time to and did not.
std::unique_ptr<StartDeadline> start_deadline(int rank, const RunSection& run)
{
    const double seconds = start_seconds(run.start_seconds, run.hang_seconds);
    return std::make_unique<StartDeadline>(seconds + 3.0 * std::min(rank, 20), [rank, seconds] {
        std::fprintf(stderr, "\nsluice: %s\n",
                     missed_start_text(rank, seconds, stopped_siblings()).c_str());
        _exit(static_cast<int>(ExitCode::peer)); // the main thread is stuck in MPI
    });
}

int train(const TrainOptions& options)
{
    const std::filesystem::path run_dir = run_dir_of(options.run_file, options.run_dir);
    if (options.num_ranks > 0) {
        if (launched_as().by_launcher)
            throw usage_error("--ranks starts mpirun, and this process was started by one",
                              "command line", "leave out either of the two");
        refuse_pipe(options.run_file);
        // What one process can find wrong is said once, before there are many.
        const RunConfig asked = load_run_config(options.run_file, options.overrides);
        check_layout(asked, options.num_ranks, {.name = "--ranks"});
        refuse_without_target(fault_from(options.inject), asked);
        return launch_ranks(options.num_ranks, without_ranks(options), run_dir);
    }
    // Everything that can be wrong without a word to other ranks is found before MPI starts.
    const RunConfig config = load_run_config(options.run_file, options.overrides);
    const FaultInjection fault = fault_from(options.inject);
    refuse_without_target(fault, config);
    const LaunchedAs launched = launched_as();
    if (!launched.by_launcher)
        check_world(launched, 1);
    check_layout(config, launched.num_ranks);
    warn_of_threads_without_cores(config.run.threads_per_rank);
    const int threads = threads_for_this_rank(config.run.threads_per_rank);
    require_threads(threads + threads_beside_computing);
    watch_stop_signals(stop_signal_options(launched.rank, run_dir));
    set_num_threads(threads);

    ask_for_queues_on_gpus();
    ask_nccl_for_messages_alone();
    auto deadline = launched.by_launcher ? start_deadline(launched.rank, config.run) : nullptr;
    auto transport = launched.by_launcher ? make_mpi_transport() : make_in_process_transport();
    check_world(launched, transport->num_ranks());
    RankRun run(std::move(transport), run_dir, std::move(deadline));
    return run.go(config, resume_request(options), options.stop_after, fault);
}

} // namespace

void add_train_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<TrainOptions>();
    CLI::App* command = app.add_subcommand(
        "train", "Train a model: alone, or as one rank of `mpirun -n P sluice train RUN.toml`");
    command->add_option("RUN.toml", options->run_file, "Run file (docs/run-file.md)")->required();
    add_set_option(*command, options->overrides);
    command
        ->add_option(
            "--ranks,-n", options->num_ranks,
            "Start this many ranks with mpirun, those of all replicas together; Ctrl-C then "
            "saves and stops")
        ->check(CLI::Range(std::int64_t{1}, most_ranks));
    command->add_option("--run-dir", options->run_dir,
                        "Folder of the run [runs/<name of the run file>; of a run folder's own "
                        "config.toml, that folder]");
    CLI::Option* const resume =
        command
            ->add_option("--resume", options->resume,
                         "auto: newest whole checkpoint of the run folder; never; or the path of a "
                         "checkpoint's folder or merged file, or of a run folder (its newest)")
            ->capture_default_str();
    command
        ->add_option("--branch", options->branch,
                     "Go on from another run's checkpoint with this run file's recipe (optimizer, "
                     "rates, gates, data, length), in a run folder of its own")
        ->excludes(resume);
    command
        ->add_option("--stop-after", options->stop_after,
                     "Save and stop (exit 75) after this many updates in this process; 0: no such "
                     "stop")
        ->check(at_least(0));
    command->add_option(
        "--inject", options->inject,
        "Fault drill: KIND@UPDATE[-LAST]:LAYER[:REPLICA] breaks something on purpose, to see the "
        "run stop before weights change, or go on as [anomaly] says (hang, slow: to see it "
        "noticed)");
    command->callback([&chosen, options] { chosen = [options] { return train(*options); }; });
}

} // namespace sluice
