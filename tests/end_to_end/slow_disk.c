/* Preloaded into a run: fsync and access of files whose path contains $SLOW_DISK_FILE take
   $SLOW_DISK_SECONDS longer, so that tests find a save in the middle of its writing, or an update
   that waits for a file system. $SLOW_DISK_FREE: bytes that statvfs says are free. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void wait_at(const char* path)
{
    const char* const part = getenv("SLOW_DISK_FILE");
    const char* const seconds = getenv("SLOW_DISK_SECONDS");
    if (part != NULL && seconds != NULL && strstr(path, part) != NULL)
        usleep((useconds_t)(1e6 * atof(seconds)));
}

int access(const char* path, int mode)
{
    static int (*next)(const char*, int);
    if (next == NULL)
        *(void**)&next = dlsym(RTLD_NEXT, "access");
    wait_at(path);
    return next(path, mode);
}

int fsync(int descriptor)
{
    static int (*next)(int);
    char link[64], path[4096];
    ssize_t length;
    if (next == NULL)
        *(void**)&next = dlsym(RTLD_NEXT, "fsync");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = '\0';
        wait_at(path);
    }
    return next(descriptor);
}

int statvfs(const char* path, struct statvfs* status)
{
    static int (*next)(const char*, struct statvfs*);
    const char* const bytes = getenv("SLOW_DISK_FREE");
    int result;
    if (next == NULL)
        *(void**)&next = dlsym(RTLD_NEXT, "statvfs");
    result = next(path, status);
    if (result == 0 && bytes != NULL)
        status->f_bavail = (fsblkcnt_t)(strtoull(bytes, NULL, 10) / status->f_frsize);
    return result;
}
