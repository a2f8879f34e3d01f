#include "src/train/stop_request.hpp"

#include <atomic>
#include <csignal>
#include <ctime>

namespace sluice {

namespace {

std::atomic<int> received_signal{0};
std::atomic<std::time_t> first_interrupt{0};

extern "C" void note_signal(int signal)
{
    const std::time_t now = std::time(nullptr);
    if (signal == SIGINT) {
        // Launchers pass one Ctrl-C on more than once; only a later one means "now".
        const std::time_t first = first_interrupt.load();
        if (first != 0 && now > first + 1) {
            std::signal(signal, SIG_DFL);
            std::raise(signal);
        } else if (first == 0) {
            first_interrupt.store(now);
        }
    }
    received_signal.store(signal);
}

} // namespace

void watch_stop_signals()
{
    struct sigaction action = {};
    action.sa_handler = note_signal;
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    for (int signal : {SIGINT, SIGTERM, SIGUSR1})
        sigaction(signal, &action, nullptr);
}

bool stop_requested() { return received_signal.load() != 0; }

std::string stop_reason()
{
    switch (received_signal.load()) {
    case SIGINT: return "SIGINT";
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    default: return "";
    }
}

} // namespace sluice
