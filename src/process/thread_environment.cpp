#include "src/process/thread_environment.hpp"

#include "core/error.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <unistd.h>

namespace sluice {

namespace {

/// Turns of libgomp's waiting loop, each of ten to a hundred nanoseconds. By the time of two runs
/// on two busy cores: 53 s with libgomp's own 300,000, 42 with 10,000, 16 with 1,000, 13 with none,
/// where every wait would be a call of the kernel.
constexpr const char* spin_count = "1000";

/// The blocks of attention take up to 1.1 MiB of a thread's stack, products half as much again.
constexpr rlim_t least_stack_bytes = rlim_t{4} << 20, usual_stack_bytes = rlim_t{8} << 20;

bool set_where_nobody_has(const char* name, const char* other_name, const char* value)
{
    return std::getenv(name) == nullptr && std::getenv(other_name) == nullptr &&
           ::setenv(name, value, 1) == 0;
}

bool raise_stack_limit()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur >= least_stack_bytes)
        return false; // RLIM_INFINITY is the largest number
    if (limit.rlim_max < least_stack_bytes)
        throw usage_error("a thread's stack may have " + std::to_string(limit.rlim_cur >> 10) +
                              " KiB, and kernels need 4096",
                          "this process", "raise the limit that it runs under (`ulimit -s 8192`)");
    limit.rlim_cur = std::min(limit.rlim_max, usual_stack_bytes);
    return ::setrlimit(RLIMIT_STACK, &limit) == 0;
}

} // namespace

void settle_thread_environment(char** argv)
{
    const bool raised = raise_stack_limit(); // of this thread
    const bool of_others = set_where_nobody_has("OMP_STACKSIZE", "GOMP_STACKSIZE", "8M");
    const bool bounded = set_where_nobody_has("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", spin_count);
    if (!raised && !of_others && !bounded)
        return;
    std::error_code error; // by its own path, which names the process in lists of them
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
    if (!error)
        ::execv(program.c_str(), argv);
}

} // namespace sluice
