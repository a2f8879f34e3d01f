// Ranks that wait for each other while they start, before they can watch each other.
//
// MPI_Init waits for every rank and has no limit of its own: a rank that was stopped before it came
// so far, or whose machine hangs, would hold up all others for good.
#pragma once

#include "src/process/stopwatch.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <sys/types.h>
#include <thread>
#include <vector>

namespace sluice {

/// How long ranks may take to find each other, of the run file's run.start_seconds and
/// run.hang_seconds. Where neither says more, 15 minutes: hundreds of machines may have to load the
/// program first.
double start_seconds(double start_seconds, double hang_seconds);

class StartDeadline {
public:
    /// `on_missed` is called on another thread, once `seconds` have passed in which this process
    /// was not itself stopped.
    StartDeadline(double seconds, std::function<void()> on_missed);
    /// Ranks watch each other. Waits for on_missed() where that has begun.
    ~StartDeadline();
    StartDeadline(const StartDeadline&) = delete;
    StartDeadline& operator=(const StartDeadline&) = delete;

private:
    void wait_until_missed();

    double seconds_;
    std::function<void()> on_missed_;
    std::mutex mutex_;
    std::condition_variable met_;
    bool is_met_ = false;
    std::thread thread_; ///< last: it uses the others
};

/// Processes with the parent of this one, so started by the same launcher on this machine, that
/// are stopped (SIGSTOP, or a debugger).
std::vector<pid_t> stopped_siblings();

/// Last words of `rank` when ranks did not find each other within `seconds`.
std::string missed_start_text(int rank, double seconds, const std::vector<pid_t>& stopped);

} // namespace sluice
