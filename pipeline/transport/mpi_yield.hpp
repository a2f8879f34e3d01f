// Open MPI spins while it waits; on fewer cores than ranks that takes the core from the rank that
// is being waited for.
#pragma once

namespace sluice {

/// Before MPI starts: when this machine runs more ranks of the job than this process may use
/// cores, asks Open MPI to yield while waiting. A setting that is already there is left alone.
void yield_when_cores_are_few();

/// Cores that the ranks of this machine share, as far as their affinity says. A launcher that
/// pins each rank to a core of its own pins them more narrowly than itself, so the parent process
/// counts too.
int cores_of_this_machine();

} // namespace sluice
