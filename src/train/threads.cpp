#include "src/train/threads.hpp"

#include <algorithm>
#include <cstdlib>
#include <sched.h>
#include <thread>

namespace sluice {

namespace {

int number_from(const char* variable)
{
    const char* text = std::getenv(variable);
    return text == nullptr ? 0 : std::atoi(text);
}

} // namespace

int threads_for_this_rank(int requested)
{
    if (requested > 0)
        return requested;
    const int machine = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    cpu_set_t mask;
    CPU_ZERO(&mask);
    const int allowed = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : machine;
    int local_ranks = 1;
    for (const char* variable :
         {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE"})
        if (const int count = number_from(variable); count > 0) {
            local_ranks = count;
            break;
        }
    // A mask smaller than the machine is this rank's own share already.
    return std::max(1, allowed < machine ? allowed : allowed / local_ranks);
}

} // namespace sluice
