#include "tests/drill/call_plan.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <mutex>
#include <unistd.h>
#include <utility>

namespace sluice::drill {

namespace {

enum class Kind { count, error, short_write, full, dead, kill, stop };

std::string variable(const char* name)
{
    const char* text = std::getenv(name);
    return text == nullptr ? "" : text;
}

/// What handlers of signals may call, looked up beforehand: dlsym takes a lock, which the thread
/// that a signal interrupts may hold (mpirun then never ended).
struct Real {
    const char* name;
    void* function = nullptr;
};
Real reals[] = {{"write"}, {"close"}, {"open"}, {"unlink"}};

[[gnu::constructor]] void look_up_reals()
{
    for (Real& real : reals)
        real.function = ::dlsym(RTLD_NEXT, real.name);
}

struct Plan {
    std::string under = variable("SLUICE_DRILL_UNDER"), except = variable("SLUICE_DRILL_EXCEPT");
    std::string mpi_call = variable("SLUICE_DRILL_CALL");
    long at = std::atol(variable("SLUICE_DRILL_AT").c_str());
    long fsync_ms = std::atol(variable("SLUICE_DRILL_FSYNC_MS").c_str());
    Kind kind = Kind::count;
    int error = 0;
    int log = -1;
    bool active = false;
    std::recursive_mutex mutex;
    long calls = 0;
    bool done = false;                     ///< what happens once
    std::array<std::string, 1024> path_of; ///< [descriptor], of those below `under`

    Plan()
    {
        const std::string rank = variable("SLUICE_DRILL_RANK");
        std::string mine = variable("OMPI_COMM_WORLD_RANK");
        if (mine.empty() && variable("SLUICE_DRILL_LAUNCHED").empty())
            mine = "0"; // otherwise it is the launcher, which locks the folder when ranks have died
        active = !under.empty() && mine == (rank.empty() ? "0" : rank);
        const std::string name = variable("SLUICE_DRILL_KIND");
        constexpr std::pair<std::string_view, int> errors[] = {
            {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EIO", EIO}, {"EINTR", EINTR}};
        for (const auto& [word, number] : errors)
            if (name == word)
                kind = Kind::error, error = number;
        constexpr std::pair<std::string_view, Kind> kinds[] = {{"short", Kind::short_write},
                                                               {"full", Kind::full},
                                                               {"dead", Kind::dead},
                                                               {"kill", Kind::kill},
                                                               {"stop", Kind::stop}};
        for (const auto& [word, value] : kinds)
            if (name == word)
                kind = value;
        const std::string log_path = variable("SLUICE_DRILL_LOG");
        if (active && !log_path.empty())
            log = next<int(const char*, int, ...)>("open")(log_path.c_str(),
                                                           O_WRONLY | O_CREAT | O_APPEND, 0644);
    }
    bool covers(std::string_view path) const
    {
        return active && path.starts_with(under) && (except.empty() || !path.starts_with(except));
    }
};

Plan& plan()
{
    static Plan* instance = new Plan; // outlives whatever closes files at exit
    return *instance;
}

/// Calls that a signal can cut short, on Linux and by POSIX.
bool can_be_interrupted(std::string_view call)
{
    return call == "open" || call == "close" || call == "write" || call == "pwrite" ||
           call == "fsync" || call == "ftruncate";
}

bool is_write(std::string_view call) { return call == "write" || call == "pwrite"; }

bool takes_space(std::string_view call)
{
    return call != "close" && call != "unlink" && call != "rename" && call != "rmdir" &&
           call != "opendir" && call != "ftruncate";
}

} // namespace

std::string path_of(int descriptor)
{
    Plan& p = plan();
    if (!p.active)
        return {}; // without a lock: mpirun's handlers of signals write, too
    const std::lock_guard lock(p.mutex);
    const auto index = static_cast<std::size_t>(descriptor);
    return descriptor >= 0 && index < p.path_of.size() ? p.path_of[index] : std::string();
}

void remember(int descriptor, const std::string& path)
{
    Plan& p = plan();
    if (!p.active)
        return;
    const std::lock_guard lock(p.mutex);
    const auto index = static_cast<std::size_t>(descriptor);
    if (descriptor >= 0 && index < p.path_of.size())
        p.path_of[index] = p.covers(path) ? path : std::string();
}

Fate count(std::string_view call, const std::string& path)
{
    Plan& p = plan();
    if (!p.covers(path) || (call.starts_with("MPI_") ? call != p.mpi_call : !p.mpi_call.empty()))
        return {};
    const std::lock_guard lock(p.mutex);
    ++p.calls;
    if (p.log >= 0) {
        const std::string line =
            std::to_string(p.calls) + " " + std::string(call) + " " + path + "\n";
        [[maybe_unused]] const auto done =
            next<ssize_t(int, const void*, size_t)>("write")(p.log, line.data(), line.size());
    }
    const bool now = p.at > 0 && p.calls == p.at, since = p.at > 0 && p.calls > p.at;
    // Threads change places from run to run: what befalls some calls only waits for the first of
    // them.
    const auto first_from_now = [&](bool fits) {
        if (p.done || !(now || since) || !fits)
            return false;
        return p.done = true;
    };
    switch (p.kind) {
    case Kind::error:
        if (p.error == EINTR)
            return {.error = first_from_now(can_be_interrupted(call)) ? EINTR : 0};
        return {.error = now ? p.error : 0};
    case Kind::short_write: return {.short_write = first_from_now(is_write(call))};
    case Kind::full:
        if (now && is_write(call))
            return {.short_write = true};
        if ((now || since) && takes_space(call))
            return {.error = ENOSPC, .disk_is_full = true};
        return {};
    case Kind::dead: return {.error = now || since ? EIO : 0};
    case Kind::kill:
    case Kind::stop:
        if (now)
            ::kill(::getpid(), p.kind == Kind::kill ? SIGKILL : SIGSTOP);
        return {};
    case Kind::count: break;
    }
    return {};
}

void count_mpi(std::string_view call) { count(call, plan().under); }

bool covered(std::string_view path) { return plan().covers(path); }

long fsync_ms() { return plan().fsync_ms; }

void* next_symbol(const char* name)
{
    for (const Real& real : reals)
        if (real.function != nullptr && std::strcmp(real.name, name) == 0)
            return real.function;
    return ::dlsym(RTLD_NEXT, name);
}

} // namespace sluice::drill
