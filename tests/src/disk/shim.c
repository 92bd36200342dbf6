/*
 * Preloaded into a process: records, in order and with their bytes, all changes that it makes below one folder, and
 * makes writes or syncs there fail on demand; and sets its clock. Built by shim.rs.
 *
 *   DISK_SHIM_FOLDER   the folder; without it nothing is done
 *   DISK_SHIM_RECORD   where to record (see recording.rs); optional
 *   DISK_SHIM_FAULT    a file that says what fails: "sync|write|open ERRNO PART-OF-A-PATH"; while it does not exist,
 *                      nothing fails; optional
 *   CLOCK_SHIM_SECONDS at which time, in seconds since 1970, the process begins; optional
 *
 * One lock is held over each call and its record, so that the record has the order in which things happened.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OPEN = 1, CLOSE, WRITE, TRUNCATE, SYNC, SYNC_RANGE, RENAME, UNLINK, MKDIR, RMDIR };

#define FDS_MAX 4096
#define REAL(name) ((__typeof__(&name))real(#name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder, *fault;
static int record = -1;
/* Paths of open files below the folder. */
static char *paths[FDS_MAX];

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void start(void) {
    folder = getenv("DISK_SHIM_FOLDER");
    fault = getenv("DISK_SHIM_FAULT");
    const char *path = getenv("DISK_SHIM_RECORD");
    if (folder && path) record = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Seconds to be added to the machine's clock. */
static time_t clock_ahead(void) {
    static time_t ahead;
    static int is_known;
    const char *wanted = getenv("CLOCK_SHIM_SECONDS");
    if (!wanted) return 0;
    if (!is_known) {
        struct timespec now;
        REAL(clock_gettime)(CLOCK_REALTIME, &now);
        ahead = atoll(wanted) - now.tv_sec;
        is_known = 1;
    }
    return ahead;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += clock_ahead();
    return result;
}

static int is_below(const char *path) {
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static const char *path_of(int fd) {
    return fd >= 0 && fd < FDS_MAX ? paths[fd] : NULL;
}

/* The path that a call with a folder's descriptor means. */
static const char *absolute(int at, const char *path, char *buffer) {
    char link[64];
    if (path[0] == '/' || at == AT_FDCWD) return path;
    snprintf(link, sizeof link, "/proc/self/fd/%d", at);
    ssize_t len = readlink(link, buffer, PATH_MAX);
    if (len < 0) return path;
    snprintf(buffer + len, PATH_MAX, "/%s", path);
    return buffer;
}

static void put(const void *bytes, size_t len) {
    for (const char *at = bytes; len > 0;) {
        ssize_t done = REAL(write)(record, at, len);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort();
        at += done;
        len -= done;
    }
}

/* kind, fd or flags, offset or length, length of the first bytes and of the second; then both. */
static void note(uint32_t kind, uint32_t number, uint64_t offset, const void *one, size_t one_len,
                 const void *two, size_t two_len) {
    if (record < 0) return;
    int saved = errno;
    uint32_t head[6] = {kind, number, (uint32_t)offset, (uint32_t)(offset >> 32), one_len, two_len};
    put(head, sizeof head);
    put(one, one_len);
    put(two, two_len);
    errno = saved;
}

static void note_path(uint32_t kind, const char *path) {
    note(kind, 0, 0, path, strlen(path), "", 0);
}

/* Whether a call on this path is to fail; sets errno then. */
static int fails(const char *call, const char *path) {
    char text[PATH_MAX + 64] = {0}, which[16], part[PATH_MAX];
    int number;
    if (!fault || !path) return 0;
    int fd = REAL(open)(fault, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    REAL(close)(fd);
    if (len <= 0 || sscanf(text, "%15s %d %4000s", which, &number, part) != 3) return 0;
    if (strcmp(which, call) != 0 || !strstr(path, part)) return 0;
    errno = number;
    return 1;
}

static int open_at(int at, const char *given, int flags, mode_t mode) {
    char buffer[2 * PATH_MAX + 2];
    const char *path = absolute(at, given, buffer);
    /* Folders that are listed are closed out of sight, and nothing is written to them. */
    if (!is_below(path) || flags & O_DIRECTORY) return REAL(openat)(at, given, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = (flags & O_ACCMODE) != O_RDONLY && fails("open", path) ? -1 : REAL(openat)(at, given, flags, mode);
    if (fd >= 0 && fd < FDS_MAX) {
        free(paths[fd]);
        paths[fd] = strdup(path);
        note(OPEN, fd, flags & (O_CREAT | O_TRUNC), path, strlen(path), "", 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list list; \
        va_start(list, flags); \
        mode = va_arg(list, mode_t); \
        va_end(list); \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }

int close(int fd) {
    if (!path_of(fd)) return REAL(close)(fd);
    pthread_mutex_lock(&lock);
    free(paths[fd]);
    paths[fd] = NULL;
    note(CLOSE, fd, 0, "", 0, "", 0);
    int result = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t len) {
    if (!path_of(fd)) return REAL(write)(fd, bytes, len);
    pthread_mutex_lock(&lock);
    ssize_t done = fails("write", paths[fd]) ? -1 : REAL(write)(fd, bytes, len);
    if (done > 0) note(WRITE, fd, lseek(fd, 0, SEEK_CUR) - done, bytes, done, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) {
    if (!path_of(fd)) return REAL(pwrite64)(fd, bytes, len, offset);
    pthread_mutex_lock(&lock);
    ssize_t done = fails("write", paths[fd]) ? -1 : REAL(pwrite64)(fd, bytes, len, offset);
    if (done > 0) note(WRITE, fd, offset, bytes, done, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) { return pwrite64(fd, bytes, len, offset); }

int ftruncate64(int fd, off64_t len) {
    if (!path_of(fd)) return REAL(ftruncate64)(fd, len);
    pthread_mutex_lock(&lock);
    int result = fails("write", paths[fd]) ? -1 : REAL(ftruncate64)(fd, len);
    if (result == 0) note(TRUNCATE, fd, len, "", 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }

/* Preallocation changes lengths unseen by the record: nobody here does it. */
int fallocate64(int fd, int mode, off64_t offset, off64_t len) {
    if (path_of(fd)) abort();
    return REAL(fallocate64)(fd, mode, offset, len);
}
int posix_fallocate64(int fd, off64_t offset, off64_t len) {
    if (path_of(fd)) abort();
    return REAL(posix_fallocate64)(fd, offset, len);
}

static int sync_with(int fd, int (*sync)(int)) {
    if (!path_of(fd)) return sync(fd);
    pthread_mutex_lock(&lock);
    int result = fails("sync", paths[fd]) ? -1 : sync(fd);
    if (result == 0) note(SYNC, fd, 0, "", 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
int fsync(int fd) { return sync_with(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_with(fd, REAL(fdatasync)); }

int sync_file_range(int fd, off64_t offset, off64_t len, unsigned flags) {
    if (!path_of(fd)) return REAL(sync_file_range)(fd, offset, len, flags);
    pthread_mutex_lock(&lock);
    int result = fails("sync", paths[fd]) ? -1 : REAL(sync_file_range)(fd, offset, len, flags);
    if (result == 0) note(SYNC_RANGE, fd, offset, "", 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int rename(const char *from, const char *to) {
    if (!is_below(from)) return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(from, to);
    if (result == 0) note(RENAME, 0, 0, from, strlen(from), to, strlen(to));
    pthread_mutex_unlock(&lock);
    return result;
}

int unlinkat(int at, const char *given, int flags) {
    char buffer[2 * PATH_MAX + 2];
    const char *path = absolute(at, given, buffer);
    if (!is_below(path)) return REAL(unlinkat)(at, given, flags);
    pthread_mutex_lock(&lock);
    int result = REAL(unlinkat)(at, given, flags);
    if (result == 0) note_path(flags & AT_REMOVEDIR ? RMDIR : UNLINK, path);
    pthread_mutex_unlock(&lock);
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdir(const char *path, mode_t mode) {
    if (!is_below(path)) return REAL(mkdir)(path, mode);
    pthread_mutex_lock(&lock);
    int result = REAL(mkdir)(path, mode);
    if (result == 0) note_path(MKDIR, path);
    pthread_mutex_unlock(&lock);
    return result;
}
