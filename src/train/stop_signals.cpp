#include "src/train/stop_signals.hpp"

#include "core/error.hpp"
#include "src/train/stop_patience.hpp"

#include <atomic>
#include <csignal>
#include <initializer_list>
#include <thread>
#include <unistd.h>

namespace sluice {

namespace {

constexpr std::initializer_list<int> stop_signals = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXCPU};

std::atomic<int> received{0};

sigset_t set_of(std::initializer_list<int> signals)
{
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : signals)
        sigaddset(&set, signal);
    return set;
}

bool is_ignored(int signal)
{
    struct sigaction action = {};
    return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

[[noreturn]] void receive_signals(const sigset_t& set, const StopSignalOptions& options)
{
    StopPatience patience;
    for (;;) {
        int signal = 0;
        if (sigwait(&set, &signal) != 0)
            continue;
        received = signal;
        const auto answer = patience.hear(signal, StopPatience::Clock::now());
        if (options.speaks)
            say_answer(answer, signal);
        if (answer != StopPatience::Answer::give_up)
            continue;
        options.before_giving_up();
        _exit(static_cast<int>(ExitCode::peer));
    }
}

} // namespace

void watch_stop_signals(StopSignalOptions options)
{
    sigset_t set = set_of(stop_signals);
    if (!is_ignored(SIGHUP))
        sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    // A shell starts background commands with SIGINT ignored, and what is ignored never arrives.
    for (const int signal : stop_signals)
        std::signal(signal, SIG_DFL);
    std::signal(SIGPIPE, SIG_IGN);
    std::thread([set, options = std::move(options)] { receive_signals(set, options); }).detach();
}

int received_stop_signal() { return received; }

} // namespace sluice
