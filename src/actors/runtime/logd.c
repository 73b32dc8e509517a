/* SPDX-License-Identifier: BSD-3-Clause */
/* logd.c -- writing is slow and may block (a full pipe, a slow disk): only this
 * thread does it. */
#include "runtime/logd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <gaterpc/log.h>
#include "net/actor.h"
#include "sync/clock.h"
#include "base/err.h"
#include "sync/lock.h"
#include "mail/journal.h"
#include "mail/logring.h"
#include "runtime/logfile.h"
#include "base/mem.h"
#include "settings/settings.h"

#define S_BATCH 256
#define S_LINE_MAX 1200

typedef struct s_logd {
    gi_actor_t *actor;
    gate_settings_t
        *settings; /* a copy: outlives the runtime that brought it */
    bool to_stderr, colour, to_journal;
    bool to_stream; /* stderr is the journal's own: it has the time already */
    gi_logfile_t file;
    int ring_fd;
    int journal_fd; /* -1: nobody there */
    int users;
} s_logd_t;

static gi_lock_t s_lock = {PTHREAD_MUTEX_INITIALIZER};
static s_logd_t *s_one;

/* ---- one line ------------------------------------------------------------ */
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

/* systemd.exec(5), JOURNAL_STREAM: the device and number of what it connected
 * stderr to; not so any more when somebody has redirected it. */
static bool s_is_stream(void) {
    unsigned long long dev, ino;
    struct stat st;
    const char *text = getenv("JOURNAL_STREAM");
    return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 &&
           fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev &&
           st.st_ino == ino;
}

/* sd-daemon(3): "<6>broker: text". */
static void s_stderr(const s_logd_t *self, const gi_log_line_t *line) {
    char text[S_LINE_MAX];
    size_t n;
    if (self->to_stream) {
        int size =
            snprintf(text, sizeof text, "<%d>%s: %s\n",
                     gi_journal_priority(line->level), line->part, line->text);
        n = size > 0 ? (size_t)size : 0;
    } else {
        n = gi_log_format(line, self->colour, text, sizeof text);
    }
    s_write_all(STDERR_FILENO, text, n);
}

/* The journal has fields, and a line once: where stderr is its own, that gets what
 * did not go out. */
static void s_journal(const s_logd_t *self, const gi_log_line_t *line) {
    bool sent =
        self->journal_fd >= 0 && gi_journal_send(self->journal_fd, line);
    if (!sent && self->to_stderr && self->to_stream)
        s_stderr(self, line);
    else if (!sent && !self->to_stderr)
        gi_logring_lose();
}

/* Once for each time that lines are lost. */
static void s_lament(const s_logd_t *self, const gi_log_line_t *about) {
    gi_log_line_t line = {
        .wall_us = about->wall_us, .level = GATE_ERROR, .part = "log"};
    snprintf(line.text, sizeof line.text, "%.700s: %s: lines are lost",
             self->file.path, strerror(self->file.why_lost));
    s_stderr(self, &line);
}

/* ---- the last ones ------------------------------------------------------- */
static gi_lock_t s_kept_lock = {PTHREAD_MUTEX_INITIALIZER};
static gi_logd_kept_t s_kept[GI_LOGD_KEPT];
static size_t s_n_kept;

static void s_keep(const gi_log_line_t *line) {
    gi_lock(&s_kept_lock);
    gi_logd_kept_t *to = &s_kept[s_n_kept++ % GI_LOGD_KEPT];
    to->wall_ms = line->wall_us / 1000;
    to->level = line->level;
    snprintf(to->part, sizeof to->part, "%.31s", line->part);
    snprintf(to->text, sizeof to->text, "%.160s", line->text);
    gi_unlock(&s_kept_lock);
}

size_t gi_logd_recent(gi_logd_kept_t to[GI_LOGD_KEPT]) {
    gi_lock(&s_kept_lock);
    size_t n = s_n_kept < GI_LOGD_KEPT ? s_n_kept : GI_LOGD_KEPT;
    for (size_t i = 0; i < n; i++)
        to[i] = s_kept[(s_n_kept - n + i) % GI_LOGD_KEPT];
    gi_unlock(&s_kept_lock);
    return n;
}

static void s_line(s_logd_t *self, const gi_log_line_t *line) {
    bool fields = self->to_journal || (self->to_stderr && self->to_stream);
    if (fields)
        s_journal(self, line);
    if (self->to_stderr && !self->to_stream)
        s_stderr(self, line);
    if (!gi_logfile_write(&self->file, line) && self->to_stderr)
        s_lament(self, line);
    if (line->level >= GATE_WARN)
        s_keep(line);
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
        if (n == 0)
            gi_logfile_look(&self->file);
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

/* The file's last words are written here: on a thread of the host's SIGXFSZ would
 * end it. */
static void s_stop(void *arg) {
    s_logd_t *self = arg;
    gi_logring_detach();
    while (s_drain(self)) {
    }
    gi_logfile_close(&self->file);
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    (void)arg;
    (void)items;
    (void)n;
    (void)now_ms;
}

static gate_err_t s_reopen(void *arg, const char *unused, gi_buf_t *out) {
    (void)unused, (void)out;
    return gi_logfile_reopen(&((s_logd_t *)arg)->file);
}

static const gi_command_t s_commands[] = {{"REOPEN", s_reopen}, {NULL, NULL}};
static const gi_actor_ops_t s_ops = {.name = "gate-log",
                                     .commands = s_commands,
                                     .start = s_start,
                                     .stop = s_stop,
                                     .mail = s_mail,
                                     .work = s_work,
                                     .next = s_next,
                                     .fds = s_fds};

/* ---- life ---------------------------------------------------------------- */
static gate_level_t s_level(const char *name) {
    for (int i = GATE_DEBUG; i <= GATE_SILENT; i++)
        if (strcasecmp(gate_level_name((gate_level_t)i), name) == 0)
            return (gate_level_t)i;
    return GATE_INFO;
}

static void s_levels(const gate_settings_t *settings) {
    gate_level_t level = s_level(settings->log_level);
    gi_log_levels(settings->debug && level > GATE_DEBUG &&
                          strcmp(settings->log_level, "info") == 0
                      ? GATE_DEBUG
                      : level,
                  settings->log_levels);
}

static void s_free(s_logd_t *self) {
    gi_logfile_close(&self->file);
    if (self->journal_fd >= 0)
        close(self->journal_fd);
    gate_settings_destroy(&self->settings);
    gi_mem_free(self);
}

static gate_err_t s_begin(const gate_settings_t *settings) {
    s_logd_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self || !(self->settings = gate_settings_dup(settings))) {
        gi_mem_free(self);
        return gi_err(GATE_NOMEM, "no memory for the log");
    }
    s_levels(settings);
    self->to_stderr = settings->log_stderr;
    self->colour = isatty(STDERR_FILENO);
    self->to_journal = settings->log_journal;
    self->to_stream = s_is_stream();
    self->journal_fd =
        self->to_journal || self->to_stream ? gi_journal_open() : -1;
    gate_err_t e = gi_logfile_open(&self->file, self->settings);
    if (!e)
        e = gi_actor_new(&s_ops, self, 64, &self->actor);
    if (e)
        s_free(self);
    else
        s_one = self;
    return e;
}

/* A process has one ZeroMQ context: what later runtimes want of it is not done,
 * and that is said. */
static void s_note_context(const gate_settings_t *settings) {
    static gi_lock_t lock = {PTHREAD_MUTEX_INITIALIZER};
    static char first[1024];
    static bool made;
    gi_lock(&lock);
    const char *wanted = settings->zmq_context;
    bool differs = made && *wanted && strcmp(first, wanted) != 0;
    if (!made)
        snprintf(first, sizeof first, "%s", wanted);
    made = true;
    gi_unlock(&lock);
    if (differs)
        gate_log(GATE_WARN, "settings",
                 "zmq_context: the ZeroMQ context is this process's, and was "
                 "made with \"%.100s\"",
                 first);
}

/* A process has one log: what a later runtime wants of it is not done, and that
 * is said. */
static void s_differ(const gate_settings_t *settings, char *out, size_t room) {
    static const char *const names[] = {
        "debug",    "log_level",  "log_levels",  "log_path", "log_file",
        "log_keep", "log_stderr", "log_journal", NULL};
    gi_settings_differ(settings, s_one->settings, names, out, room);
}

gate_err_t gi_logd_share(const gate_settings_t *settings) {
    char other[200] = "";
    gi_lock(&s_lock);
    if (s_one)
        s_differ(settings, other, sizeof other);
    gate_err_t e = s_one ? GATE_OK : s_begin(settings);
    if (!e)
        s_one->users++;
    gi_unlock(&s_lock);
    if (!e && *other)
        gate_log(GATE_WARN, "log",
                 "%s: the log is this process's, and those of the runtime that "
                 "began it hold",
                 other);
    if (!e)
        s_note_context(settings);
    return e;
}

void gi_logd_levels(const gate_settings_t *settings) {
    gi_lock(&s_lock);
    if (!s_one)
        s_levels(settings);
    gi_unlock(&s_lock);
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

gate_err_t gi_logd_again(const gate_settings_t *settings) {
    gate_err_t e = GATE_OK;
    gi_lock(&s_lock);
    s_levels(settings);
    if (s_one)
        e = gi_actor_command(s_one->actor, "REOPEN", NULL, NULL);
    gi_unlock(&s_lock);
    return e;
}

void gi_logd_taken(const gate_settings_t *in_force,
                   const gate_settings_t *fresh) {
    static const char *const taken[] = {"access", "debug", "log_level",
                                        "log_levels", NULL};
    char changed[400];
    gi_settings_changed(in_force, fresh, taken, changed, sizeof changed);
    gate_log(GATE_INFO, "runtime", "settings, rules and log are read anew");
    if (*changed)
        gate_log(GATE_WARN, "runtime",
                 "changed, and only taken by a restart: %s", changed);
}
