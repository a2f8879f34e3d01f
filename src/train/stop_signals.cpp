#include "src/train/stop_signals.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <thread>

namespace sluice {

namespace {

std::atomic<int> received{0};

sigset_t stop_signals()
{
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1})
        sigaddset(&set, signal);
    return set;
}

[[noreturn]] void end_process_by(int signal)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    std::raise(signal);
    std::abort(); // never reached: the default action ends the process
}

[[noreturn]] void receive_signals()
{
    const sigset_t set = stop_signals();
    std::time_t first_interrupt = 0;
    for (;;) {
        int signal = 0;
        if (sigwait(&set, &signal) != 0)
            continue;
        received = signal;
        if (signal != SIGINT)
            continue;
        // Launchers pass one Ctrl-C on more than once; only a later one means "now".
        const std::time_t now = std::time(nullptr);
        if (first_interrupt == 0)
            first_interrupt = now;
        else if (now > first_interrupt + 1)
            end_process_by(signal);
    }
}

} // namespace

void watch_stop_signals()
{
    const sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    // A shell starts background commands with SIGINT ignored, and what is ignored never arrives.
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1})
        std::signal(signal, SIG_DFL);
    std::thread(receive_signals).detach();
}

int received_stop_signal() { return received; }

} // namespace sluice
