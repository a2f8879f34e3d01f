#include "src/process/memory_budget.hpp"

#include "pipeline/transport/transport.hpp"
#include "src/process/process_memory.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

namespace sluice {

namespace {

constexpr std::size_t no_limit = std::numeric_limits<std::size_t>::max();

/// "max" and files that are not there set no limit.
std::size_t limit_in(const std::filesystem::path& file)
{
    std::ifstream stream(file);
    std::size_t bytes = 0;
    return stream >> bytes ? bytes : no_limit;
}

/// From lines such as "0::/user.slice" (version 2) and "7:memory:/slurm/job_1" (version 1).
std::size_t own_control_group_limit()
{
    std::size_t limit = no_limit;
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
        const std::size_t first = line.find(':');
        const std::size_t second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos)
            continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        const std::string group = line.substr(second + 1);
        if (controllers.empty())
            limit = std::min(limit, control_group_limit("/sys/fs/cgroup", group));
        else if (controllers == "memory")
            limit = std::min(limit, control_group_limit("/sys/fs/cgroup/memory", group));
    }
    return limit;
}

std::size_t own_address_space()
{
    rlimit limit{};
    std::size_t pages = 0;
    std::ifstream statm("/proc/self/statm");
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || !(statm >> pages))
        return no_limit;
    return address_space_for_a_rank(limit.rlim_cur,
                                    pages * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE)));
}

} // namespace

std::size_t address_space_for_a_rank(std::size_t limit, std::size_t taken)
{
    constexpr std::size_t reserved_by_threads = std::size_t{192} << 20; // heaps of 64 MiB
    const std::size_t unusable = taken + reserved_by_threads;
    return limit > unusable ? limit - unusable + program_bytes : 0;
}

std::size_t control_group_limit(const std::filesystem::path& root,
                                const std::filesystem::path& group)
{
    std::size_t limit = no_limit;
    for (std::filesystem::path at = group.relative_path();; at = at.parent_path()) {
        limit = std::min({limit, limit_in(root / at / "memory.max"),
                          limit_in(root / at / "memory.limit_in_bytes")});
        if (at.empty())
            return limit;
    }
}

std::size_t memory_per_rank()
{
    const auto machine = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                         static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
    return std::min(std::min(machine, own_control_group_limit()) /
                        static_cast<std::size_t>(ranks_on_this_machine()),
                    own_address_space());
}

} // namespace sluice
