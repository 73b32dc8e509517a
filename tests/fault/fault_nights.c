/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_nights.c -- two to four processes write one log file through two weeks
 * of nights, those of summer and winter time among them, while it is moved, cut
 * and refused room by others: each line stands in one file or was counted as
 * lost, and nobody else's file is touched. GATE_LONG: ten weeks each. argv[2] is
 * the clock that is preloaded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gaterpc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "child.h"
#include "clock.h"

#define WRITERS 4
#define LINES 100000      /* of a writer, at most */
#define HOURS 6           /* of a night, from 22:00 UTC on */
#define SPRING 1774180800 /* 2026-03-22 12:00 UTC, a week before summer time */
#define AUTUMN 1792324800 /* 2026-10-18 12:00 UTC, a week before its end */
#define ZONE "CET-1CEST,M3.5.0,M10.5.0/3"

/* Behind the clock's offset. */
typedef struct shared {
    int64_t clock_off;
    struct {
        atomic_long wanted, written; /* lines so far; wanted -1: end */
        atomic_long lost;            /* as it counts them */
    } writer[WRITERS];
} shared_t;

/* ---- a writer: this program, started with other words -------------------- */
static int s_writer(shared_t *shared, char **argv) {
    int id = atoi(argv[4]);
    long wanted, n = 0;
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_file", (const char *)argv[5]);
    gate_settings_set(settings, "log_keep", (int)atoi(argv[6]));
    gate_settings_set(settings, "log_stderr", false);
    GATE_OWN(gate_runtime) runtime = gate_runtime_new(settings);
    if (gate_runtime_start(runtime))
        return gate_perror("writer");
    printf("ready writer\n");
    fflush(stdout);
    while ((wanted = atomic_load(&shared->writer[id].wanted)) >= 0) {
        for (; n < wanted; n++)
            gate_log(GATE_WARN, "night", "w%d %06ld end", id, n);
        if (n != atomic_load(&shared->writer[id].written)) {
            if (!gate_log_flush(60000))
                return 1;
            atomic_store(&shared->writer[id].lost, (long)gate_log_dropped());
            atomic_store(&shared->writer[id].written, n);
        }
        child_sleep_ms(1);
    }
    return 0;
}

/* ---- the nights ---------------------------------------------------------- */
typedef struct nights {
    const char *what;
    shared_t *shared;
    child_t children[WRITERS];
    int writers, n;
    int64_t now; /* simulated, UTC */
    char dir[256], log[300];
} nights_t;

static const char *const s_others[] = {"log.key",
                                       "log.cert",
                                       "log.conf.bak",
                                       "log.2026-3-2",
                                       "log.2026-03-01.gz",
                                       "log.2026-03-02.",
                                       "log.2026-13x",
                                       "logs",
                                       "log.",
                                       "old.2026-03-01"};
#define OTHERS (sizeof s_others / sizeof *s_others)

static void s_name(const nights_t *self, const char *name, char to[600]) {
    snprintf(to, 600, "%s/%s", self->dir, name);
}

static void s_set_clock(nights_t *self, int64_t now) {
    int64_t real = time(NULL) - self->shared->clock_off;
    self->now = now;
    self->shared->clock_off = now - real;
}

static void s_want(nights_t *self, long n) {
    for (int i = 0; i < self->writers; i++)
        atomic_fetch_add(&self->shared->writer[i].wanted, n);
}

static bool s_all_written(const nights_t *self) {
    for (int i = 0; i < self->writers; i++)
        if (atomic_load(&self->shared->writer[i].written) !=
            atomic_load(&self->shared->writer[i].wanted))
            return false;
    return true;
}

static void s_await(const nights_t *self) {
    double end = child_now_ms() + 60000 * child_slow();
    while (!s_all_written(self)) {
        if (child_now_ms() > end)
            child_die("%s: the writers do not write", self->what);
        child_sleep_ms(1);
    }
}

static void s_move(const nights_t *self, int n) {
    char to[600], name[32];
    snprintf(name, sizeof name, "moved.%d", n);
    s_name(self, name, to);
    child_check(rename(self->log, to) == 0, "the log can be moved");
}

/* As logrotate does; what is written in between would be its loss. */
static void s_copy_and_cut(const nights_t *self, int n) {
    char to[600], name[32], data[65536];
    ssize_t got;
    snprintf(name, sizeof name, "copied.%d", n);
    s_name(self, name, to);
    int in = open(self->log, O_RDWR),
        out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0644);
    while ((got = read(in, data, sizeof data)) > 0)
        child_check(write(out, data, (size_t)got) == got, "a copy");
    child_check(in >= 0 && out >= 0 && ftruncate(in, 0) == 0, "a cut");
    close(in);
    close(out);
}

/* No file may grow beyond what it has and a bit: as a full disk does, a line is
 * taken in part. */
static void s_fill_disk(const nights_t *self, bool full) {
    struct stat st = {.st_size = 0};
    struct rlimit limit;
    stat(self->log, &st);
    for (int i = 0; i < self->writers; i++) {
        prlimit(self->children[i].pid, RLIMIT_FSIZE, NULL, &limit);
        limit.rlim_cur = full ? (rlim_t)st.st_size + 33 : limit.rlim_max;
        prlimit(self->children[i].pid, RLIMIT_FSIZE, &limit, NULL);
    }
}

static void s_night(nights_t *self, int n) {
    int64_t noon = self->now;
    s_want(self, 3);
    if (n % 3 == 1)
        s_move(self, n); /* while they write */
    s_await(self);
    if (n % 3 == 2)
        s_copy_and_cut(self, n);
    for (int h = 0; h < HOURS; h++) {
        s_set_clock(self, noon + (10 + h) * 3600 - 2);
        s_want(self, 4);
        s_await(self);
        s_want(self, 8); /* some before, some after the hour */
        s_set_clock(self, noon + (10 + h) * 3600 + 1);
        s_await(self);
        if (n % 5 == 4 && h < 2) {
            s_fill_disk(self, h == 0);
            s_want(self, 2);
            s_await(self);
        }
    }
    s_set_clock(self, noon + 86400);
}

/* ---- the account --------------------------------------------------------- */
typedef struct account {
    unsigned char seen[WRITERS][LINES];
    long found, twice, told;
    int asides;
} account_t;

static void s_read_line(account_t *self, const char *line) {
    const char *at = strstr(line, "night: w");
    char end[8];
    int id;
    long n;
    unsigned long told;
    const char *lost = strstr(line, "log: ");
    if (lost && sscanf(lost, "log: %lu lines were lost", &told) == 1)
        self->told += (long)told;
    if (!at || sscanf(at, "night: w%d %6ld %3s", &id, &n, end) != 3 ||
        strcmp(end, "end") != 0 || id >= WRITERS || n >= LINES)
        return;
    self->found++;
    self->twice += self->seen[id][n]++ > 0;
}

static bool s_is_aside(const char *name) {
    int year, month, day, n = 0, m = 0, more;
    return sscanf(name, "log.%4d-%2d-%2d%n", &year, &month, &day, &n) == 3 &&
           n == 14 &&
           (!name[n] ||
            (sscanf(name + n, ".%d%n", &more, &m) == 1 && !name[n + m]));
}

static bool s_is_other(const char *name) {
    for (size_t i = 0; i < OTHERS; i++)
        if (strcmp(name, s_others[i]) == 0)
            return true;
    return false;
}

static void s_read(const nights_t *self, account_t *account) {
    char path[600], line[2048];
    DIR *dir = opendir(self->dir);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] == '.' || s_is_other(e->d_name))
            continue;
        account->asides += s_is_aside(e->d_name);
        s_name(self, e->d_name, path);
        FILE *f = fopen(path, "r");
        while (f && fgets(line, sizeof line, f))
            s_read_line(account, line);
        if (f)
            fclose(f);
    }
    if (dir)
        closedir(dir);
}

static void s_make_others(const nights_t *self) {
    char path[600];
    for (size_t i = 0; i < OTHERS; i++) {
        s_name(self, s_others[i], path);
        FILE *f = fopen(path, "w");
        fprintf(f, "%s is somebody's", s_others[i]);
        fclose(f);
    }
}

static void s_check_others(const nights_t *self) {
    char path[600], have[64], want[64];
    for (size_t i = 0; i < OTHERS; i++) {
        s_name(self, s_others[i], path);
        FILE *f = fopen(path, "r");
        size_t n = f ? fread(have, 1, sizeof have - 1, f) : 0;
        have[n] = 0;
        if (f)
            fclose(f);
        snprintf(want, sizeof want, "%s is somebody's", s_others[i]);
        if (strcmp(have, want) != 0)
            child_fail("%s: %s was touched: '%s'", self->what, s_others[i],
                       have);
    }
}

static void s_check(const nights_t *self, int keep) {
    account_t *account = calloc(1, sizeof *account);
    long written = 0, lost = 0;
    s_read(self, account);
    for (int i = 0; i < self->writers; i++) {
        written += atomic_load(&self->shared->writer[i].written);
        lost += atomic_load(&self->shared->writer[i].lost);
    }
    printf("%s: %d writers, %d nights: %ld lines, %ld found, %ld counted as "
           "lost, %ld told, %ld twice, %d put aside\n",
           self->what, self->writers, self->n, written, account->found, lost,
           account->told, account->twice, account->asides);
    child_check(account->twice == 0, "no line twice");
    if (keep < self->n) {
        child_check(account->asides == keep, "as many as log_keep says");
    } else {
        child_check(account->found + lost == written, "no line lost uncounted");
        child_check(account->told == lost, "what was lost is told in the file");
        child_check(lost > 0 || self->n < 5, "the disk was full");
        child_check(account->asides >= self->n - 1, "a file a night");
    }
    s_check_others(self);
    free(account);
}

/* ---- one of them --------------------------------------------------------- */
static void s_start(nights_t *self, char **argv, int keep) {
    char id[16], keeps[16];
    snprintf(keeps, sizeof keeps, "%d", keep);
    for (int i = 0; i < self->writers; i++) {
        snprintf(id, sizeof id, "%d", i);
        const char *args[] = {argv[1],   argv[2], "writer", id,
                              self->log, keeps,   NULL};
        atomic_store(&self->shared->writer[i].wanted, 0);
        atomic_store(&self->shared->writer[i].written, 0);
        atomic_store(&self->shared->writer[i].lost, 0);
        child_run(&self->children[i], NULL, args);
    }
}

static void s_end(nights_t *self) {
    for (int i = 0; i < self->writers; i++) {
        atomic_store(&self->shared->writer[i].wanted, -1);
        child_check(
            child_wait(&self->children[i], (int)(60000 * child_slow())) == 0,
            "a writer ends");
    }
}

static void s_nights(shared_t *shared, char **argv, const char *what,
                     int64_t from, int writers, int n, int keep) {
    nights_t self = {
        .what = what, .shared = shared, .writers = writers, .n = n};
    child_path(what, self.dir, sizeof self.dir);
    mkdir(self.dir, 0700);
    snprintf(self.log, sizeof self.log, "%s/log", self.dir);
    s_make_others(&self);
    s_set_clock(&self, from);
    s_start(&self, argv, keep);
    for (int i = 0; i < n; i++)
        s_night(&self, i);
    s_want(&self, 1); /* what was lost last is told before it */
    s_await(&self);
    s_check(&self, keep);
    s_end(&self);
}

int main(int argc, char **argv) {
    shared_t *shared = (shared_t *)(void *)clock_begin(argc, argv);
    setenv("TZ", ZONE, 1);
    tzset();
    if (argc > 6 && strcmp(argv[3], "writer") == 0)
        return s_writer(shared, argv);
    child_init(argc, argv);
    int n = child_long() ? 70 : 14;
    s_nights(shared, argv, "spring", SPRING, 4, n, 10000);
    s_nights(shared, argv, "autumn", AUTUMN, 2, n, 10000);
    s_nights(shared, argv, "kept", SPRING, 3, 6, 2);
    return child_result();
}
