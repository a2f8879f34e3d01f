// Starts the ranks of a run: `sluice train RUN.toml --ranks P` becomes `mpirun -n P sluice train
// RUN.toml`, with Ctrl-C, TERM and HUP turned into what mpirun passes on.
//
// Open MPI's mpirun answers those by killing the ranks two seconds later, which is no time to
// save. It does pass SIGUSR1 on. So mpirun runs in a process group of its own, and every request
// to stop reaches the ranks as SIGUSR1 (docs/decisions/0005).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace sluice {

/// Runs this program again on `num_ranks` ranks with `arguments` (all but the program's name),
/// which train into `run_dir`, and returns the exit code of the run. What mpirun or its ranks
/// cannot say any more, because they were killed, is said here and in the folder's status.json.
/// Throws UserError (usage) when no process can be started.
int launch_ranks(int num_ranks, const std::vector<std::string>& arguments,
                 const std::filesystem::path& run_dir);

} // namespace sluice
