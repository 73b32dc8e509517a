/* SPDX-License-Identifier: BSD-3-Clause */
/* logd.c -- writing is slow and may block (a full pipe, a slow disk): only this
 * thread does it. */
#include "runtime/logd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syslog.h>
#include <time.h>
#include <unistd.h>
#ifdef GI_HAVE_JOURNAL
#include <systemd/sd-journal.h>
#endif
#include "net/actor.h"
#include "sync/clock.h"
#include "base/err.h"
#include "sync/lock.h"
#include "mail/logring.h"
#include "base/mem.h"
#include "settings/settings.h"

#define S_BATCH 256
#define S_LINE_MAX 1200

typedef struct s_logd {
    gi_actor_t *actor;
    gate_settings_t
        *settings; /* a copy: outlives the runtime that brought it */
    bool to_stderr, colour, to_journal;
    char path[1024]; /* of the log file; "" = none */
    int fd;          /* -1 = none */
    long day;        /* local days since the epoch, of the open file */
    int ring_fd;
    int users;
} s_logd_t;

static gi_lock_t s_lock = {PTHREAD_MUTEX_INITIALIZER};
static s_logd_t *s_one;

/* ---- the file ------------------------------------------------------------ */
static long s_local_day(time_t now) {
    struct tm tm;
    localtime_r(&now, &tm);
    return (long)((now + tm.tm_gmtoff) / 86400);
}

static void s_mkdirs(const char *path) {
    char part[1024];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        mkdir(part, 0755);
        *p = '/';
    }
}

static void s_open_file(s_logd_t *self) {
    struct stat st;
    time_t now = time(NULL);
    s_mkdirs(self->path);
    /* what an earlier day left behind is rotated by the first line */
    bool there = stat(self->path, &st) == 0 && st.st_size > 0;
    self->day = s_local_day(there ? st.st_mtime : now);
    self->fd =
        open(self->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

static int s_by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Removes the oldest rotated files beyond log_keep. */
static void s_prune(s_logd_t *self) {
    char dir[1024], *names[1024];
    size_t n = 0;
    snprintf(dir, sizeof dir, "%s", self->path);
    char *slash = strrchr(dir, '/');
    const char *base = slash ? slash + 1 : dir;
    size_t base_len = strlen(base);
    if (slash)
        *slash = 0;
    DIR *d = opendir(slash ? dir : ".");
    if (!d)
        return;
    for (struct dirent *e; n < 1024 && (e = readdir(d));)
        if (strncmp(e->d_name, base, base_len) == 0 &&
            e->d_name[base_len] == '.' && (names[n] = gi_mem_strdup(e->d_name)))
            n++;
    closedir(d);
    qsort(names, n, sizeof *names, s_by_name);
    size_t keep = (size_t)self->settings->log_keep;
    for (size_t i = 0; i < n; i++) {
        char path[2100];
        snprintf(path, sizeof path, "%s/%s", slash ? dir : ".", names[i]);
        if (i + keep < n)
            unlink(path);
        gi_mem_free(names[i]);
    }
}

/* file -> file.YYYY-MM-DD, the day it was written on. */
static void s_rotate(s_logd_t *self) {
    char to[1100];
    struct tm tm;
    time_t day = self->day * 86400;
    gmtime_r(&day, &tm);
    snprintf(to, sizeof to, "%s.%04d-%02d-%02d", self->path, tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday);
    close(self->fd);
    rename(self->path, to);
    s_prune(self);
    s_open_file(self);
}

static void s_write_all(int fd, const char *text, size_t size) {
    while (size) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody to tell */
        text += n;
        size -= (size_t)n;
    }
}

/* ---- one line ------------------------------------------------------------ */
static void s_journal(const gi_log_line_t *line) {
#ifdef GI_HAVE_JOURNAL
    static const int priority[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR,
                                   LOG_ERR};
    sd_journal_send("MESSAGE=%s: %s", line->part, line->text, "PRIORITY=%d",
                    priority[line->level], "SYSLOG_IDENTIFIER=gaterpc",
                    "GATE_PART=%s", line->part, NULL);
#else
    (void)line;
#endif
}

static void s_line(s_logd_t *self, const gi_log_line_t *line) {
    char text[S_LINE_MAX];
    if (self->to_stderr) {
        size_t n = gi_log_format(line, self->colour, text, sizeof text);
        s_write_all(STDERR_FILENO, text, n);
    }
    if (self->fd >= 0) {
        if (s_local_day((time_t)(line->wall_us / 1000000)) > self->day)
            s_rotate(self);
        size_t n = gi_log_format(line, false, text, sizeof text);
        s_write_all(self->fd, text, n);
    }
    if (self->to_journal)
        s_journal(line);
    gi_log_call_sink(line);
}

/* ---- the actor ----------------------------------------------------------- */
static gate_err_t s_start(void *arg) {
    s_logd_t *self = arg;
    return gi_logring_attach(&self->ring_fd);
}

static bool s_drain(s_logd_t *self) {
    gi_log_line_t line;
    int n = 0;
    while (n < S_BATCH && gi_logring_pop(&line)) {
        s_line(self, &line);
        n++;
    }
    if (n)
        gi_logring_written();
    return n > 0;
}

static bool s_work(void *arg, int64_t now_ms) {
    (void)now_ms;
    gi_logring_wake();
    return s_drain(arg);
}

static int64_t s_next(void *arg, int64_t now_ms) {
    (void)arg;
    return gi_logring_sleep() ? INT64_MAX : now_ms;
}

static void s_fds(void *arg, gi_polled_t *polled) {
    gi_polled_add(polled, ((s_logd_t *)arg)->ring_fd, NULL);
}

static void s_stop(void *arg) {
    gi_logring_detach();
    while (s_drain(arg)) {
    }
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    (void)arg;
    (void)items;
    (void)n;
    (void)now_ms;
}

static const gi_command_t s_commands[] = {{NULL, NULL}};
static const gi_actor_ops_t s_ops = {"gate-log", s_commands, s_start, s_stop,
                                     s_mail,     s_work,     s_next,  s_fds};

/* ---- life ---------------------------------------------------------------- */
static gate_level_t s_level(const char *name) {
    for (int i = GATE_DEBUG; i <= GATE_SILENT; i++)
        if (strcasecmp(gate_level_name((gate_level_t)i), name) == 0)
            return (gate_level_t)i;
    return GATE_INFO;
}

static void s_file_path(s_logd_t *self) {
    const gate_settings_t *s = self->settings;
    if (!s->log_file || !*s->log_file)
        return;
    if (strchr(s->log_file, '/'))
        snprintf(self->path, sizeof self->path, "%s", s->log_file);
    else if (s->log_path)
        snprintf(self->path, sizeof self->path, "%s/%s", s->log_path,
                 s->log_file);
    else
        snprintf(self->path, sizeof self->path, "%s/log/%s", s->base_path,
                 s->log_file);
}

static void s_free(s_logd_t *self) {
    if (self->fd >= 0)
        close(self->fd);
    gate_settings_destroy(&self->settings);
    gi_mem_free(self);
}

static gate_err_t s_begin(const gate_settings_t *settings) {
    s_logd_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self || !(self->settings = gate_settings_dup(settings))) {
        gi_mem_free(self);
        return gi_err(GATE_NOMEM, "no memory for the log");
    }
    gate_level_t level = s_level(settings->log_level);
    gi_log_levels(settings->debug && level > GATE_DEBUG &&
                          strcmp(settings->log_level, "info") == 0
                      ? GATE_DEBUG
                      : level,
                  settings->log_levels);
    self->fd = -1;
    self->to_stderr = settings->log_stderr;
    self->colour = isatty(STDERR_FILENO);
    self->to_journal = settings->log_journal;
    s_file_path(self);
    gate_err_t e = GATE_OK;
    if (*self->path) {
        s_open_file(self);
        if (self->fd < 0)
            e = gi_err_errno("log file %s", self->path);
    }
    if (!e)
        e = gi_actor_new(&s_ops, self, 64, &self->actor);
    if (e)
        s_free(self);
    else
        s_one = self;
    return e;
}

gate_err_t gi_logd_share(const gate_settings_t *settings) {
    gi_lock(&s_lock);
    gate_err_t e = s_one ? GATE_OK : s_begin(settings);
    if (!e)
        s_one->users++;
    gi_unlock(&s_lock);
    return e;
}

void gi_logd_release(void) {
    gi_lock(&s_lock);
    if (s_one && --s_one->users == 0) {
        gi_actor_destroy(&s_one->actor);
        s_free(s_one);
        s_one = NULL;
    }
    gi_unlock(&s_lock);
}
