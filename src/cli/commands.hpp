// The subcommands of `sluice`, one file each. Each adds itself to the command line and, when it is
// the one called, leaves what to do in `chosen`, which returns the exit code.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace sluice {

using ChosenCommand = std::function<int()>;

void add_data_command(CLI::App& app, ChosenCommand& chosen);
void add_train_command(CLI::App& app, ChosenCommand& chosen);
void add_submit_command(CLI::App& app, ChosenCommand& chosen);
void add_eval_command(CLI::App& app, ChosenCommand& chosen);
void add_plan_command(CLI::App& app, ChosenCommand& chosen);
void add_inspect_command(CLI::App& app, ChosenCommand& chosen);
void add_checkpoint_command(CLI::App& app, ChosenCommand& chosen);
void add_doctor_command(CLI::App& app, ChosenCommand& chosen);
/// export, import, report: named so that calling them says that this version lacks them.
void add_later_commands(CLI::App& app, ChosenCommand& chosen);

} // namespace sluice
