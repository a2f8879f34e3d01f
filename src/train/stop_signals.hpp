// Ctrl-C, TERM, HUP, USR1 and XCPU (a soft limit of processor time), received by a thread of their
// own: no signal handler ever runs on a thread that computes, because oneDNN's matrix products are
// not safe from them (decision 12).
#pragma once

#include <functional>

namespace sluice {

struct StopSignalOptions {
    /// This process tells people what comes of a signal; of many ranks only one does.
    bool speaks = false;
    /// Before the third Ctrl-C ends the process: on the thread of the signals.
    std::function<void()> before_giving_up = [] {};
};

/// Once per process, before it has other threads: those started later leave these signals alone.
/// Two Ctrl-C after the first, each more than a second after the last, end the process at once,
/// with exit code 71. HUP stays ignored where it was (nohup). A reader of our output that goes away
/// (SIGPIPE) ends nothing.
void watch_stop_signals(StopSignalOptions options = {});

/// The latest of SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU and SIGUSR2 that came, or 0. USR2 comes
/// when the launcher has died (src/cli/launcher.cpp).
int received_stop_signal();

} // namespace sluice
