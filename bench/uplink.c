/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/uplink.c -- what the link between two brokers costs beside the carrier:
 * two uplinks without brokers (their mailboxes are this program's), and in turns
 * bare libnats in its event loop with the same bytes, over one nats-server of
 * its own on loopback. As JSON, medians of the rounds:
 *   records one way, 116 bytes, 400 a batch;
 *   there and back, 1,000 under way: bare with the mean batch that ours had;
 *   there and back, one under way: p50.
 * usage: uplink [milliseconds a round]. 77 and why: no nats-server. */
#include <math.h>
#include <nats/nats.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "nats_server.h"
#include "settings/settings.h"
#include "sync/clock.h"
#include "uplink/uplink.h"

enum {
    S_ROUNDS = 5,
    S_RECORD = 116,
    S_BATCH = 400,
    S_LATENCIES = 1 << 20,
    S_WINDOW = 4 << 20, /* of bytes that bare has under way, one way */
    S_ITEMS = 256,
    S_PASS_MS = 100
};

typedef enum s_way { S_ONE_WAY, S_BACK } s_way_t;

typedef struct s_task {
    s_way_t way;
    int under_way; /* records, there and back */
    int most;      /* of them in a message; bare alone */
    int64_t ns;
    const char *url;
} s_task_t;

typedef struct s_got {
    double per_s, p50_us, batch;
} s_got_t;

/* ---- records ------------------------------------------------------------- */
/* What is gathered in a pass, and what came of it. A record: when it was sent,
 * then filling. */
typedef struct s_flow {
    const s_task_t *task;
    unsigned char *out;
    size_t n_out, n_in, n_messages;
    int64_t begun, *late;
    size_t n_late;
} s_flow_t;

static void s_gather(s_flow_t *f, int64_t stamp) {
    unsigned char *to = f->out + f->n_out++ * S_RECORD;
    memcpy(to, &stamp, sizeof stamp);
}

static bool s_over(const s_flow_t *f) {
    return f->begun && gi_clock_ns() - f->begun > f->task->ns;
}

/* Answers at the load's end: another record for each. */
static void s_answered(s_flow_t *f, const unsigned char *data, size_t size) {
    int64_t now = gi_clock_ns(), stamp;
    for (size_t at = 0; at + S_RECORD <= size; at += S_RECORD) {
        memcpy(&stamp, data + at, sizeof stamp);
        if (f->n_late < S_LATENCIES)
            f->late[f->n_late++] = now - stamp;
        f->n_in++;
        s_gather(f, now);
    }
}

static int s_less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int s_sooner(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static s_got_t s_result(s_flow_t *f) {
    double seconds = (double)(gi_clock_ns() - f->begun) / 1e9;
    qsort(f->late, f->n_late, sizeof *f->late, s_sooner);
    return (s_got_t){(double)f->n_in / seconds,
                     f->n_late ? (double)f->late[f->n_late / 2] / 1e3 : 0,
                     f->n_messages ? (double)f->n_in / (double)f->n_messages
                                   : 0};
}

static void s_flow_init(s_flow_t *f, const s_task_t *task) {
    *f = (s_flow_t){.task = task,
                    .out = calloc(4096 + S_BATCH, S_RECORD),
                    .late = calloc(S_LATENCIES, sizeof(int64_t))};
    if (!f->out || !f->late)
        _exit(1);
}

/* ---- ours: an uplink, whose broker we are --------------------------------- */
typedef struct s_end {
    gi_uplink_t *uplink;
    gi_mailbox_t *mailbox;
    gi_link_block_t *up; /* the node and its life; NULL: not there yet */
    bool echoes;
    s_flow_t flow;
} s_end_t;

static void s_push(s_end_t *self, gi_link_block_t *block) {
    if (gi_mailbox_push(gi_uplink_mailbox(self->uplink), block, -1))
        _exit(1);
}

static void s_data(s_end_t *self, size_t n) {
    gi_link_block_t *block = gi_link_block_new(n * S_RECORD);
    if (block == NULL)
        _exit(1);
    block->what = GI_UPLINK_DATA;
    block->life = self->up->life;
    block->at_ms = gi_clock_ms();
    block->size = n * S_RECORD;
    memcpy(block->node, self->up->node, sizeof block->node);
    memcpy(gi_link_block_bytes(block), self->flow.out, block->size);
    self->flow.n_messages++;
    s_push(self, block);
}

/* The link is up: what there is to do begins. */
static void s_begin(s_end_t *self, gi_link_block_t *up) {
    s_flow_t *f = &self->flow;
    self->up = up;
    f->begun = gi_clock_ns();
    if (self->echoes)
        return;
    for (int i = 0; f->task->way == S_BACK && i < f->task->under_way; i++)
        s_gather(f, f->begun);
    for (int i = 0; f->task->way == S_ONE_WAY && i < S_WINDOW / S_RECORD;
         i += S_BATCH)
        s_data(self, S_BATCH);
}

static void s_took(s_end_t *self, gi_link_block_t *block) {
    s_flow_t *f = &self->flow;
    const unsigned char *data = gi_link_block_bytes(block);
    if (!self->echoes) {
        s_answered(f, data, block->size);
    } else if (f->task->way == S_BACK) {
        memcpy(f->out + f->n_out * S_RECORD, data, block->size);
        f->n_out += block->size / S_RECORD;
    }
    block->what = GI_UPLINK_USED;
    s_push(self, block);
}

static void s_take(s_end_t *self, gi_link_block_t *block) {
    bool one_way = self->flow.task->way == S_ONE_WAY;
    if (block->what == GI_UPLINK_DATA) {
        s_took(self, block);
        return;
    }
    if (block->what == GI_UPLINK_LOST)
        _exit(1);
    if (block->what == GI_UPLINK_DONE && one_way && !s_over(&self->flow)) {
        self->flow.n_in += block->size / S_RECORD;
        s_data(self, S_BATCH);
    }
    if (block->what == GI_UPLINK_UP)
        s_begin(self, block);
    else
        gi_link_block_free(block);
}

static void s_pass(s_end_t *self) {
    void *items[S_ITEMS];
    size_t n = gi_mailbox_pop(self->mailbox, items, S_ITEMS);
    if (n == 0 && gi_mailbox_sleep(self->mailbox)) {
        struct pollfd p = {gi_mailbox_fd(self->mailbox), POLLIN, 0};
        poll(&p, 1, S_PASS_MS);
        gi_mailbox_wake(self->mailbox);
    }
    for (size_t i = 0; i < n; i++) {
        gi_list_t blocks;
        gi_link_blocks_unchain(&blocks, items[i]);
        for (gi_link_block_t *block; (block = gi_link_blocks_pop(&blocks));)
            s_take(self, block);
    }
    for (size_t at = 0, each; at < self->flow.n_out; at += each) {
        each =
            self->flow.n_out - at < S_BATCH ? self->flow.n_out - at : S_BATCH;
        s_data(self, each);
        memmove(self->flow.out, self->flow.out + each * S_RECORD,
                (self->flow.n_out - at - each) * S_RECORD);
    }
    self->flow.n_out = 0;
}

static s_got_t s_ours(const s_task_t *task, bool echoes) {
    s_end_t self = {.echoes = echoes, .mailbox = gi_mailbox_new(16384)};
    gate_settings_t *settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "uplink_name", echoes ? "b" : "a");
    s_flow_init(&self.flow, task);
    if (gi_uplink_new(settings, task->url, &self.uplink) ||
        gi_uplink_start(self.uplink, self.mailbox)) {
        fprintf(stderr, "uplink: %s\n", gate_error()->text);
        _exit(1);
    }
    while (!s_over(&self.flow) || echoes)
        s_pass(&self);
    return s_result(&self.flow);
}

/* ---- bare: libnats in its event loop -------------------------------------- */
static struct {
    natsConnection *connection;
    natsSubscription *subscription;
    volatile int fd;
    volatile bool writes;
} s_bare;

static natsStatus s_attach(void **user, void *loop, natsConnection *connection,
                           natsSock socket) {
    (void)loop, (void)connection;
    *user = &s_bare;
    s_bare.fd = (int)socket;
    return NATS_OK;
}

static natsStatus s_read(void *user, bool add) {
    return (void)user, (void)add, NATS_OK;
}

static natsStatus s_write(void *user, bool add) {
    (void)user;
    s_bare.writes = add;
    return NATS_OK;
}

static natsStatus s_detach(void *user) { return (void)user, NATS_OK; }

static void s_ok(natsStatus status) {
    if (status == NATS_OK)
        return;
    fprintf(stderr, "uplink: libnats: %s\n", natsStatus_GetText(status));
    _exit(1);
}

static void s_open(const s_task_t *task, bool echoes) {
    natsOptions *o = NULL;
    s_ok(natsOptions_Create(&o));
    s_ok(natsOptions_SetURL(o, task->url));
    s_ok(natsOptions_SetSendAsap(o, true));
    s_ok(natsOptions_SetIOBufSize(o, 65536));
    s_ok(natsOptions_SetEventLoop(o, &s_bare, s_attach, s_read, s_write,
                                  s_detach));
    s_ok(natsConnection_Connect(&s_bare.connection, o));
    s_ok(natsConnection_SubscribeSync(&s_bare.subscription, s_bare.connection,
                                      echoes ? "bare.b" : "bare.a"));
    s_ok(natsSubscription_SetPendingLimits(s_bare.subscription, -1, -1));
}

static void s_publish(bool echoes, const void *data, size_t size) {
    s_ok(natsConnection_Publish(s_bare.connection, echoes ? "bare.a" : "bare.b",
                                data, (int)size));
}

static void s_flush(void) {
    if (s_bare.writes)
        natsConnection_ProcessWriteEvent(s_bare.connection);
}

/* One way an answer has no records: how many bytes have come. */
static void s_bare_took(s_flow_t *f, bool echoes, size_t *under_way,
                        const char *data, size_t size) {
    uint64_t bytes = size;
    if (echoes) {
        s_publish(true, f->task->way == S_BACK ? data : (const char *)&bytes,
                  f->task->way == S_BACK ? size : sizeof bytes);
        return;
    }
    if (f->begun == 0)
        f->begun = gi_clock_ns();
    if (f->task->way == S_BACK) {
        s_answered(f, (const unsigned char *)data, size);
        return;
    }
    memcpy(&bytes, data, sizeof bytes);
    *under_way -= bytes;
    f->n_in += bytes / S_RECORD;
}

static void s_bare_pass(s_flow_t *f, bool echoes, size_t *under_way, int ms) {
    struct pollfd p = {s_bare.fd,
                       (short)(POLLIN | (s_bare.writes ? POLLOUT : 0)), 0};
    natsMsg *msg;
    if (poll(&p, 1, ms) > 0 && p.revents & POLLIN)
        natsConnection_ProcessReadEvent(s_bare.connection);
    while (natsSubscription_NextMsg(&msg, s_bare.subscription, 0) == NATS_OK) {
        s_bare_took(f, echoes, under_way, natsMsg_GetData(msg),
                    (size_t)natsMsg_GetDataLength(msg));
        natsMsg_Destroy(msg);
    }
    s_flush();
}

/* Records that were gathered, so many a message. */
static void s_bare_send(s_flow_t *f) {
    size_t most = (size_t)f->task->most;
    for (size_t at = 0; at < f->n_out; at += most) {
        size_t n = f->n_out - at < most ? f->n_out - at : most;
        s_publish(false, f->out + at * S_RECORD, n * S_RECORD);
        f->n_messages++;
    }
    f->n_out = 0;
    s_flush();
}

/* Until an answer comes: nobody may be there yet. */
static void s_bare_meet(s_flow_t *f, size_t *under_way) {
    while (f->begun == 0) {
        *under_way = S_RECORD;
        s_publish(false, f->out, S_RECORD);
        s_flush();
        s_bare_pass(f, false, under_way, 10);
    }
    for (int i = 0; i < 20; i++) /* late ones of the same */
        s_bare_pass(f, false, under_way, 5);
    *under_way = f->n_out = f->n_in = f->n_late = 0;
    f->begun = gi_clock_ns();
}

static s_got_t s_raw(const s_task_t *task, bool echoes) {
    s_flow_t f;
    size_t under_way = 0;
    s_flow_init(&f, task);
    s_open(task, echoes);
    while (echoes)
        s_bare_pass(&f, true, &under_way, S_PASS_MS);
    s_bare_meet(&f, &under_way);
    for (int i = 0; task->way == S_BACK && i < task->under_way; i++)
        s_gather(&f, f.begun);
    while (!s_over(&f)) {
        for (; task->way == S_ONE_WAY && under_way < S_WINDOW;
             under_way += S_BATCH * S_RECORD)
            s_publish(false, f.out, S_BATCH * S_RECORD);
        s_bare_send(&f);
        s_bare_pass(&f, false, &under_way, S_PASS_MS);
    }
    return s_result(&f);
}

/* ---- two processes -------------------------------------------------------- */
typedef s_got_t s_run_fn(const s_task_t *task, bool echoes);

static pid_t s_fork(s_run_fn *run, const s_task_t *task, bool echoes, int to) {
    pid_t parent = getpid(), pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    s_got_t got = run(task, echoes);
    _exit(write(to, &got, sizeof got) != sizeof got);
}

static s_got_t s_measure(s_run_fn *run, const s_task_t *task) {
    int ends[2];
    s_got_t got = {0};
    if (pipe(ends))
        return got;
    pid_t echo = s_fork(run, task, true, ends[1]);
    pid_t load = s_fork(run, task, false, ends[1]);
    close(ends[1]);
    if (read(ends[0], &got, sizeof got) != sizeof got)
        got = (s_got_t){0};
    close(ends[0]);
    kill(echo, SIGKILL);
    waitpid(echo, NULL, 0);
    waitpid(load, NULL, 0);
    return got;
}

/* Ours, then bare with as many records a message; the ratio's median. */
static bool s_compare(const char *name, s_task_t task, int rounds, bool last) {
    double ours[S_ROUNDS], bare[S_ROUNDS], ratio[S_ROUNDS], batch = 0;
    bool p50 = task.way == S_BACK && task.under_way == 1;
    for (int i = 0; i < rounds; i++) {
        s_got_t a = s_measure(s_ours, &task);
        task.most = a.batch > 1 ? (int)lround(a.batch) : 1;
        s_got_t b = s_measure(s_raw, &task);
        ours[i] = p50 ? a.p50_us : a.per_s;
        bare[i] = p50 ? b.p50_us : b.per_s;
        ratio[i] = bare[i] > 0 ? ours[i] / bare[i] : 0;
        batch += a.batch / rounds;
    }
    qsort(ours, (size_t)rounds, sizeof *ours, s_less);
    qsort(bare, (size_t)rounds, sizeof *bare, s_less);
    qsort(ratio, (size_t)rounds, sizeof *ratio, s_less);
    printf("  \"%s\": {\"unit\": \"%s\", \"ours\": %.0f, \"bare\": %.0f, "
           "\"ratio\": %.2f, \"least\": %.2f, \"most\": %.2f, \"batch\": "
           "%.1f}%s\n",
           name, p50 ? "us" : "records/s", ours[rounds / 2], bare[rounds / 2],
           ratio[rounds / 2], ratio[0], ratio[rounds - 1], batch,
           last ? "" : ",");
    fflush(stdout);
    return ratio[0] > 0;
}

int main(int argc, char **argv) {
    int64_t ms = argc > 1 ? atoi(argv[1]) : 1000;
    int rounds = ms < 100 ? 1 : S_ROUNDS;
    nats_server_t server;
    const char *why = nats_missing();
    if (why) {
        printf("skipped: %s\n", why);
        return 77;
    }
    if (!nats_begin(&server, NULL))
        return 1;
    s_task_t task = {.way = S_ONE_WAY,
                     .ns = (ms < 50 ? 50 : ms) * 1000000,
                     .url = server.url};
    printf("{\"bench\": \"uplink\",\n");
    fflush(stdout);
    bool ok = s_compare("one_way", task, rounds, false);
    task.way = S_BACK;
    task.under_way = 1000;
    ok &= s_compare("back_1000", task, rounds, false);
    task.under_way = 1;
    ok &= s_compare("back_1", task, rounds, true);
    printf("}\n");
    nats_kill(&server);
    return ok ? 0 : 1;
}
