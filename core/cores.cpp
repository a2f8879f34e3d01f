#include "core/cores.hpp"

#include <algorithm>
#include <memory>
#include <sched.h>

namespace sluice {

std::vector<int> cores_of(pid_t process)
{
    // The kernel refuses a set smaller than its own.
    constexpr int most_cores = 8192;
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(
        CPU_ALLOC(most_cores), [](cpu_set_t* allocated) { CPU_FREE(allocated); });
    if (set == nullptr)
        return {};
    const std::size_t bytes = CPU_ALLOC_SIZE(most_cores);
    CPU_ZERO_S(bytes, set.get());
    std::vector<int> cores;
    if (sched_getaffinity(process, bytes, set.get()) == 0)
        for (int core = 0; core < most_cores; ++core)
            if (CPU_ISSET_S(core, bytes, set.get()))
                cores.push_back(core);
    return cores;
}

int num_own_cores() { return std::max(1, static_cast<int>(cores_of(0).size())); }

} // namespace sluice
