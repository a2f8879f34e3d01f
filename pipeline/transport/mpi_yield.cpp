#include "pipeline/transport/mpi_yield.hpp"

#include "core/cores.hpp"
#include "pipeline/transport/transport.hpp"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <sched.h>
#include <string_view>
#include <unistd.h>

namespace sluice {

namespace {

constexpr const char* yield_setting = "OMPI_MCA_mpi_yield_when_idle";

} // namespace

int cores_of_this_machine()
{
    return std::max(num_own_cores(), static_cast<int>(cores_of(getppid()).size()));
}

bool ranks_share_cores()
{
    const char* asked = std::getenv(yield_setting);
    if (asked == nullptr)
        return ranks_on_this_machine() > cores_of_this_machine();
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
