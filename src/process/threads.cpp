#include "src/process/threads.hpp"

#include "core/cores.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "pipeline/transport/transport.hpp"

#include <algorithm>
#include <cstdlib>
#include <future>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace sluice {

int threads_for_this_rank(int requested)
{
    if (requested > 0)
        return requested;
    const int machine = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    const int allowed = num_own_cores();
    // Slurm says what a rank was given, also where it binds nobody to cores.
    const char* const given = std::getenv("SLURM_CPUS_PER_TASK");
    if (const int cores = given != nullptr ? std::atoi(given) : 0; cores > 0)
        return std::min(cores, allowed);
    // A mask smaller than the machine is this rank's own share already.
    return std::max(1, allowed < machine ? allowed : allowed / ranks_on_this_machine());
}

void warn_of_threads_without_cores(int requested)
{
    if (const int cores = num_own_cores(); requested > cores)
        log_warning(std::to_string(requested) +
                    " threads are asked for, and this process may run on " + std::to_string(cores) +
                    (cores == 1 ? " core" : " cores") +
                    ": threads that share one take turns, which is slower");
}

void require_threads(int count)
{
    std::vector<std::jthread> threads; // before the promise, whose end also sets them free
    std::promise<void> all_are_there;
    const std::shared_future<void> end = all_are_there.get_future().share();
    std::string why;
    try {
        while (threads.size() < static_cast<std::size_t>(count))
            threads.emplace_back([end] { end.wait(); });
    } catch (const std::system_error& error) {
        why = error.what();
    }
    all_are_there.set_value();
    if (!why.empty())
        throw usage_error("only " + std::to_string(threads.size()) + " of " +
                              std::to_string(count) + " threads could be started: " + why,
                          "this process",
                          "raise the limit it runs under (`ulimit -u`, `ulimit -v`, or pids.max of "
                          "a job or container), or ask for fewer threads");
}

} // namespace sluice
