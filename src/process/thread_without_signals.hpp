// Signals are for the thread that looks for them (src/train/stop_signals); no other may take one.
#pragma once

#include <csignal>
#include <thread>
#include <utility>

namespace sluice {

/// A new thread that takes no signals: it inherits the mask of the one that starts it.
template <class Work>
std::thread thread_without_signals(Work&& work)
{
    class AllBlocked {
    public:
        AllBlocked()
        {
            sigset_t all;
            sigfillset(&all);
            pthread_sigmask(SIG_SETMASK, &all, &before_);
        }
        ~AllBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
        AllBlocked(const AllBlocked&) = delete;
        AllBlocked& operator=(const AllBlocked&) = delete;

    private:
        sigset_t before_{};
    };
    const AllBlocked while_it_starts;
    return std::thread(std::forward<Work>(work));
}

} // namespace sluice
