// A library to preload into one rank: counts the calls that touch files below a folder and makes
// the k-th of them fail, cut short, or the last thing its process does. The drills (docs/drills.md)
// use it.
//
//     SLUICE_DRILL_UNDER    the folder; nothing elsewhere is counted or touched
//     SLUICE_DRILL_EXCEPT   a folder or file in it that is left alone
//     SLUICE_DRILL_RANK     the rank it acts in [0]; in others it does nothing
//     SLUICE_DRILL_LAUNCHED not empty: a process without a rank is their launcher, and left alone
//     SLUICE_DRILL_AT       k, counted from 1; 0: count only
//     SLUICE_DRILL_KIND     ENOSPC, EDQUOT, EIO, EINTR: this call, once; short: half of a write
//                           is done; full: the disk is full from this call on; dead: every call
//                           fails with EIO from here on; kill, stop: SIGKILL, SIGSTOP in place of
//                           it
//     SLUICE_DRILL_LOG      every counted call is a line "NUMBER CALL PATH" of this file
//     SLUICE_DRILL_FSYNC_MS how long every fsync takes, so that a save lasts
//     SLUICE_DRILL_CALL     count calls of MPI_Allreduce, MPI_Barrier or MPI_Finalize instead
#include "tests/drill/call_plan.hpp"

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <string>
#include <string_view>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

using namespace sluice::drill;

namespace {

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
    const long ms = fsync_ms();
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
    if (covered(path))
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
    const bool full = fate.disk_is_full;
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
    count_mpi("MPI_Allreduce");
    return next<decltype(MPI_Allreduce)>("MPI_Allreduce")(from, to, count_, type, operation, ranks);
}

int MPI_Barrier(void* ranks)
{
    count_mpi("MPI_Barrier");
    return next<decltype(MPI_Barrier)>("MPI_Barrier")(ranks);
}

int MPI_Finalize()
{
    count_mpi("MPI_Finalize");
    return next<decltype(MPI_Finalize)>("MPI_Finalize")();
}

} // extern "C"
