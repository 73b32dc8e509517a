/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/procs.c -- echoes per second through two worker processes: the pool as
 * services use it (submit and sink), as users do (gate_submit and futures), and
 * a prefork pool over pipes, in one run; and what a worker's birth takes, also
 * from a parent with 1 GiB resident. bench_procs [size]   about size * 20 ms
 * for each figure, default 50; a second argument picks one load. JSON on
 * stdout; procs_peers.py adds Python's pools. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <gaterpc.h>
#include "clock.h"
#include "futex.h"
#include "procs.h"

#define WORKERS 2
#define PEER_ROOM ((size_t)24 << 20)

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

/* ---- submit and sink ----------------------------------------------------- */
static _Atomic uint32_t s_flying, s_waiting;
static size_t s_expected;

static void s_done(void *ctx, const void *data, size_t size,
                   const gate_error_t *err) {
    (void)ctx;
    if (err || size != s_expected || !data)
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
    static const gi_sink_t sink = {.done = s_done};
    msgpack_sbuffer args;
    msgpack_packer pk;
    msgpack_sbuffer_init(&args);
    msgpack_packer_init(&pk, &args, msgpack_sbuffer_write);
    char *data = calloc(1, size);
    msgpack_pack_array(&pk, 1);
    msgpack_pack_bin(&pk, size);
    msgpack_pack_bin_body(&pk, data, size);
    s_expected = args.size - 1;
    gi_request_t r = {.fn = echo,
                      .args = {args.data, args.size},
                      .deadline_ms = INT64_MAX,
                      .sink = &sink};
    int64_t began = gi_clock_ns();
    size_t n = 0;
    while (gi_clock_ns() - began < s_span_ns) {
        s_below(window > 1 ? window / 2 + 1 : 1);
        while (atomic_load(&s_flying) < window) {
            gi_ticket_t ticket;
            atomic_fetch_add(&s_flying, 1);
            if (gi_pool_submit(pool, &r, &ticket))
                abort();
            n++;
        }
    }
    s_below(1);
    double rate = (double)n * 1e9 / (double)(gi_clock_ns() - began);
    free(data);
    msgpack_sbuffer_destroy(&args);
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
    size_t room = 4 << 20, have = 0;
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
    memmove(self->got, self->got + at, self->received - at);
    self->received -= at;
    self->flying -= n;
    return n;
}

static void s_peer_send(s_peer_t *self, const char *data, uint32_t size,
                        bool batched) {
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

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        size_t size;
        unsigned window;
    } loads[] = {{"64x1", 64, 1},
                 {"64x16", 64, 16},
                 {"64x256", 64, 256},
                 {"4096x256", 4096, 256},
                 {"1Mx16", 1 << 20, 16}};
    int size = argc > 1 ? atoi(argv[1]) : 50;
    s_span_ns = (int64_t)(size > 0 ? size : 50) * 20000000;
    if (gate_process_init() != GATE_OK) {
        fprintf(stderr, "%s\n", gate_error()->text);
        return 1;
    }
    gate_pool_t *pool = s_pool(WORKERS);
    fprintf(stderr, "%-10s %12s %12s %12s %12s\n", "echoes/s", "sink", "future",
            "pipes", "batched");
    printf("{\n");
    for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
        if (argc > 2 && strcmp(argv[2], loads[i].name) != 0)
            continue;
        double sink = s_sink(pool, loads[i].size, loads[i].window);
        double future = s_futures(pool, loads[i].size, loads[i].window);
        double pipes = s_pipes(loads[i].size, (int)loads[i].window, false);
        double batched = s_pipes(loads[i].size, (int)loads[i].window, true);
        fprintf(stderr, "%-10s %12.0f %12.0f %12.0f %12.0f\n", loads[i].name,
                sink, future, pipes, batched);
        printf(" \"%s\": {\"sink\": %.0f, \"future\": %.0f, \"pipes\": %.0f, "
               "\"pipes_batched\": %.0f},\n",
               loads[i].name, sink, future, pipes, batched);
    }
    gate_pool_destroy(&pool);
    if (argc <= 2)
        s_births();
    printf("}\n");
    return 0;
}
