/* Preloaded into a run: fsync of files whose path contains $SLOW_DISK_FILE takes $SLOW_DISK_SECONDS
   longer, so that tests find a save in the middle of its writing. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fsync(int descriptor)
{
    static int (*next)(int);
    char link[64], path[4096];
    const char* const part = getenv("SLOW_DISK_FILE");
    const char* const seconds = getenv("SLOW_DISK_SECONDS");
    ssize_t length;
    if (next == NULL)
        *(void**)&next = dlsym(RTLD_NEXT, "fsync");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length > 0 && part != NULL && seconds != NULL) {
        path[length] = '\0';
        if (strstr(path, part) != NULL)
            usleep((useconds_t)(1e6 * atof(seconds)));
    }
    return next(descriptor);
}
