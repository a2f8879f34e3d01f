#include "src/train/stop_request.hpp"

#include <atomic>
#include <csignal>
#include <ctime>
#include <unistd.h>

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

StopRequest::StopRequest(std::filesystem::path stop_file, TimeBudget budget)
    : stop_file_(std::move(stop_file)), budget_(budget)
{
}

double StopRequest::now() const
{
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

bool StopRequest::is_there()
{
    // access() and not std::filesystem, which allocates.
    if (!stop_file_.empty() && ::access(stop_file_.c_str(), F_OK) == 0)
        file_found_ = true;
    budget_.update_passed(now());
    time_is_up_ = time_is_up_ || budget_.is_spent(now());
    return file_found_ || time_is_up_ || received_signal.load() != 0;
}

std::string StopRequest::reason() const
{
    // A STOP file ends a chain of jobs, the others do not: it comes first.
    if (file_found_)
        return "a STOP file";
    if (time_is_up_)
        return "the time limit";
    switch (received_signal.load()) {
    case SIGINT: return "SIGINT";
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    default: return "";
    }
}

void StopRequest::obeyed() const
{
    std::error_code gone_already;
    if (file_found_)
        std::filesystem::remove(stop_file_, gone_already);
}

} // namespace sluice
