// One piece of work at a time on a thread of its own, behind the threads that compute.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <thread>

namespace sluice {

class BackgroundTask {
public:
    BackgroundTask() = default;
    /// Waits for the work; what it threw is lost.
    ~BackgroundTask();
    BackgroundTask(const BackgroundTask&) = delete;
    BackgroundTask& operator=(const BackgroundTask&) = delete;

    /// Starts `work`; none may be running. The thread takes no signals, runs parallel_for alone
    /// and, where cores are scarce, yields to those that compute.
    void start(std::function<void()> work);
    bool running() const { return running_.load(std::memory_order_acquire); }
    /// Until it is done. Throws what it threw. Nothing where nothing was started.
    void wait();
    /// Of the last work, finished.
    double seconds() const { return seconds_; }

private:
    void run(const std::function<void()>& work) noexcept;

    std::thread thread_;
    std::atomic<bool> running_{false};
    std::exception_ptr failure_;
    double seconds_ = 0.0;
};

} // namespace sluice
