// Starts the ranks of a run: `sluice train RUN.toml --ranks P` becomes `mpirun -n P sluice train
// RUN.toml`, with Ctrl-C and TERM turned into what mpirun passes on.
//
// Open MPI's mpirun answers Ctrl-C and TERM by killing the ranks two seconds later, which is no
// time to save. It does pass SIGUSR1 on. So mpirun runs in a process group of its own, and every
// request to stop reaches the ranks as SIGUSR1 (docs/decisions/0005).
#pragma once

#include <string>
#include <vector>

namespace sluice {

/// Runs this program again on `num_ranks` ranks with `arguments` (all but the program's name), and
/// returns the exit code of the run. Throws UserError (usage) when there is no mpirun.
int launch_ranks(int num_ranks, const std::vector<std::string>& arguments);

} // namespace sluice
