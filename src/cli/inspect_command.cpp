// sluice inspect: what is in a checkpoint.

#include "core/error.hpp"
#include "io/checkpoint.hpp"
#include "src/cli/commands.hpp"
#include "src/inspect/checkpoint_diff.hpp"
#include "src/inspect/checkpoint_list.hpp"
#include "src/inspect/checkpoint_summary.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <iostream>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

struct InspectOptions {
    std::string path, other;
    bool json = false, verify = false, tensors = false;
};

int verify(const CheckpointReader& reader, bool json)
{
    const auto problems = reader.verify();
    if (json) {
        std::cout << nlohmann::json{{"checkpoint", reader.path().string()},
                                    {"whole", problems.empty()},
                                    {"problems", problems}}
                         .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                  << '\n';
    } else if (problems.empty()) {
        fmt::print("{}: whole ({} file(s), {} tensors, parameters digest {})\n",
                   reader.path().string(), reader.manifest().size(), reader.arrays().size(),
                   reader.parameters_digest());
    } else {
        fmt::print("{}: DAMAGED\n", reader.path().string());
        for (const std::string& problem : problems)
            fmt::print("  {}\n", problem);
    }
    return problems.empty() ? 0 : static_cast<int>(ExitCode::data);
}

int inspect(const InspectOptions& options)
{
    const CheckpointReader reader(checkpoint_at(options.path));
    if (options.verify)
        return verify(reader, options.json);
    if (!options.other.empty()) {
        const CheckpointReader other(checkpoint_at(options.other));
        return print_diff(reader, other, options.json);
    }
    print_summary(reader, options.json, options.tensors);
    return 0;
}

} // namespace

void add_inspect_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<InspectOptions>();
    CLI::App* command = app.add_subcommand(
        "inspect", "What is in a checkpoint: layers, norms, gates, moments, progress");
    command
        ->add_option("CHECKPOINT", options->path,
                     "Checkpoint folder, a run folder (its newest), or a merged file")
        ->required();
    command->add_flag("--json", options->json, "One JSON object");
    CLI::Option* const verify =
        command->add_flag("--verify", options->verify,
                          "Compare every file and tensor with its checksum (exit 3 when damaged)");
    CLI::Option* const diff = command->add_option(
        "--diff", options->other,
        "Compare with another checkpoint: identical to the bit, or where not (exit 1)");
    CLI::Option* const tensors =
        command->add_flag("--tensors", options->tensors, "Also list every tensor");
    // Each answers another question, and only one is answered.
    verify->excludes(diff)->excludes(tensors);
    diff->excludes(tensors);
    command->callback([&chosen, options] { chosen = [options] { return inspect(*options); }; });
}

} // namespace sluice
