// sluice checkpoint: the checkpoints of a run, listed, pruned, or merged into one file.

#include "core/error.hpp"
#include "core/logging.hpp"
#include "io/checkpoint.hpp"
#include "src/cli/commands.hpp"
#include "src/config/run_config.hpp"
#include "src/inspect/checkpoint_list.hpp"
#include "src/text/number_text.hpp"
#include "src/train/run_folder.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>

namespace sluice {

namespace {

struct ListFlags {
    std::string run_dir;
    bool json = false, verify = false;
};

int list(const ListFlags& flags)
{
    const auto checkpoints = checkpoints_of_run(flags.run_dir);
    const LookAt look_at = flags.verify ? LookAt::every_byte : LookAt::manifest_and_sizes;
    const auto listed = list_with_problems(checkpoints, look_at);
    const auto leftovers = leftovers_of_saves(checkpoints);
    fmt::print("{}", flags.json ? checkpoint_list_json(listed, leftovers)
                                : checkpoint_list_text(listed, look_at, leftovers));
    for (const ListedCheckpoint& each : listed)
        if (flags.verify && !each.problems.empty())
            return static_cast<int>(ExitCode::data);
    return static_cast<int>(ExitCode::finished);
}

void add_list(CLI::App& parent, ChosenCommand& chosen)
{
    auto flags = std::make_shared<ListFlags>();
    CLI::App* command = parent.add_subcommand("list", "List the checkpoints of a run");
    command->add_option("RUN_DIR", flags->run_dir, "Run folder")->required();
    command->add_flag("--json", flags->json, "One JSON object");
    command->add_flag("--verify", flags->verify,
                      "Compare every file and tensor with its checksum (exit 3 when damaged)");
    command->callback([&chosen, flags] { chosen = [flags] { return list(*flags); }; });
}

struct PruneFlags {
    std::string run_dir;
    std::int64_t keep_last = 0, keep_every = 0;
    bool dry_run = false;
};

/// How far back the run may go by itself ([anomaly]): config.toml says it, as the run was last
/// started; where that is gone, the newest checkpoint.
std::int64_t reach_back_of(const RunFolder& folder)
{
    if (std::filesystem::exists(folder.config()))
        return load_run_config(folder.config(), {}).anomaly.reach_back();
    auto checkpoints = list_checkpoints(folder.checkpoints());
    while (!checkpoints.empty() && !looks_whole(checkpoints.back()))
        checkpoints.pop_back();
    if (checkpoints.empty())
        return 0;
    const std::filesystem::path& newest = checkpoints.back();
    return parse_run_config(CheckpointReader(newest).config_toml(), newest.string(), folder.path(),
                            {})
        .anomaly.reach_back();
}

bool is_whole(const std::filesystem::path& folder)
{
    const auto problems = problems_in_checkpoint(folder);
    if (!problems.empty())
        log_warning("damaged, and counted for nothing: " + folder.string() + ": " +
                    problems.front());
    return problems.empty();
}

int prune(const PruneFlags& flags)
{
    const auto checkpoints = checkpoints_of_run(flags.run_dir);
    RunFolder folder(flags.run_dir);
    if (!folder.lock())
        throw usage_error("a run is writing into this folder, and prunes it itself", flags.run_dir,
                          "wait until it has ended; what it keeps is checkpoint.keep_last and "
                          "checkpoint.keep_every");
    const Retention retention{.keep_last = flags.keep_last,
                              .keep_every = flags.keep_every,
                              .rewind_updates = reach_back_of(folder)};
    std::optional<UserError> failure;
    const auto keep_first_failure = [&failure](const UserError& error) {
        if (!failure)
            failure.emplace(error);
    };
    auto gone = leftovers_of_saves(checkpoints);
    if (flags.dry_run) {
        const auto superfluous =
            superfluous_checkpoints(checkpoints, retention, std::nullopt, is_whole);
        gone.insert(gone.end(), superfluous.begin(), superfluous.end());
    } else {
        gone =
            prune_checkpoints(checkpoints, retention, std::nullopt, is_whole, keep_first_failure);
    }
    for (const auto& each : gone)
        fmt::print("{} {}\n", flags.dry_run ? "would delete" : "deleted", each.string());
    if (failure)
        throw *failure;
    if (gone.empty())
        fmt::print("nothing to delete\n");
    return static_cast<int>(ExitCode::finished);
}

void add_prune(CLI::App& parent, ChosenCommand& chosen)
{
    auto flags = std::make_shared<PruneFlags>();
    CLI::App* command = parent.add_subcommand(
        "prune",
        "Delete old checkpoints of a run that has ended; the last whole one always stays, and "
        "so do those that [anomaly] may rewind to");
    command->add_option("RUN_DIR", flags->run_dir, "Run folder")->required();
    command
        ->add_option("--keep-last", flags->keep_last,
                     "So many of the newest stay, damaged ones not counted")
        ->required()
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}));
    command
        ->add_option("--keep-every", flags->keep_every,
                     "Also those at multiples of so many updates [none]")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}));
    command->add_flag("--dry-run", flags->dry_run, "Say what would be deleted, and delete nothing");
    command->callback([&chosen, flags] { chosen = [flags] { return prune(*flags); }; });
}

struct MergeFlags {
    std::string checkpoint, out;
};

int merge(const MergeFlags& flags)
{
    const CheckpointReader reader(checkpoint_at(flags.checkpoint));
    const ManifestEntry written = merge_checkpoint(reader, flags.out);
    fmt::print("{}: {} tensors of {}, {}, checksum {}\n", flags.out, reader.arrays().size(),
               reader.path().string(), bytes_text(written.size_bytes), written.checksum);
    return static_cast<int>(ExitCode::finished);
}

void add_merge(CLI::App& parent, ChosenCommand& chosen)
{
    auto flags = std::make_shared<MergeFlags>();
    CLI::App* command = parent.add_subcommand(
        "merge",
        "Write a checkpoint as one HDF5 file: for h5py and others, and as good as its folder here");
    command
        ->add_option("CHECKPOINT", flags->checkpoint,
                     "Checkpoint folder, a merged file, or a run folder (its newest)")
        ->required();
    command->add_option("--out", flags->out, "The file to write; it must not be there yet")
        ->required();
    command->callback([&chosen, flags] { chosen = [flags] { return merge(*flags); }; });
}

} // namespace

void add_checkpoint_command(CLI::App& app, ChosenCommand& chosen)
{
    CLI::App* command =
        app.add_subcommand("checkpoint", "List and prune the checkpoints of a run; merge one");
    // Not required of CLI11, so that a misspelt one is told from none and the nearest is named.
    command->require_subcommand(0, 1);
    command->callback([&chosen, command] {
        if (command->get_subcommands().empty())
            chosen = [command] {
                fmt::print(stderr, "{}", command->help("sluice"));
                return static_cast<int>(ExitCode::usage);
            };
    });
    add_list(*command, chosen);
    add_prune(*command, chosen);
    add_merge(*command, chosen);
}

} // namespace sluice
