// A library to preload into one rank: counts the calls that touch files below a folder and makes
// the k-th of them fail, cut short, or the last thing its process does. The drills (docs/drills.md)
// use it.
//
//     SLUICE_DRILL_UNDER    the folder; nothing elsewhere is counted or touched
//     SLUICE_DRILL_EXCEPT   a folder or file in it that is left alone
//     SLUICE_DRILL_RANK     the rank it acts in [0]; in others it does nothing
//     SLUICE_DRILL_AT       k, counted from 1; 0: count only
//     SLUICE_DRILL_KIND     ENOSPC, EDQUOT, EIO, EINTR: this call, once; short: half of a write
//                           is done; full: the disk is full from this call on; dead: every call
//                           fails with EIO from here on; kill, stop: SIGKILL, SIGSTOP in place of
//                           it
//     SLUICE_DRILL_LOG      every counted call is a line "NUMBER CALL PATH" of this file
//     SLUICE_DRILL_FSYNC_MS how long every fsync takes, so that a save lasts
//     SLUICE_DRILL_CALL     count calls of MPI_Allreduce, MPI_Barrier or MPI_Finalize instead
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <mutex>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

namespace {

enum class Kind { count, error, short_write, full, dead, kill, stop };

std::string variable(const char* name)
{
    const char* text = std::getenv(name);
    return text == nullptr ? "" : text;
}

template <class Function>
Function* next(const char* name)
{
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
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
    std::array<std::string, 1024> path_of; ///< [descriptor], of those below `under`

    Plan()
    {
        const std::string rank = variable("SLUICE_DRILL_RANK");
        std::string mine = variable("OMPI_COMM_WORLD_RANK");
        if (mine.empty())
            mine = "0";
        // The launcher has no rank and touches nothing below the folder.
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

std::string path_of(int descriptor)
{
    Plan& p = plan();
    const std::lock_guard lock(p.mutex);
    const auto index = static_cast<std::size_t>(descriptor);
    return descriptor >= 0 && index < p.path_of.size() ? p.path_of[index] : std::string();
}

void remember(int descriptor, const std::string& path)
{
    Plan& p = plan();
    const std::lock_guard lock(p.mutex);
    const auto index = static_cast<std::size_t>(descriptor);
    if (descriptor >= 0 && index < p.path_of.size())
        p.path_of[index] = p.covers(path) ? path : std::string();
}

/// What a call does instead of its work.
struct Fate {
    int error = 0;            ///< to return
    bool short_write = false; ///< half of it is done
};

bool takes_space(std::string_view call)
{
    return call != "close" && call != "unlink" && call != "rename" && call != "rmdir" &&
           call != "opendir" && call != "ftruncate";
}

/// Counts one call and says what becomes of it.
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
    switch (p.kind) {
    case Kind::error: return {now ? p.error : 0, false};
    case Kind::short_write: return {0, now};
    case Kind::full:
        if (now && (call == "write" || call == "pwrite"))
            return {0, true};
        return {(now || since) && takes_space(call) ? ENOSPC : 0, false};
    case Kind::dead: return {now || since ? EIO : 0, false};
    case Kind::kill:
    case Kind::stop:
        if (now)
            ::kill(::getpid(), p.kind == Kind::kill ? SIGKILL : SIGSTOP);
        return {};
    case Kind::count: break;
    }
    return {};
}

int failed(int error)
{
    errno = error;
    return -1;
}

std::string joined(int folder, const char* path)
{
    if (path[0] == '/')
        return path;
    if (folder == AT_FDCWD) {
        char here[4096];
        return ::getcwd(here, sizeof here) == nullptr ? path : std::string(here) + "/" + path;
    }
    return path_of(folder) + "/" + path;
}

std::string full_path(const char* path) { return joined(AT_FDCWD, path); }

int open_counted(const char* real, int folder, const char* path, int flags, mode_t mode)
{
    const std::string name = joined(folder, path);
    const Fate fate = count("open", name);
    if (fate.error != 0)
        return failed(fate.error);
    const int descriptor =
        std::string_view(real).starts_with("openat")
            ? next<int(int, const char*, int, ...)>(real)(folder, path, flags, mode)
            : next<int(const char*, int, ...)>(real)(path, flags, mode);
    remember(descriptor, name);
    return descriptor;
}

mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

size_t granted(const Fate& fate, size_t size) { return fate.short_write ? (size + 1) / 2 : size; }

void linger()
{
    const long ms = plan().fsync_ms;
    if (ms <= 0)
        return;
    const timespec time{ms / 1000, ms % 1000 * 1000000};
    ::nanosleep(&time, nullptr);
}

} // namespace

extern "C" {

#define SLUICE_OPEN(NAME)                                                                          \
    int NAME(const char* path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        const mode_t mode = mode_of(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        return open_counted(#NAME, AT_FDCWD, path, flags, mode);                                   \
    }
#define SLUICE_OPENAT(NAME)                                                                        \
    int NAME(int folder, const char* path, int flags, ...)                                         \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        const mode_t mode = mode_of(flags, arguments);                                             \
        va_end(arguments);                                                                         \
        return open_counted(#NAME, folder, path, flags, mode);                                     \
    }
SLUICE_OPEN(open)
SLUICE_OPEN(open64)
SLUICE_OPENAT(openat)
SLUICE_OPENAT(openat64)

ssize_t write(int descriptor, const void* bytes, size_t size)
{
    const Fate fate = count("write", path_of(descriptor));
    return fate.error != 0 ? failed(fate.error)
                           : next<decltype(write)>("write")(descriptor, bytes, granted(fate, size));
}

ssize_t pwrite(int descriptor, const void* bytes, size_t size, off_t offset)
{
    const Fate fate = count("pwrite", path_of(descriptor));
    return fate.error != 0
               ? failed(fate.error)
               : next<decltype(pwrite)>("pwrite")(descriptor, bytes, granted(fate, size), offset);
}

ssize_t pwrite64(int descriptor, const void* bytes, size_t size, off64_t offset)
{
    return pwrite(descriptor, bytes, size, offset);
}

int fsync(int descriptor)
{
    const std::string path = path_of(descriptor);
    if (plan().covers(path))
        linger();
    const Fate fate = count("fsync", path);
    return fate.error != 0 ? failed(fate.error) : next<decltype(fsync)>("fsync")(descriptor);
}

int fdatasync(int descriptor)
{
    const Fate fate = count("fsync", path_of(descriptor));
    return fate.error != 0 ? failed(fate.error)
                           : next<decltype(fdatasync)>("fdatasync")(descriptor);
}

/// The descriptor is gone even where the call fails, as on Linux.
int close(int descriptor)
{
    const Fate fate = count("close", path_of(descriptor));
    remember(descriptor, "");
    const int result = next<decltype(close)>("close")(descriptor);
    return fate.error != 0 ? failed(fate.error) : result;
}

int ftruncate(int descriptor, off_t size)
{
    const Fate fate = count("ftruncate", path_of(descriptor));
    return fate.error != 0 ? failed(fate.error)
                           : next<decltype(ftruncate)>("ftruncate")(descriptor, size);
}

int ftruncate64(int descriptor, off64_t size) { return ftruncate(descriptor, size); }

int rename(const char* from, const char* to)
{
    const Fate fate = count("rename", full_path(to));
    return fate.error != 0 ? failed(fate.error) : next<decltype(rename)>("rename")(from, to);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags)
{
    const Fate fate = count("rename", joined(to_folder, to));
    return fate.error != 0
               ? failed(fate.error)
               : next<decltype(renameat2)>("renameat2")(from_folder, from, to_folder, to, flags);
}

int mkdir(const char* path, mode_t mode)
{
    const Fate fate = count("mkdir", full_path(path));
    return fate.error != 0 ? failed(fate.error) : next<decltype(mkdir)>("mkdir")(path, mode);
}

int rmdir(const char* path)
{
    const Fate fate = count("rmdir", full_path(path));
    return fate.error != 0 ? failed(fate.error) : next<decltype(rmdir)>("rmdir")(path);
}

int unlink(const char* path)
{
    const Fate fate = count("unlink", full_path(path));
    return fate.error != 0 ? failed(fate.error) : next<decltype(unlink)>("unlink")(path);
}

int unlinkat(int folder, const char* path, int flags)
{
    const Fate fate = count((flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink", joined(folder, path));
    return fate.error != 0 ? failed(fate.error)
                           : next<decltype(unlinkat)>("unlinkat")(folder, path, flags);
}

int remove(const char* path)
{
    const Fate fate = count("unlink", full_path(path));
    return fate.error != 0 ? failed(fate.error) : next<decltype(remove)>("remove")(path);
}

DIR* opendir(const char* path)
{
    const Fate fate = count("opendir", full_path(path));
    if (fate.error != 0) {
        errno = fate.error;
        return nullptr;
    }
    return next<decltype(opendir)>("opendir")(path);
}

/// A full disk says so.
int statvfs(const char* path, struct statvfs* status)
{
    const std::string name = full_path(path);
    const Fate fate = count("statvfs", name);
    const bool full = fate.error == ENOSPC && plan().kind == Kind::full;
    if (fate.error != 0 && !full)
        return failed(fate.error);
    const int result = next<decltype(statvfs)>("statvfs")(path, status);
    if (full)
        status->f_bavail = 0;
    return result;
}

// Without mpi.h: handles are as wide as pointers where they are no integers, and the registers that
// pass them are the same.
int MPI_Allreduce(const void* from, void* to, int count_, void* type, void* operation, void* ranks)
{
    count("MPI_Allreduce", plan().under);
    return next<decltype(MPI_Allreduce)>("MPI_Allreduce")(from, to, count_, type, operation, ranks);
}

int MPI_Barrier(void* ranks)
{
    count("MPI_Barrier", plan().under);
    return next<decltype(MPI_Barrier)>("MPI_Barrier")(ranks);
}

int MPI_Finalize()
{
    count("MPI_Finalize", plan().under);
    return next<decltype(MPI_Finalize)>("MPI_Finalize")();
}

} // extern "C"
