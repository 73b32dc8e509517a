/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/procs.c -- echoes per second through two worker processes: ours by the
 * public API (gate_submit_then; gate_submit and futures; a completion queue; in
 * place) and a prefork pool over pipes, in one run; and what a worker's birth
 * takes, also from a parent with 1 GiB resident. bench_procs [size]   about size
 * * 20 ms for each figure, default 50; a second argument picks one load, a third
 * one kind of pool. JSON on stdout; procs_peers.py adds Python's pools. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <gaterpc.h>
#include "sync/clock.h"
#include "sync/futex.h"
#include "jobs/pool.h"

#define WORKERS 2
#define PEER_ROOM ((size_t)160 << 20)

static int64_t s_span_ns;

static gate_err_t echo(gate_call_t *call) {
    gate_bytes_t b;
    gate_err_t e = gate_args(call, &b);
    return e ? e : gate_return(call, b);
}

static gate_pool_t *s_pool(int workers) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_options_t o = {.name = "bench", .workers = workers};
    gate_pool_t *pool = gi_pool_procs(&base, &o);
    if (!pool) {
        fprintf(stderr, "%s\n", gate_error()->text);
        exit(1);
    }
    return pool;
}

/* ---- without futures ----------------------------------------------------- */
static _Atomic uint32_t s_flying, s_waiting;

static void s_done(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)ctx;
    if (e || !value)
        abort();
    uint32_t left = atomic_fetch_sub(&s_flying, 1) - 1;
    uint32_t wanted = atomic_load(&s_waiting);
    if (wanted && left < wanted && atomic_exchange(&s_waiting, 0))
        gi_futex_wake(&s_waiting);
}

/* Waits until fewer than n are under way. */
static void s_below(uint32_t n) {
    while (atomic_load(&s_flying) >= n) {
        atomic_store(&s_waiting, n);
        if (atomic_load(&s_flying) >= n)
            gi_futex_wait(&s_waiting, n, 1000);
    }
    atomic_store(&s_waiting, 0);
}

static double s_sink(gate_pool_t *pool, size_t size, uint32_t window) {
    char *data = calloc(1, size);
    int64_t began = gi_clock_ns();
    size_t n = 0;
    while (gi_clock_ns() - began < s_span_ns) {
        s_below(window > 1 ? window / 2 + 1 : 1);
        for (; atomic_load(&s_flying) < window; n++) {
            atomic_fetch_add(&s_flying, 1);
            if (gate_submit_then(pool, echo, s_done, NULL,
                                 ((gate_bytes_t){data, size})))
                abort();
        }
    }
    s_below(1);
    double rate = (double)n * 1e9 / (double)(gi_clock_ns() - began);
    free(data);
    return rate;
}

/* ---- futures ------------------------------------------------------------- */
static double s_futures(gate_pool_t *pool, size_t size, size_t window) {
    gate_future_t *f[256] = {0};
    char *data = calloc(1, size);
    int64_t began = gi_clock_ns();
    size_t n = 0;
    while (gi_clock_ns() - began < s_span_ns) {
        gate_future_t **at = &f[n++ % window];
        if (*at) {
            gate_bytes_t b;
            if (gate_future_wait(*at, 10000, &b) || b.size != size)
                abort();
            gate_future_destroy(at);
        }
        *at = gate_submit(pool, echo, ((gate_bytes_t){data, size}));
    }
    for (size_t i = 0; i < window; i++) {
        gate_bytes_t b;
        if (f[i] && gate_future_wait(f[i], 10000, &b))
            abort();
        gate_future_destroy(&f[i]);
    }
    free(data);
    return (double)n * 1e9 / (double)(gi_clock_ns() - began);
}

/* As a program with an event loop does: callbacks on its own thread. */
static size_t s_back;

static void s_came(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)ctx;
    if (e || !value)
        abort();
    s_back++;
}

static double s_queue(gate_pool_t *pool, size_t size, size_t window) {
    gate_cq_t *cq = gate_cq_new();
    char *data = calloc(1, size);
    int64_t began = gi_clock_ns();
    size_t n = 0;
    s_back = 0;
    while (gi_clock_ns() - began < s_span_ns || s_back < n) {
        bool more = gi_clock_ns() - began < s_span_ns;
        for (; more && n - s_back < window; n++) {
            gate_future_t *f =
                gate_submit(pool, echo, ((gate_bytes_t){data, size}));
            gate_future_then(&f, cq, s_came, NULL);
        }
        gate_cq_wait(cq, window, 1000);
    }
    gate_cq_destroy(&cq);
    free(data);
    return (double)n * 1e9 / (double)(gi_clock_ns() - began);
}

/* Built in place, read in place, both ways: what is touched is a stamp at both
 * ends. */
static gate_err_t turn(gate_call_t *call) {
    gate_bytes_t b;
    void *out;
    gate_err_t e = gate_args(call, &b);
    if (!e)
        e = gate_return_shared(call, b.size, &out);
    if (e)
        return e;
    memcpy(out, b.data, 8);
    memcpy((char *)out + b.size - 8, (const char *)b.data + b.size - 8, 8);
    return GATE_OK;
}

static void s_turned(gate_future_t **f, size_t size, size_t number) {
    gate_bytes_t b;
    if (gate_future_wait(*f, 10000, &b) || b.size != size ||
        memcmp(b.data, &number, sizeof number) != 0)
        abort();
    gate_future_destroy(f);
}

static double s_zero(gate_pool_t *pool, size_t size, size_t window) {
    gate_future_t *f[256] = {0};
    int64_t began = gi_clock_ns();
    size_t n = 0;
    for (; gi_clock_ns() - began < s_span_ns; n++) {
        if (f[n % window])
            s_turned(&f[n % window], size, n - window);
        gate_shared_t *s = gate_shared_new(pool, size);
        if (!s)
            abort();
        char *data = gate_shared_data(s);
        memcpy(data, &n, sizeof n);
        memcpy(data + size - sizeof n, &n, sizeof n);
        f[n % window] = gate_submit(pool, turn, gate_shared_arg(s));
        gate_shared_destroy(&s);
    }
    for (size_t i = n < window ? 0 : n - window; i < n; i++)
        s_turned(&f[i % window], size, i);
    return (double)n * 1e9 / (double)(gi_clock_ns() - began);
}

/* ---- pipes --------------------------------------------------------------- */
typedef struct s_peer {
    int in, out;
    pid_t pid;
    char *send, *got;
    size_t to_send, sent, received;
    int flying;
} s_peer_t;

static void s_write(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t rc = write(fd, p, n);
        if (rc < 0)
            _exit(1);
        p += rc;
        n -= (size_t)rc;
    }
}

/* Messages are a length and so many bytes. Batched: all that one read brought
 * is answered with one write, the best that pipes can do; else one write each,
 * as such pools are written. */
static void s_pipe_worker(int in, int out, bool batched) {
    size_t room = PEER_ROOM, have = 0;
    char *buf = malloc(room), *answer = malloc(room);
    for (ssize_t n; (n = read(in, buf + have, room - have)) > 0;) {
        size_t at = 0, filled = 0;
        uint32_t size;
        have += (size_t)n;
        while (have - at >= sizeof size) {
            memcpy(&size, buf + at, sizeof size);
            if (have - at < sizeof size + size)
                break;
            memcpy(answer + filled, buf + at, sizeof size + size);
            at += sizeof size + size;
            filled += sizeof size + size;
            if (!batched) {
                s_write(out, answer, filled);
                filled = 0;
            }
        }
        s_write(out, answer, filled);
        if (at)
            memmove(buf, buf + at, have - at);
        have -= at;
    }
    _exit(0);
}

static void s_peer_new(s_peer_t *self, bool batched) {
    int to[2], from[2];
    memset(self, 0, sizeof *self);
    if (pipe2(to, O_CLOEXEC) || pipe2(from, O_CLOEXEC))
        abort();
    fcntl(to[1], F_SETPIPE_SZ, 1 << 20);
    fcntl(from[1], F_SETPIPE_SZ, 1 << 20);
    self->pid = fork();
    if (self->pid == 0) {
        close(to[1]);
        close(from[0]);
        s_pipe_worker(to[0], from[1], batched);
    }
    close(to[0]);
    close(from[1]);
    fcntl(to[1], F_SETFL, O_NONBLOCK);
    fcntl(from[0], F_SETFL, O_NONBLOCK);
    self->in = from[0];
    self->out = to[1];
    self->send = malloc(PEER_ROOM);
    self->got = malloc(PEER_ROOM);
}

static void s_peer_end(s_peer_t *self) {
    close(self->out);
    close(self->in);
    kill(self->pid, SIGKILL); /* its sisters hold its pipe open */
    waitpid(self->pid, NULL, 0);
    free(self->send);
    free(self->got);
}

static void s_peer_write(s_peer_t *self) {
    ssize_t rc =
        write(self->out, self->send + self->sent, self->to_send - self->sent);
    if (rc > 0)
        self->sent += (size_t)rc;
    if (self->sent == self->to_send)
        self->sent = self->to_send = 0;
}

/* Room for so much more behind what waits to be written. */
static void s_peer_room(s_peer_t *self, size_t size) {
    if (self->to_send + size <= PEER_ROOM)
        return;
    memmove(self->send, self->send + self->sent, self->to_send - self->sent);
    self->to_send -= self->sent;
    self->sent = 0;
}

/* How many answers came back whole. */
static int s_peer_read(s_peer_t *self) {
    uint32_t size;
    size_t at = 0;
    int n = 0;
    ssize_t rc =
        read(self->in, self->got + self->received, PEER_ROOM - self->received);
    if (rc > 0)
        self->received += (size_t)rc;
    while (self->received - at >= sizeof size) {
        memcpy(&size, self->got + at, sizeof size);
        if (self->received - at < sizeof size + size)
            break;
        at += sizeof size + size;
        n++;
    }
    if (at)
        memmove(self->got, self->got + at, self->received - at);
    self->received -= at;
    self->flying -= n;
    return n;
}

static void s_peer_send(s_peer_t *self, const char *data, uint32_t size,
                        bool batched) {
    s_peer_room(self, sizeof size + size);
    memcpy(self->send + self->to_send, &size, sizeof size);
    memcpy(self->send + self->to_send + sizeof size, data, size);
    self->to_send += sizeof size + size;
    self->flying++;
    if (!batched)
        s_peer_write(self);
}

static double s_pipes(size_t size, int window, bool batched) {
    s_peer_t peers[WORKERS];
    char *data = calloc(1, size);
    for (int i = 0; i < WORKERS; i++)
        s_peer_new(&peers[i], batched);
    int64_t began = gi_clock_ns();
    size_t n = 0;
    int flying = 0;
    while (gi_clock_ns() - began < s_span_ns || flying > 0) {
        bool more = gi_clock_ns() - began < s_span_ns;
        for (; more && flying < window; flying++, n++)
            s_peer_send(&peers[peers[1].flying < peers[0].flying], data,
                        (uint32_t)size, batched);
        struct pollfd fds[2 * WORKERS];
        for (int i = 0; i < WORKERS; i++) {
            if (peers[i].to_send)
                s_peer_write(&peers[i]);
            fds[2 * i] = (struct pollfd){peers[i].in, POLLIN, 0};
            fds[2 * i + 1] = (struct pollfd){
                peers[i].to_send ? peers[i].out : -1, POLLOUT, 0};
        }
        poll(fds, 2 * WORKERS, 1000);
        for (int i = 0; i < WORKERS; i++)
            if (fds[2 * i].revents)
                flying -= s_peer_read(&peers[i]);
    }
    double rate = (double)n * 1e9 / (double)(gi_clock_ns() - began);
    for (int i = 0; i < WORKERS; i++)
        s_peer_end(&peers[i]);
    free(data);
    return rate;
}

/* ---- births -------------------------------------------------------------- */
static gate_err_t pid(gate_call_t *call) {
    return gate_return(call, (int)getpid());
}

/* From a worker's death to the answer of the next: a new one each time. */
static double s_birth_us(int rounds) {
    gi_pool_base_t base = {.settings = gi_settings_defaults()};
    gate_pool_options_t o = {.name = "birth", .workers = 1, .max_jobs = 1};
    gate_pool_t *pool = gi_pool_procs(&base, &o);
    double best = 1e9;
    for (int i = 0; pool && i < rounds; i++) {
        int64_t began = gi_clock_ns();
        int x;
        gate_future_t *f = gate_submit(pool, pid);
        if (gate_future_wait(f, 5000, &x))
            abort();
        gate_future_destroy(&f);
        double us = (double)(gi_clock_ns() - began) / 1e3;
        if (i && us < best)
            best = us;
    }
    gate_pool_destroy(&pool);
    return best;
}

static void s_births(void) {
    double small = s_birth_us(20);
    size_t size = (size_t)1 << 30;
    char *big = malloc(size);
    if (big)
        memset(big, 1, size);
    double large = s_birth_us(20);
    printf(" \"birth_us\": {\"small_parent\": %.0f, \"1GiB_parent\": %.0f}\n",
           small, large);
    fprintf(stderr, "birth to answer: %.0f us, with 1 GiB resident %.0f us\n",
            small, large);
    free(big);
}

/* ---- what spinning costs ------------------------------------------------- */
/* Works for so long on its CPU clock, gives all that its process has used. */
static gate_err_t burn(gate_call_t *call) {
    struct timespec t;
    int64_t until = 0, now = 0, ns;
    gate_err_t e = gate_args(call, &ns);
    if (e)
        return e;
    do {
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        now = t.tv_sec * 1000000000LL + t.tv_nsec;
        until = until ? until : now + ns;
    } while (now < until);
    return gate_return(call, now);
}

/* The CPU time of workers for each job of 60 us. As many workers as cores, each
 * waits after each job. */
static double s_burn_us(int spin_us) {
    enum { MAX = 64 };
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_pool_t *pools[MAX];
    gate_future_t *f[MAX];
    int64_t used[MAX] = {0}, sum = 0;
    long n = 0, workers = sysconf(_SC_NPROCESSORS_ONLN);
    workers = workers > MAX ? MAX : workers;
    gate_settings_set(settings, "process_spin_us", spin_us);
    for (long i = 0; i < workers; i++) {
        gi_pool_base_t base = {.settings = settings};
        gate_pool_options_t o = {.name = "burn", .workers = 1};
        if (!(pools[i] = gi_pool_procs(&base, &o)))
            abort();
    }
    for (int64_t began = gi_clock_ns(); gi_clock_ns() - began < s_span_ns;) {
        for (long i = 0; i < workers; i++)
            f[i] = gate_submit(pools[i], burn, 60000L);
        for (long i = 0; i < workers; i++, n++) {
            if (gate_future_wait(f[i], 10000, &used[i]))
                abort();
            gate_future_destroy(&f[i]);
        }
    }
    for (long i = 0; i < workers; i++) {
        sum += used[i];
        gate_pool_destroy(&pools[i]);
    }
    return (double)sum / 1e3 / (double)n;
}

static void s_spin_cost(void) {
    double without = s_burn_us(0), with = s_burn_us(12);
    double again = s_burn_us(0), with_again = s_burn_us(12);
    double percent =
        100 * (with + with_again - without - again) / (without + again);
    printf(" \"spin\": {\"without_us\": %.2f, \"with_us\": %.2f, "
           "\"percent\": %.2f},\n",
           (without + again) / 2, (with + with_again) / 2, percent);
    fprintf(stderr,
            "CPU of a 60 us job: %.2f us without spin, %.2f with: %+.2f %%\n",
            (without + again) / 2, (with + with_again) / 2, percent);
}

/* ---- the table ----------------------------------------------------------- */
typedef struct s_load {
    const char *name;
    size_t size;
    unsigned window;
} s_load_t;

static gate_pool_t *s_ours;

static double s_run_sink(const s_load_t *l) {
    return s_sink(s_ours, l->size, l->window);
}
static double s_run_future(const s_load_t *l) {
    return s_futures(s_ours, l->size, l->window);
}
static double s_run_queue(const s_load_t *l) {
    return s_queue(s_ours, l->size, l->window);
}
static double s_run_zero(const s_load_t *l) {
    return s_zero(s_ours, l->size, l->window);
}
static double s_run_pipes(const s_load_t *l) {
    return s_pipes(l->size, (int)l->window, false);
}
static double s_run_batched(const s_load_t *l) {
    return s_pipes(l->size, (int)l->window, true);
}

static const struct {
    const char *name;
    double (*run)(const s_load_t *load);
} s_kinds[] = {{"sink", s_run_sink},   {"future", s_run_future},
               {"queue", s_run_queue}, {"zero_copy", s_run_zero},
               {"pipes", s_run_pipes}, {"pipes_batched", s_run_batched}};
#define N_KINDS (sizeof s_kinds / sizeof *s_kinds)

static void s_row(const s_load_t *load, const char *kind) {
    fprintf(stderr, "%-10s", load->name);
    printf(" \"%s\": {", load->name);
    const char *comma = "";
    for (size_t i = 0; i < N_KINDS; i++) {
        if (kind && strcmp(kind, s_kinds[i].name) != 0)
            continue;
        double rate = s_kinds[i].run(load);
        fprintf(stderr, " %14.0f", rate);
        printf("%s\"%s\": %.1f", comma, s_kinds[i].name, rate);
        comma = ", ";
    }
    fprintf(stderr, "\n");
    printf("},\n");
}

int main(int argc, char **argv) {
    static const s_load_t loads[] = {
        {"64x1", 64, 1},        {"64x16", 64, 16},
        {"64x256", 64, 256},    {"4096x256", 4096, 256},
        {"1Mx16", 1 << 20, 16}, {"64Mx2", 64 << 20, 2}};
    int size = argc > 1 ? atoi(argv[1]) : 50;
    const char *kind = argc > 3 ? argv[3] : NULL;
    s_span_ns = (int64_t)(size > 0 ? size : 50) * 20000000;
    if (gate_process_init() != GATE_OK) {
        fprintf(stderr, "%s\n", gate_error()->text);
        return 1;
    }
    s_ours = s_pool(WORKERS);
    fprintf(stderr, "%-10s", "echoes/s");
    for (size_t i = 0; i < N_KINDS; i++)
        if (!kind || strcmp(kind, s_kinds[i].name) == 0)
            fprintf(stderr, " %14s", s_kinds[i].name);
    fprintf(stderr, "\n");
    printf("{\n");
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++)
        if (argc <= 2 || strcmp(argv[2], "all") == 0 ||
            strcmp(argv[2], loads[i].name) == 0)
            s_row(&loads[i], kind);
    gate_pool_destroy(&s_ours);
    if (argc <= 2 || strcmp(argv[2], "spin") == 0)
        s_spin_cost();
    if (argc <= 2)
        s_births();
    else
        printf(" \"birth_us\": null\n");
    printf("}\n");
    return 0;
}
