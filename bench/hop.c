/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/hop.c -- what a broker costs huge chunks: a raw worker's uncompressed
 * chunks to a raw client over ipc, through our broker and, in turns, through a
 * forwarder of two ROUTERs that does the same to the same frames and nothing
 * else. As JSON: MB/s of each, medians, and their ratio.
 * usage: hop [MiB a round [KiB a chunk]] */
#include <gaterpc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { S_ROUNDS = 5, S_WINDOW = 32, S_STEP = 8, S_FRAMES = 12 };

static char s_front[64], s_back[64];
static size_t s_chunk;
static long s_n; /* chunks a round */

static double s_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- messages ------------------------------------------------------------*/
typedef struct s_message {
    int n;
    zmq_msg_t f[S_FRAMES];
} s_message_t;

static bool s_recv(void *socket, s_message_t *m, int flags) {
    int more = 1;
    for (m->n = 0; more && m->n < S_FRAMES; m->n++) {
        zmq_msg_init(&m->f[m->n]);
        if (zmq_msg_recv(&m->f[m->n], socket, flags) < 0)
            return false;
        more = zmq_msg_more(&m->f[m->n]);
    }
    return true;
}

static void s_close(s_message_t *m) {
    while (m->n)
        zmq_msg_close(&m->f[--m->n]);
}

static void s_text(void *socket, const char *data, size_t size, bool more) {
    zmq_send(socket, data, size, more ? ZMQ_SNDMORE : 0);
}

static void s_pass(void *socket, s_message_t *m, int i, bool more) {
    zmq_msg_send(&m->f[i], socket, more ? ZMQ_SNDMORE : 0);
}

static void *s_socket(void *ctx, int type) {
    int none = 0;
    void *socket = zmq_socket(ctx, type);
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    return socket;
}

/* ---- what stands between ------------------------------------------------*/
static void s_broker(void) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "error");
    gate_runtime_t *rt = gate_runtime_new(settings);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_bind(broker, s_front);
    gate_broker_bind_backend(broker, s_back);
    if (gate_broker_start(broker))
        _exit(1);
    pause();
}

/* Requests and control to the one worker, replies to the client they name. */
static void s_forward(void) {
    void *ctx = zmq_ctx_new();
    void *front = s_socket(ctx, ZMQ_ROUTER), *back = s_socket(ctx, ZMQ_ROUTER);
    if (zmq_bind(front, s_front) || zmq_bind(back, s_back))
        _exit(1);
    zmq_pollitem_t items[] = {{front, 0, ZMQ_POLLIN, 0},
                              {back, 0, ZMQ_POLLIN, 0}};
    s_message_t m;
    char worker[8];
    while (zmq_poll(items, 2, -1) >= 0) {
        while (s_recv(back, &m, ZMQ_DONTWAIT)) {
            /* id "" MDPW01 03 client "" rid tag chunk */
            if (m.n == 9) {
                s_pass(front, &m, 4, true);
                s_text(front, "", 0, true);
                s_text(front, "MDPC01", 6, true);
                s_text(front, "Svc", 3, true);
                s_pass(front, &m, 6, true);
                s_pass(front, &m, 7, true);
                s_pass(front, &m, 8, false);
            } else {
                memcpy(worker, zmq_msg_data(&m.f[0]), 5);
            }
            s_close(&m);
        }
        while (s_recv(front, &m, ZMQ_DONTWAIT)) {
            /* id "" MDPC01 service rid body... */
            s_text(back, worker, 5, true);
            s_text(back, "", 0, true);
            s_text(back, "MDPW01", 6, true);
            s_text(back, m.n == 6 ? "\6" : "\2", 1, true);
            s_pass(back, &m, 0, true);
            s_text(back, "", 0, true);
            for (int i = 4; i < m.n; i++)
                s_pass(back, &m, i, i + 1 < m.n);
            s_close(&m);
        }
    }
}

/* ---- the worker ----------------------------------------------------------*/
static void s_say(void *socket, const char *command, const char *data,
                  size_t size) {
    s_text(socket, "", 0, true);
    s_text(socket, "MDPW01", 6, true);
    s_text(socket, command, 1, data != NULL);
    if (data)
        s_text(socket, data, size, false);
}

static void s_chunks(void *socket, s_message_t *m, const char *data, int n) {
    for (int i = 0; i < n; i++) {
        zmq_msg_t chunk;
        s_text(socket, "", 0, true);
        s_text(socket, "MDPW01", 6, true);
        s_text(socket, "\3", 1, true);
        s_text(socket, zmq_msg_data(&m->f[3]), zmq_msg_size(&m->f[3]), true);
        s_text(socket, "", 0, true);
        s_text(socket, zmq_msg_data(&m->f[5]), zmq_msg_size(&m->f[5]), true);
        s_text(socket, "GateStreamHugData", 17, true);
        zmq_msg_init_data(&chunk, (void *)(uintptr_t)data, s_chunk, NULL, NULL);
        zmq_msg_send(&chunk, socket, 0);
    }
}

static void s_worker(void) {
    static const char hello[] = "\xc1GX1\x80";
    void *ctx = zmq_ctx_new(), *socket = s_socket(ctx, ZMQ_DEALER);
    char *data = malloc(s_chunk);
    s_message_t m;
    memset(data, 'x', s_chunk);
    zmq_setsockopt(socket, ZMQ_ROUTING_ID, "wwwww", 5);
    zmq_connect(socket, s_back);
    s_say(socket, "\1", "Svc:d:9", 7);
    while (s_recv(socket, &m, 0)) { /* "" MDPW01 command ... */
        int command = *(const char *)zmq_msg_data(&m.f[2]);
        if (command == 4)
            s_say(socket, "\4", hello, sizeof hello - 1);
        else if (command == 2)
            s_chunks(socket, &m, data, S_WINDOW);
        else if (command == 6)
            s_chunks(socket, &m, data, S_STEP);
        s_close(&m);
    }
}

/* ---- the client ----------------------------------------------------------*/
static void s_ask(void *socket, bool credit) {
    s_text(socket, "", 0, true);
    s_text(socket, "MDPC01", 6, true);
    s_text(socket, "Svc", 3, true);
    s_text(socket, "0123456789abcdef", 16, true);
    if (credit) {
        s_text(socket, "\xc1GX1\x81\xa2\x63i\x08", 9, false);
        return;
    }
    s_text(socket,
           "\xa1"
           "f",
           2, true);
    s_text(socket, "\x90", 1, true);
    s_text(socket, "\x80", 1, false);
}

/* MB/s; 0: it did not work. */
static double s_round(void (*between)(void)) {
    pid_t middle = fork(), worker;
    if (!middle)
        between();
    usleep(200000);
    worker = fork();
    if (!worker)
        s_worker();
    usleep(300000);
    void *ctx = zmq_ctx_new(), *socket = s_socket(ctx, ZMQ_DEALER);
    int wait = 5000;
    s_message_t m;
    long n = 0, warm = s_n / 8;
    double begun = 0;
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait, sizeof wait);
    zmq_connect(socket, s_front);
    s_ask(socket, false);
    for (; n < s_n + warm && s_recv(socket, &m, 0); n++) {
        if (zmq_msg_size(&m.f[m.n - 1]) != s_chunk)
            break;
        s_close(&m);
        if (n == warm)
            begun = s_now();
        if (n % S_STEP == S_STEP - 1)
            s_ask(socket, true);
    }
    double took = s_now() - begun;
    zmq_close(socket);
    zmq_ctx_term(ctx);
    kill(worker, SIGKILL);
    kill(middle, SIGKILL);
    waitpid(worker, NULL, 0);
    waitpid(middle, NULL, 0);
    return n == s_n + warm ? (double)s_n * (double)s_chunk / 1e6 / took : 0;
}

static int s_less(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

int main(int argc, char **argv) {
    size_t mib = argc > 1 ? (size_t)atoi(argv[1]) : 512;
    double ours[S_ROUNDS], raw[S_ROUNDS], ratio[S_ROUNDS];
    char dir[] = "/tmp/gate-hop-XXXXXX";
    int rounds = mib < 64 ? 1 : S_ROUNDS;
    if (!mkdtemp(dir))
        return 1;
    snprintf(s_front, sizeof s_front, "ipc://%s/f", dir);
    snprintf(s_back, sizeof s_back, "ipc://%s/b", dir);
    s_chunk = (argc > 2 ? (size_t)atoi(argv[2]) : 256) << 10;
    s_n = (long)((mib << 20) / s_chunk) + 1;
    for (int i = 0; i < rounds; i++) {
        raw[i] = s_round(s_forward);
        ours[i] = s_round(s_broker);
        ratio[i] = raw[i] > 0 ? ours[i] / raw[i] : 0;
    }
    unlink(s_front + 6);
    unlink(s_back + 6);
    rmdir(dir);
    qsort(ours, (size_t)rounds, sizeof *ours, s_less);
    qsort(raw, (size_t)rounds, sizeof *raw, s_less);
    qsort(ratio, (size_t)rounds, sizeof *ratio, s_less);
    printf("{\"bench\": \"hop\", \"chunk\": %zu, \"broker_mb_s\": %.0f, "
           "\"raw_mb_s\": %.0f, \"ratio\": %.2f}\n",
           s_chunk, ours[rounds / 2], raw[rounds / 2], ratio[rounds / 2]);
    return ratio[0] > 0 ? 0 : 1;
}
