// How many threads a rank uses.
#pragma once

namespace sluice {

/// `requested`, or for 0 the cores this process may run on, divided by the ranks that share them on
/// this machine when the launcher did not bind them; at least 1.
int threads_for_this_rank(int requested);

/// Once, where `requested` are more than the cores this process may run on.
void warn_of_threads_without_cores(int requested);

/// Throws UserError where this process cannot have that many more threads at once: OpenMP would end
/// it in words of its own, or another thread be missing in the middle of a run.
void require_threads(int count);

} // namespace sluice
