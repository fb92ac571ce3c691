/* Preloaded into a server: keeps a journal of what a power cut would leave of its files (power.py plays it).

   S inode size ms     fsync or fdatasync of a file that had so many bytes when it was called, at that time
   D path              the same of a directory: its names are as they are now
   R old new kept      rename; what was named `new` before is still there as `kept`, or "-" where nothing was
   U path kept         unlink, the same

   R and U are written before it happens, S and D when it has: who is killed in between has less than it had. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int journal(void)
{
    static int fd = -1;
    if (fd < 0) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/journal", getenv("POWER_HOME"));
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    }
    return fd;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int synced(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    long began_ms = now_ms();
    int known = fstat(fd, &before) == 0, done = real(fd), error = errno;
    if (done == 0 && known && S_ISREG(before.st_mode))
        dprintf(journal(), "S\t%lu\t%lld\t%ld\n", (unsigned long)before.st_ino, (long long)before.st_size, began_ms);
    if (done == 0 && known && S_ISDIR(before.st_mode)) {
        char self[64], path[PATH_MAX];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(self, path, sizeof path - 1);
        if (length > 0)
            dprintf(journal(), "D\t%.*s\n", (int)length, path);
    }
    errno = error;
    return done;
}

int fsync(int fd) { return synced("fsync", fd); }
int fdatasync(int fd) { return synced("fdatasync", fd); }

static const char *absolute(const char *path, char *into)
{
    char here[PATH_MAX];
    if (path[0] == '/' || getcwd(here, sizeof here) == NULL)
        snprintf(into, PATH_MAX, "%s", path);
    else
        snprintf(into, PATH_MAX, "%s/%s", here, path);
    return into;
}

static const char *keep(const char *path, char *into)
{
    static int number;
    snprintf(into, PATH_MAX, "%s/kept-%d-%d", getenv("POWER_HOME"), (int)getpid(), __atomic_fetch_add(&number, 1, 0));
    return link(path, into) == 0 ? into : "-";
}

int rename(const char *old, const char *new)
{
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    char from[PATH_MAX], to[PATH_MAX], kept[PATH_MAX];
    dprintf(journal(), "R\t%s\t%s\t%s\n", absolute(old, from), absolute(new, to), keep(new, kept));
    return real(old, new);
}

int unlink(const char *path)
{
    int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    char of[PATH_MAX], kept[PATH_MAX];
    dprintf(journal(), "U\t%s\t%s\n", absolute(path, of), keep(path, kept));
    return real(path);
}
