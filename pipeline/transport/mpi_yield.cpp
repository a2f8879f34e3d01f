#include "pipeline/transport/mpi_yield.hpp"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <sched.h>
#include <string_view>
#include <unistd.h>

namespace sluice {

namespace {

constexpr const char* yield_setting = "OMPI_MCA_mpi_yield_when_idle";

int cores_of(pid_t process)
{
    // Large enough for 8192 cores: the kernel refuses a set smaller than its own.
    constexpr int most_cores = 8192;
    cpu_set_t* const set = CPU_ALLOC(most_cores);
    if (set == nullptr)
        return 1;
    const std::size_t bytes = CPU_ALLOC_SIZE(most_cores);
    CPU_ZERO_S(bytes, set);
    const int cores = sched_getaffinity(process, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 1;
    CPU_FREE(set);
    return cores;
}

bool ranks_outnumber_cores()
{
    const char* local_ranks = std::getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    if (local_ranks == nullptr)
        local_ranks = std::getenv("SLURM_NTASKS_PER_NODE");
    return local_ranks != nullptr && std::atoi(local_ranks) > cores_of_this_machine();
}

} // namespace

int cores_of_this_machine() { return std::max(cores_of(0), cores_of(getppid())); }

bool ranks_share_cores()
{
    const char* asked = std::getenv(yield_setting);
    if (asked == nullptr)
        return ranks_outnumber_cores();
    // Open MPI takes 0, false and no, whole or shortened.
    return std::string_view("0fFnN").find(asked[0]) == std::string_view::npos;
}

void yield_when_cores_are_shared()
{
    if (ranks_share_cores())
        setenv(yield_setting, "1", 0);
}

int wait_patiently(MPI_Request& request, MPI_Status& status)
{
    constexpr int looks_before_sleep = 20;
    constexpr timespec nap{0, 50'000};
    for (int looks = 0;; ++looks) {
        int complete = 0;
        const int code = MPI_Test(&request, &complete, &status);
        if (code != MPI_SUCCESS || complete != 0)
            return code;
        if (looks < looks_before_sleep)
            sched_yield();
        else
            nanosleep(&nap, nullptr);
    }
}

} // namespace sluice
