#include "src/process/threads.hpp"

#include "core/cores.hpp"
#include "core/logging.hpp"
#include "pipeline/transport/transport.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <thread>

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

} // namespace sluice
