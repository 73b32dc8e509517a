/* SPDX-License-Identifier: BSD-3-Clause */
/* logfile.c -- see logfile.h. Who puts the file aside holds a lock on it and
 * has looked again that it is still the one at its path: of two that come at
 * the same time the second one finds a new file there, and opens that. */
#include "runtime/logfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/trusted.h"
#include "runtime/places.h"
#include "settings/settings.h"

#define S_LINE_MAX 1200
#define S_TAIL 4096
#define S_DAY_S 86400
#define S_LOCK_TRIES 25 /* of 4 ms */
#define S_RETRY_US 60000000
#define S_SAME_DAY 1000 /* FILE.YYYY-MM-DD.N */

/* ---- days ---------------------------------------------------------------- */
static long s_local_day(time_t now) {
    struct tm tm;
    localtime_r(&now, &tm);
    return (long)((now + tm.tm_gmtoff) / S_DAY_S);
}

/* "YYYY-MM-DD" at the beginning; -1: none, or no day of the calendar. */
static long s_date(const char *text, size_t size) {
    struct tm tm = {.tm_mday = 0}, same;
    if (size < 10 || text[4] != '-' || text[7] != '-')
        return -1;
    for (size_t i = 0; i < 10; i++)
        if (i != 4 && i != 7 && (text[i] < '0' || text[i] > '9'))
            return -1;
    tm.tm_year = (int)strtol(text, NULL, 10) - 1900;
    tm.tm_mon = (int)strtol(text + 5, NULL, 10) - 1;
    tm.tm_mday = (int)strtol(text + 8, NULL, 10);
    same = tm;
    time_t at = timegm(&same); /* which makes 2 March of 30 February */
    return same.tm_mon == tm.tm_mon && same.tm_mday == tm.tm_mday
               ? (long)(at / S_DAY_S)
               : -1;
}

/* What the last line says that has a date; the file's own time may be anybody's
 * who touched it. */
static long s_last_day(const char *path, const struct stat *st, bool *torn) {
    char tail[S_TAIL];
    long day = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    off_t from = st->st_size > S_TAIL ? st->st_size - S_TAIL : 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, sizeof tail, from);
    for (ssize_t i = 0; i < n; i++)
        if (i == 0 ? from == 0 : tail[i - 1] == '\n') {
            long at = s_date(tail + i, (size_t)(n - i));
            day = at >= 0 ? at : day;
        }
    *torn = n > 0 && tail[n - 1] != '\n';
    if (fd >= 0)
        close(fd);
    return day >= 0 ? day : s_local_day(st->st_mtime);
}

/* ---- opening ------------------------------------------------------------- */
static int s_open_with(const char *path, int flags) {
    return open(path,
                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK |
                    O_NOCTTY | flags,
                0644);
}

/* A link is followed if we or root made it: /dev/stdout is one. */
static gate_err_t s_try(const gi_logfile_t *self, int *fd) {
    struct stat st;
    *fd = s_open_with(self->path, O_NOFOLLOW);
    if (*fd >= 0)
        return GATE_OK;
    if (errno == ELOOP && lstat(self->path, &st) == 0) {
        if (!self->settings->trust_others && st.st_uid != 0 &&
            st.st_uid != geteuid())
            return gi_err(GATE_SYSTEM,
                          "log file %s is a link that uid %u made: must be "
                          "ours (uid %u) or root's, or trust_others = true",
                          self->path, (unsigned)st.st_uid, (unsigned)geteuid());
        *fd = s_open_with(self->path, 0);
    }
    return *fd < 0 ? gi_err_errno("log file %s", self->path) : GATE_OK;
}

/* Where others may put files a second name can be somebody's trap. */
static gate_err_t s_names(const gi_logfile_t *self, const struct stat *st) {
    char dir[PATH_MAX];
    strcpy(dir, self->path);
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    if (!S_ISREG(st->st_mode) || st->st_nlink < 2 ||
        self->settings->trust_others ||
        !gi_trusted_dir("log_path", slash ? dir : ".", 0))
        return GATE_OK;
    return gi_err(GATE_SYSTEM,
                  "log file %s has a second name, in a directory that others "
                  "may write",
                  self->path);
}

static gate_err_t s_open(gi_logfile_t *self) {
    char path[PATH_MAX];
    struct stat st;
    int fd;
    gate_err_t e = gi_places_log(self->settings, path, sizeof path);
    if (e || !*path)
        return e;
    strcpy(self->path, path);
    e = s_try(self, &fd);
    if (e)
        return e;
    if (fstat(fd, &st) < 0)
        e = gi_err_errno("log file %s", self->path);
    else
        e = s_names(self, &st);
    if (e) {
        close(fd);
        return e;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    self->fd = fd;
    self->dev = st.st_dev;
    self->ino = st.st_ino;
    self->regular = S_ISREG(st.st_mode);
    self->torn = false;
    /* what an earlier day left behind is put aside by the first line */
    self->day = self->regular && st.st_size > 0
                    ? s_last_day(self->path, &st, &self->torn)
                    : s_local_day(time(NULL));
    return GATE_OK;
}

gate_err_t gi_logfile_open(gi_logfile_t *self,
                           const gate_settings_t *settings) {
    *self = (gi_logfile_t){.settings = settings, .fd = -1};
    return s_open(self);
}

static bool s_is_there(const gi_logfile_t *self) {
    struct stat st;
    return stat(self->path, &st) == 0 && st.st_dev == self->dev &&
           st.st_ino == self->ino;
}

gate_err_t gi_logfile_reopen(gi_logfile_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    self->fd = -1;
    gate_err_t e = s_open(self);
    if (e && !self->why_lost)
        self->why_lost = errno ? errno : EACCES;
    return e;
}

/* What cannot be opened is counted line by line. */
static void s_reopen(gi_logfile_t *self) {
    if (gi_logfile_reopen(self))
        return;
}

void gi_logfile_look(gi_logfile_t *self) {
    if (*self->path && (self->fd < 0 || (self->regular && !s_is_there(self))))
        s_reopen(self);
}

/* ---- putting aside ------------------------------------------------------- */
/* What stands behind the file's name and its dot; number 0: no ".N". */
static bool s_is_aside(const char *rest, long *day, long *number) {
    char *end;
    *day = s_date(rest, strlen(rest));
    *number = 0;
    if (*day < 0 || !rest[10])
        return *day >= 0;
    if (rest[10] != '.' || rest[11] < '1' || rest[11] > '9')
        return false;
    *number = strtol(rest + 11, &end, 10);
    return !*end;
}

typedef struct s_aside {
    char *name;
    long day, number;
} s_aside_t;

static int s_older(const void *a, const void *b) {
    const s_aside_t *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* Those of the directory that are called so. */
static s_aside_t *s_list(DIR *dir, const char *base, size_t *n) {
    size_t room = 0, size = strlen(base);
    s_aside_t *list = NULL;
    struct stat st;
    *n = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        s_aside_t one;
        if (strncmp(e->d_name, base, size) != 0 || e->d_name[size] != '.' ||
            !s_is_aside(e->d_name + size + 1, &one.day, &one.number) ||
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        if (*n == room) {
            size_t more = room ? 2 * room : 64;
            s_aside_t *grown = gi_mem_realloc(list, more * sizeof *grown);
            if (!grown)
                break;
            list = grown;
            room = more;
        }
        one.name = gi_mem_strdup(e->d_name);
        if (one.name)
            list[(*n)++] = one;
    }
    return list;
}

/* Removes the oldest beyond log_keep. */
static void s_prune(const gi_logfile_t *self) {
    char dir[PATH_MAX];
    size_t n, keep = (size_t)self->settings->log_keep;
    strcpy(dir, self->path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = 0;
    DIR *d = opendir(!slash ? "." : *dir ? dir : "/");
    if (!d)
        return;
    s_aside_t *list = s_list(d, slash ? slash + 1 : self->path, &n);
    if (n)
        qsort(list, n, sizeof *list, s_older);
    for (size_t i = 0; i < n; i++) {
        if (i + keep < n)
            unlinkat(dirfd(d), list[i].name, 0);
        gi_mem_free(list[i].name);
    }
    gi_mem_free(list);
    closedir(d);
}

/* As rename(), but never over another file. */
static bool s_move(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    if (link(from, to) < 0) /* a file system that cannot do that */
        return false;
    return unlink(from) == 0;
}

static bool s_move_aside(const gi_logfile_t *self) {
    char to[PATH_MAX + 32];
    struct tm tm;
    time_t day = (time_t)self->day * S_DAY_S;
    gmtime_r(&day, &tm);
    int n = snprintf(to, sizeof to, "%s.%04d-%02d-%02d", self->path,
                     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday);
    bool done = s_move(self->path, to);
    for (int i = 2; !done && errno == EEXIST && i < S_SAME_DAY; i++) {
        snprintf(to + n, sizeof to - (size_t)n, ".%d", i);
        done = s_move(self->path, to);
    }
    return done;
}

static bool s_lock(int fd) {
    for (int i = 0; i < S_LOCK_TRIES; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        if (errno != EWOULDBLOCK)
            return true; /* no locks there: what is left is NOREPLACE */
        nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
    }
    return false;
}

/* For a line of another day than those in the file. */
static void s_rotate(gi_logfile_t *self, int64_t wall_us) {
    if (s_is_there(self)) {
        if (!s_lock(self->fd)) {
            self->rotate_us = wall_us + S_RETRY_US;
            return;
        }
        bool moved = s_is_there(self) && s_move_aside(self);
        flock(self->fd, LOCK_UN);
        if (moved)
            s_prune(self);
    }
    s_reopen(self);
    self->day = s_local_day((time_t)(wall_us / 1000000));
}

/* Two processes may live in different time zones; a clock that was set right
 * goes back by more. */
static bool s_is_due(const gi_logfile_t *self, int64_t wall_us) {
    long day = s_local_day((time_t)(wall_us / 1000000));
    return self->regular && self->fd >= 0 &&
           (day > self->day || day < self->day - 1) &&
           (self->rotate_us == 0 || wall_us >= self->rotate_us);
}

/* ---- lines --------------------------------------------------------------- */
static bool s_put(gi_logfile_t *self, const char *text, size_t size) {
    while (size) {
        ssize_t n = write(self->fd, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        text += n;
        size -= (size_t)n;
        self->torn = size > 0;
    }
    return true;
}

static bool s_line(gi_logfile_t *self, const gi_log_line_t *line) {
    char text[S_LINE_MAX];
    size_t n = gi_log_format(line, false, text, sizeof text);
    if (self->fd < 0)
        return false;
    if (self->torn && !s_put(self, "\n", 1))
        return false;
    return s_put(self, text, n);
}

/* Before the next line: how many have not made it. */
static bool s_tell(gi_logfile_t *self, int64_t wall_us) {
    gi_log_line_t line = {
        .wall_us = wall_us, .level = GATE_WARN, .part = "log"};
    if (self->n_lost == 0)
        return true;
    snprintf(line.text, sizeof line.text, "%llu lines were lost: %s",
             (unsigned long long)self->n_lost, strerror(self->why_lost));
    if (!s_line(self, &line))
        return false;
    self->n_lost = 0;
    self->why_lost = 0;
    return true;
}

bool gi_logfile_write(gi_logfile_t *self, const gi_log_line_t *line) {
    if (!*self->path)
        return true;
    if (s_is_due(self, line->wall_us))
        s_rotate(self, line->wall_us);
    if (s_tell(self, line->wall_us) && s_line(self, line))
        return true;
    if (self->fd >= 0 && !self->why_lost)
        self->why_lost = errno;
    self->n_lost++;
    gi_logring_lose();
    return self->n_lost > 1;
}

void gi_logfile_close(gi_logfile_t *self) {
    if (self->fd < 0)
        return;
    (void)s_tell(self, (int64_t)time(NULL) * 1000000);
    close(self->fd);
    self->fd = -1;
}
