// What OpenMP and threads' stacks take from their environment when a program is loaded.
#pragma once

namespace sluice {

/// Starts this program anew, once, where what only the environment can say is not as it should be:
/// - Threads that wait for each other spin for at most a tenth of a millisecond or so. By itself
///   libgomp spins for tens of them, which other programs on the same cores, or another run, would
///   need. OMP_WAIT_POLICY and GOMP_SPINCOUNT, where they are set, have the last word.
/// - Stacks are as large as kernels need, where the hard limit allows it. Throws UserError (usage)
///   where it does not.
/// Returns where nothing is to be changed, or cannot be.
void settle_thread_environment(char** argv);

} // namespace sluice
