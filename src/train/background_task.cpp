#include "src/train/background_task.hpp"

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "src/process/stopwatch.hpp"
#include "src/process/thread_without_signals.hpp"

#include <algorithm>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>

namespace sluice {

BackgroundTask::~BackgroundTask()
{
    if (thread_.joinable())
        thread_.join();
}

void BackgroundTask::start(std::function<void()> work)
{
    SLUICE_CHECK(!thread_.joinable(), "work is under way");
    failure_ = nullptr;
    running_.store(true, std::memory_order_relaxed);
    try {
        thread_ = thread_without_signals([this, work = std::move(work)] { run(work); });
    } catch (...) {
        running_.store(false, std::memory_order_relaxed);
        throw;
    }
}

void BackgroundTask::run(const std::function<void()>& work) noexcept
{
    // On Linux this is the thread's own; where it is refused, the work only takes more of a core.
    constexpr int behind_computation = 10, lowest = 19;
    const auto self = static_cast<id_t>(gettid());
    setpriority(PRIO_PROCESS, self,
                std::min(getpriority(PRIO_PROCESS, self) + behind_computation, lowest));
    set_num_threads(1); // which holds for this thread: those of the rank are computing
    const Stopwatch watch;
    try {
        work();
    } catch (...) {
        failure_ = std::current_exception();
    }
    seconds_ = watch.seconds();
    running_.store(false, std::memory_order_release);
}

void BackgroundTask::wait()
{
    if (!thread_.joinable())
        return;
    thread_.join();
    if (failure_)
        std::rethrow_exception(std::exchange(failure_, nullptr));
}

} // namespace sluice
