// The command line as a whole: subcommands, --help, --version, and errors that name the nearest
// valid word.
#pragma once

namespace sluice {

/// Returns the exit code. Throws UserError (usage) for what it does not understand.
int run_command_line(int argc, char** argv);

} // namespace sluice
