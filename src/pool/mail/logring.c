/* SPDX-License-Identifier: BSD-3-Clause */
/* logring.c -- a Vyukov ring of whole lines: a producer claims a cell, writes
 * the line into it and publishes it; nothing is allocated and nobody waits. The
 * ring is one static object of the process: no producer can outlive it, so a
 * doorbell will do. Its memory is touched only when used.
 *
 * Memory orders are the mailbox's: cell.seq release and acquire carry the line,
 * the doorbell sees to the sleeping consumer. */
#include "mail/logring.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mail/doorbell.h"
#include "base/err.h"
#include "sync/wait.h"

#define S_CELLS 4096u /* a power of two; 4 MiB when all were used */
#define S_RULES 32
#define S_NAME 104 /* of a speaker, with its end; what is longer is cut */

typedef struct s_cell {
    _Atomic uint64_t seq; /* minus its index: zeroed memory is a free ring */
    gi_log_line_t line;
} s_cell_t;

static struct {
    s_cell_t cells[S_CELLS];
    _Atomic uint64_t tail; /* lines claimed */
    uint64_t head;         /* consumer: lines popped */
    gi_doorbell_t bell;
    bool bell_made;
    atomic_bool attached;
    _Atomic uint64_t dropped;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t out;    /* written moved, or it was detached */
    uint64_t written;      /* lines popped and written */
} s_ring = {.mutex = PTHREAD_MUTEX_INITIALIZER,
            .out = PTHREAD_COND_INITIALIZER};

/* ---- levels -------------------------------------------------------------- */
/* Rules are replaced as a whole under a mutex and read under it; the lowest
 * level of all is what the fast path asks first. */
static struct {
    pthread_mutex_t mutex;
    atomic_int lowest;
    gate_level_t general;
    size_t n;
    struct {
        char part[64];
        gate_level_t level;
    } rules[S_RULES];
} s_levels = {.mutex = PTHREAD_MUTEX_INITIALIZER,
              .lowest = GATE_INFO,
              .general = GATE_INFO};

static const char *const s_names[] = {"debug", "info", "warn", "error",
                                      "silent"};

const char *gate_level_name(gate_level_t level) {
    return (unsigned)level <= GATE_SILENT ? s_names[level] : "unknown";
}

static bool s_level_of(const char *name, size_t size, gate_level_t *level) {
    unsigned i;

    for (i = 0; i <= GATE_SILENT; i++) {
        if (strlen(s_names[i]) == size && !memcmp(s_names[i], name, size)) {
            *level = (gate_level_t)i;
            return true;
        }
    }
    return false;
}

/* One "part=level"; what is not one is passed over (settings check them). */
static void s_add_rule(const char *rule, size_t size) {
    const char *equals = memchr(rule, '=', size);
    size_t part = equals ? (size_t)(equals - rule) : 0;
    gate_level_t level;

    if (!part || part >= sizeof s_levels.rules->part || s_levels.n == S_RULES ||
        !s_level_of(equals + 1, size - part - 1, &level))
        return;
    memcpy(s_levels.rules[s_levels.n].part, rule, part);
    s_levels.rules[s_levels.n].part[part] = '\0';
    s_levels.rules[s_levels.n++].level = level;
    if ((int)level < atomic_load(&s_levels.lowest))
        atomic_store(&s_levels.lowest, (int)level);
}

void gi_log_levels(gate_level_t general, const char *rules) {
    const char *at = rules ? rules : "";

    pthread_mutex_lock(&s_levels.mutex);
    s_levels.general = general;
    s_levels.n = 0;
    atomic_store(&s_levels.lowest, (int)general);
    while (*at) {
        size_t size;

        at += strspn(at, ", \t");
        size = strcspn(at, ", \t");
        s_add_rule(at, size);
        at += size;
    }
    pthread_mutex_unlock(&s_levels.mutex);
}

/* How much of a part a rule is; 0: another one's. */
static size_t s_match(const char *rule, const char *part) {
    size_t size = strlen(rule);

    return !strncmp(rule, part, size) && (!part[size] || part[size] == '.')
               ? size
               : 0;
}

bool gi_log_enabled(gate_level_t level, const char *part) {
    gate_level_t needed;
    size_t i, best = 0;

    if ((int)level <
            atomic_load_explicit(&s_levels.lowest, memory_order_relaxed) ||
        level >= GATE_SILENT)
        return false;
    pthread_mutex_lock(&s_levels.mutex);
    needed = s_levels.general;
    for (i = 0; i < s_levels.n; i++) {
        size_t size = s_match(s_levels.rules[i].part, part);
        if (size && size >= best) {
            needed = s_levels.rules[i].level;
            best = size;
        }
    }
    pthread_mutex_unlock(&s_levels.mutex);
    return level >= needed;
}

/* ---- a line -------------------------------------------------------------- */
static void s_cut(char *to, size_t room, const char *from) {
    size_t size = strnlen(from, room - 1);

    memcpy(to, from, size);
    to[size] = '\0';
}

/* Who speaks, and of what. */
typedef struct s_about {
    gate_level_t level;
    const char *part, *method;
} s_about_t;

static void s_fill(gi_log_line_t *line, const s_about_t *about, const char *fmt,
                   va_list args) GATE_PRINTF(3, 0);
static void s_fill(gi_log_line_t *line, const s_about_t *about, const char *fmt,
                   va_list args) {
    struct timespec now;
    char *at;

    clock_gettime(CLOCK_REALTIME, &now);
    line->wall_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    line->level = about->level;
    line->thread = (uint64_t)syscall(SYS_gettid);
    s_cut(line->part, sizeof line->part, about->part);
    s_cut(line->method, sizeof line->method, about->method);
    if (vsnprintf(line->text, sizeof line->text, fmt, args) < 0)
        line->text[0] = '\0';
    for (at = line->text; *at; at++) /* one line, whatever a peer sent */
        if ((unsigned char)*at < ' ' && *at != '\t')
            *at = ' ';
}

static const char *const s_words[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

size_t gi_log_format(const gi_log_line_t *line, bool colour, char *out,
                     size_t room) {
    static const char *const paint[] = {"\033[2m", "", "\033[33m", "\033[31m"};
    size_t level =
        (unsigned)line->level < GATE_SILENT ? line->level : GATE_INFO;
    time_t seconds = (time_t)(line->wall_us / 1000000);
    bool painted = colour && *paint[level];
    char when[32] = "";
    struct tm tm;
    int n;

    if (localtime_r(&seconds, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &tm);
    n = snprintf(out, room, "%s%s.%03d %s %s: %s%s\n",
                 painted ? paint[level] : "", when,
                 (int)(line->wall_us / 1000 % 1000), s_words[level], line->part,
                 line->text, painted ? "\033[0m" : "");
    if (n < 0)
        return 0;
    if ((size_t)n < room)
        return (size_t)n;
    if (room > 1) /* cut, but still a line */
        out[room - 2] = '\n';
    return room ? room - 1 : 0;
}

/* ---- the user's sink ----------------------------------------------------- */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t idle; /* the sink has returned */
    gate_log_fn *fn;
    void *ctx;
    bool running;
    pthread_t runner; /* valid while running */
} s_sink = {.mutex = PTHREAD_MUTEX_INITIALIZER,
            .idle = PTHREAD_COND_INITIALIZER};

void gate_log_sink(gate_log_fn *fn, void *ctx) {
    pthread_mutex_lock(&s_sink.mutex);
    s_sink.fn = fn;
    s_sink.ctx = ctx;
    /* The old one's ctx may be freed after this; from within the sink itself
     * there is nothing to wait for. */
    while (s_sink.running && !pthread_equal(s_sink.runner, pthread_self()))
        pthread_cond_wait(&s_sink.idle, &s_sink.mutex);
    pthread_mutex_unlock(&s_sink.mutex);
}

void gi_log_call_sink(const gi_log_line_t *line) {
    gate_log_fn *fn;
    void *ctx;

    pthread_mutex_lock(&s_sink.mutex);
    fn = s_sink.fn;
    ctx = s_sink.ctx;
    s_sink.running = fn;
    s_sink.runner = pthread_self();
    pthread_mutex_unlock(&s_sink.mutex);
    if (!fn)
        return;
    fn(ctx, line->level, line->part, line->text);
    pthread_mutex_lock(&s_sink.mutex);
    s_sink.running = false;
    pthread_cond_broadcast(&s_sink.idle);
    pthread_mutex_unlock(&s_sink.mutex);
}

/* A child of fork() has no consumer: what it says goes to stderr, as before
 * there was one; and the locks are free that other threads held. */
static void s_fresh(void) {
    pthread_mutex_init(&s_ring.mutex, NULL);
    pthread_mutex_init(&s_levels.mutex, NULL);
    pthread_mutex_init(&s_sink.mutex, NULL);
    pthread_cond_init(&s_sink.idle, NULL);
    s_sink.running = false;
    s_ring.bell_made = false;
    atomic_store(&s_ring.attached, false);
}

__attribute__((constructor)) static void s_watch_forks(void) {
    (void)pthread_atfork(NULL, NULL, s_fresh);
}

/* ---- what another process formatted --------------------------------------- */
bool gi_logring_parse(char *line, gate_level_t *level, const char **text) {
    static const char form[] = "dddd-dd-dd dd:dd:dd.ddd ";
    size_t i;

    for (i = 0; form[i]; i++)
        if (form[i] == 'd' ? line[i] < '0' || line[i] > '9'
                           : line[i] != form[i])
            return false;
    for (unsigned l = 0; l < GATE_SILENT; l++)
        if (!strncmp(line + i, s_words[l], 5) && line[i + 5] == ' ') {
            *level = (gate_level_t)l;
            *text = line + i + 6;
            return true;
        }
    return false;
}

/* ---- producers ----------------------------------------------------------- */
/* A copy, by words that any thread may read: a thread that a job has left behind
 * speaks at any time, at worst by a name made of two. */
static _Atomic(uint64_t) s_speaker[S_NAME / 8];

void gi_logring_speak_for(const char *whom) {
    size_t size = whom ? strnlen(whom, S_NAME - 1) : 0;
    size_t n_words = size / 8 + 1;

    for (size_t i = 0; i < n_words; i++) {
        uint64_t word = 0;
        if (i * 8 < size)
            memcpy(&word, whom + i * 8, size - i * 8 < 8 ? size - i * 8 : 8);
        atomic_store_explicit(&s_speaker[i], word, memory_order_relaxed);
    }
}

/* Returns its length. */
static size_t s_read_speaker(char name[static S_NAME]) {
    for (size_t i = 0; i < S_NAME / 8; i++) {
        uint64_t word =
            atomic_load_explicit(&s_speaker[i], memory_order_relaxed);
        memcpy(name + i * 8, &word, 8);
    }
    return strnlen(name, S_NAME - 1);
}

static void s_write_stderr(const gi_log_line_t *line) {
    char text[1200];
    size_t size = gi_log_format(line, false, text, sizeof text);

    while (write(STDERR_FILENO, text, size) < 0 && errno == EINTR)
        ;
}

/* A worker's job by its name; what does not fit behind it is cut. */
static void s_name_speaker(gi_log_line_t *line) {
    char speaker[S_NAME];
    size_t name = s_read_speaker(speaker);
    size_t size = strlen(line->text);

    if (!name)
        return;
    if (size > sizeof line->text - name - 3)
        size = sizeof line->text - name - 3;
    memmove(line->text + name + 2, line->text, size);
    memcpy(line->text, speaker, name);
    memcpy(line->text + name, ": ", 2);
    line->text[name + 2 + size] = '\0';
}

bool gi_logring_room(unsigned n) {
    uint64_t last =
        atomic_load_explicit(&s_ring.tail, memory_order_relaxed) + n - 1;
    uint64_t index = last % S_CELLS;
    uint64_t seq =
        atomic_load_explicit(&s_ring.cells[index].seq, memory_order_acquire);

    return !atomic_load(&s_ring.attached) || (int64_t)(seq + index - last) >= 0;
}

/* A cell of one's own and its position; NULL: the ring is full. */
static s_cell_t *s_claim(uint64_t *pos) {
    *pos = atomic_load_explicit(&s_ring.tail, memory_order_relaxed);
    for (;;) {
        uint64_t index = *pos % S_CELLS;
        s_cell_t *cell = &s_ring.cells[index];
        int64_t ahead =
            (int64_t)(atomic_load_explicit(&cell->seq, memory_order_acquire) +
                      index - *pos);

        if (ahead < 0)
            return NULL;
        if (ahead > 0)
            *pos = atomic_load_explicit(&s_ring.tail, memory_order_relaxed);
        else if (atomic_compare_exchange_weak_explicit(
                     &s_ring.tail, pos, *pos + 1, memory_order_relaxed,
                     memory_order_relaxed))
            return cell;
    }
}

static void s_log(const s_about_t *about, const char *fmt, va_list args)
    GATE_PRINTF(2, 0);
static void s_log(const s_about_t *about, const char *fmt, va_list args) {
    gi_log_line_t line;
    s_cell_t *cell;
    uint64_t pos;

    if (!gi_log_enabled(about->level, about->part))
        return;
    if (!atomic_load_explicit(&s_ring.attached, memory_order_acquire)) {
        s_fill(&line, about, fmt, args);
        s_name_speaker(&line);
        s_write_stderr(&line);
    } else if (!(cell = s_claim(&pos))) {
        atomic_fetch_add_explicit(&s_ring.dropped, 1, memory_order_relaxed);
    } else {
        s_fill(&cell->line, about, fmt, args);
        atomic_store_explicit(&cell->seq, pos + 1 - pos % S_CELLS,
                              memory_order_release);
        gi_doorbell_ring(&s_ring.bell);
    }
}

void gate_log(gate_level_t level, const char *part, const char *fmt, ...) {
    s_about_t about = {level, part ? part : "", ""};
    va_list args;

    va_start(args, fmt);
    s_log(&about, fmt, args);
    va_end(args);
}

void gi_logring_about(gate_level_t level, const char *part, const char *whose,
                      const char *method, const char *fmt, ...) {
    char whole[sizeof((gi_log_line_t *)NULL)->part];
    s_about_t about = {level, whole, method ? method : ""};
    va_list args;

    snprintf(whole, sizeof whole, "%s.%s", part, whose);
    va_start(args, fmt);
    s_log(&about, fmt, args);
    va_end(args);
}

void gi_logring_lose(void) {
    atomic_fetch_add_explicit(&s_ring.dropped, 1, memory_order_relaxed);
}

uint64_t gate_log_dropped(void) { return atomic_load(&s_ring.dropped); }

bool gate_log_flush(int64_t timeout_ms) {
    uint64_t until = atomic_load(&s_ring.tail);
    int64_t deadline_ns = gi_wait_deadline(timeout_ms);
    bool in_time = true, done;

    pthread_mutex_lock(&s_ring.mutex);
    while (!(done = s_ring.written >= until) && in_time &&
           atomic_load(&s_ring.attached))
        in_time = gi_wait_cond(&s_ring.out, &s_ring.mutex, deadline_ns);
    pthread_mutex_unlock(&s_ring.mutex);
    return done;
}

/* ---- the consumer -------------------------------------------------------- */
gate_err_t gi_logring_attach(int *fd) {
    gate_err_t e = GATE_OK;

    pthread_mutex_lock(&s_ring.mutex);
    if (atomic_load(&s_ring.attached)) {
        e = GATE_BUSY;
    } else if (!s_ring.bell_made) { /* made once, kept for ever */
        e = gi_doorbell_init(&s_ring.bell);
        gi_wait_cond_init(&s_ring.out);
        s_ring.bell_made = e == GATE_OK;
    }
    if (e == GATE_OK) {
        *fd = s_ring.bell.fd;
        atomic_store(&s_ring.attached, true);
    }
    pthread_mutex_unlock(&s_ring.mutex);
    return e == GATE_BUSY ? gi_err(e, "the log has a consumer already") : e;
}

void gi_logring_detach(void) {
    pthread_mutex_lock(&s_ring.mutex);
    atomic_store(&s_ring.attached, false);
    pthread_cond_broadcast(&s_ring.out);
    pthread_mutex_unlock(&s_ring.mutex);
}

static s_cell_t *s_first(void) {
    s_cell_t *cell = &s_ring.cells[s_ring.head % S_CELLS];

    return atomic_load_explicit(&cell->seq, memory_order_acquire) ==
                   s_ring.head + 1 - s_ring.head % S_CELLS
               ? cell
               : NULL;
}

bool gi_logring_pop(gi_log_line_t *out) {
    s_cell_t *cell = s_first();

    if (!cell)
        return false;
    *out = cell->line;
    atomic_store_explicit(&cell->seq,
                          s_ring.head + S_CELLS - s_ring.head % S_CELLS,
                          memory_order_release);
    s_ring.head++;
    return true;
}

bool gi_logring_sleep(void) {
    gi_doorbell_sleep(&s_ring.bell);
    if (!s_first())
        return true;
    gi_doorbell_wake(&s_ring.bell);
    return false;
}

void gi_logring_wake(void) { gi_doorbell_wake(&s_ring.bell); }

void gi_logring_written(void) {
    pthread_mutex_lock(&s_ring.mutex);
    s_ring.written = s_ring.head;
    pthread_cond_broadcast(&s_ring.out);
    pthread_mutex_unlock(&s_ring.mutex);
}
