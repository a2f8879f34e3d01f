#include "core/error.hpp"
#include "src/cli/commands.hpp"

#include <CLI/CLI.hpp>

namespace sluice {

void add_later_commands(CLI::App& app, ChosenCommand& chosen)
{
    struct Later {
        const char *name, *instead;
    };
    static constexpr Later later[] = {
        {"export",
         "checkpoints are HDF5 with Hugging Face names: docs/checkpoint-format.md shows how "
         "to read one with h5py"},
        {"import", "training starts from initial weights or from a checkpoint of this program"},
        {"report", "metrics.jsonl in the run folder has one JSON object per line"},
    };
    for (const Later& command : later) {
        CLI::App* subcommand =
            app.add_subcommand(command.name, "(not in this version)")->group("Later");
        subcommand->allow_extras();
        subcommand->callback([&chosen, command] {
            chosen = [command]() -> int {
                throw usage_error("this version has no '" + std::string(command.name) + "'",
                                  "command line", command.instead);
            };
        });
    }
}

} // namespace sluice
