#include "src/watch/start_deadline.hpp"

#include "src/process/thread_without_signals.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <unistd.h>

namespace sluice {

namespace {

struct ProcessStatus {
    char state = ' '; ///< as in ps: 'T' is stopped, 't' held by a debugger
    pid_t parent = 0;
};

std::optional<ProcessStatus> status_of(const std::filesystem::path& process)
{
    std::ifstream file(process / "stat");
    std::string text;
    std::getline(file, text);
    const std::size_t name_end = text.rfind(')'); // the name before it may hold anything
    ProcessStatus status;
    if (name_end == std::string::npos)
        return std::nullopt;
    std::istringstream rest(text.substr(name_end + 1));
    if (!(rest >> status.state >> status.parent))
        return std::nullopt;
    return status;
}

} // namespace

double start_seconds(double start_seconds, double hang_seconds)
{
    return start_seconds > 0.0 ? start_seconds : std::max(900.0, 20.0 * hang_seconds);
}

StartDeadline::StartDeadline(double seconds, std::function<void()> on_missed)
    : seconds_(seconds), on_missed_(std::move(on_missed)),
      thread_(thread_without_signals([this] { wait_until_missed(); }))
{
}

StartDeadline::~StartDeadline()
{
    {
        const std::lock_guard lock(mutex_);
        is_met_ = true;
    }
    met_.notify_one();
    thread_.join();
}

void StartDeadline::wait_until_missed()
{
    constexpr double interval = 0.25;
    std::unique_lock lock(mutex_);
    for (double waited = 0.0; waited < seconds_;) {
        const Stopwatch watch;
        if (met_.wait_for(lock, std::chrono::duration<double>(interval),
                          [this] { return is_met_; }))
            return;
        waited += std::min(watch.seconds(), 2.0 * interval); // longer: it was stopped itself
    }
    lock.unlock();
    on_missed_();
}

std::vector<pid_t> stopped_siblings()
{
    std::vector<pid_t> stopped;
    std::error_code error;
    for (std::filesystem::directory_iterator entry("/proc", error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (name.find_first_not_of("0123456789") != std::string::npos)
            continue;
        const auto status = status_of(entry->path());
        if (status && status->parent == getppid() && (status->state == 'T' || status->state == 't'))
            stopped.push_back(std::stoi(name));
    }
    std::sort(stopped.begin(), stopped.end());
    return stopped;
}

std::string missed_start_text(int rank, double seconds, const std::vector<pid_t>& stopped)
{
    std::string text = "rank " + std::to_string(rank) +
                       " has waited for other ranks to start for " +
                       std::to_string(std::lround(seconds)) + " s";
    for (const pid_t process : stopped)
        text += (process == stopped.front() ? "; stopped on this machine: process " : ", ") +
                std::to_string(process);
    return text + "\n  what to do: " +
           (stopped.empty() ? "see whether every machine of the job answers, then run" : "run") +
           " the same command again; where so many ranks need longer to start, raise "
           "run.start_seconds";
}

} // namespace sluice
