// Ctrl-C, TERM and USR1, received by a thread of their own: no signal handler ever runs on a thread
// that computes, because oneDNN's matrix products are not safe from them (decision 12).
#pragma once

namespace sluice {

/// Once per process, before it has other threads: those started later leave these signals alone.
/// A second Ctrl-C more than a second after the first ends the process at once.
void watch_stop_signals();

/// The latest of SIGINT, SIGTERM and SIGUSR1 that came, or 0.
int received_stop_signal();

} // namespace sluice
