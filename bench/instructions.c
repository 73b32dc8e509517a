/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/instructions.c -- so many whole calls in one process and nothing else,
 * for callgrind to count: tests/bench/test_instruction_count.py takes the
 * difference of two numbers of calls, so that coming up and going down drop
 * out. bench_instructions CALLS [MODE], one of
 * registry, inproc, tcp: a call by that way; lane: tcp, once over to shared
 *   memory; thread, process: registry, with a method that runs there
 * thread-job, process-job: gate_submit and gate_future_wait; what worker
 *   processes execute is valgrind's to add (one line a process)
 * reference: as many raw ZeroMQ frames as a call has, sent and received on one
 *   thread; it scales the others to the machine's libzmq and libc. */
#include <gaterpc.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zmq.h>

enum { S_ENDPOINT = 256, S_FRAMES = 28, S_READY_MS = 60000, S_GROUP = 50 };

static gate_err_t s_echo(gate_call_t *call) {
    gate_bytes_t in;
    gate_err_t e = gate_args(call, &in);
    return e ? e : gate_return(call, in);
}

/* Of which a service gets one. */
static const gate_method_t s_methods[][2] = {
    {{.name = "echo", .fn = s_echo, .runs = GATE_INLINE}, GATE_END},
    {{.name = "echo", .fn = s_echo, .runs = GATE_THREAD}, GATE_END},
    {{.name = "echo", .fn = s_echo, .runs = GATE_PROCESS}, GATE_END}};

/* ---- what valgrind does not know ------------------------------------------ */
/* With BENCH_COUNTED pidfd_open gives a descriptor that nothing happens to (the
 * zygote tells of a worker's end as well), and descriptors of valgrind's own,
 * which a child can neither close nor replace, are left alone. */
long syscall(long n, ...) {
    static long (*real)(long, ...);
    long a[6];
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    if (n == SYS_pidfd_open && getenv("BENCH_COUNTED"))
        return eventfd(0, EFD_CLOEXEC);
    if (!real)
        real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(n, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int dup3(int from, int to, int flags) {
    long fd = syscall(SYS_dup3, (long)from, (long)to, (long)flags);
    return fd < 0 && errno == EBADF && getenv("BENCH_COUNTED") ? to : (int)fd;
}

/* ---- raw frames ---------------------------------------------------------- */
static int s_reference(long calls) {
    char body[64] = "";
    void *ctx = zmq_ctx_new();
    void *a = zmq_socket(ctx, ZMQ_PAIR), *b = zmq_socket(ctx, ZMQ_PAIR);
    int failed =
        zmq_bind(a, "inproc://frames") || zmq_connect(b, "inproc://frames");
    for (long i = 0; i < calls * S_FRAMES && !failed; i++) {
        int last = (i + 1) % 7 == 0;
        failed = zmq_send(a, body, sizeof body, last ? 0 : ZMQ_SNDMORE) < 0;
        for (int k = 0; last && k < 7 && !failed; k++)
            failed = zmq_recv(b, body, sizeof body, 0) != sizeof body;
    }
    zmq_close(a);
    zmq_close(b);
    zmq_ctx_term(ctx);
    return failed;
}

/* ---- calls --------------------------------------------------------------- */
typedef struct s_rig {
    gate_runtime_t *runtime;
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client;
    gate_pool_t *pool; /* of jobs; the runtime's */
} s_rig_t;

static gate_err_t s_bind(s_rig_t *rig, bool tcp, char front[S_ENDPOINT],
                         char back[S_ENDPOINT]) {
    gate_broker_bind(rig->broker, tcp ? "tcp://127.0.0.1:*" : "inproc://front");
    gate_broker_bind_backend(rig->broker,
                             tcp ? "tcp://127.0.0.1:*" : "inproc://back");
    gate_err_t e = gate_broker_start(rig->broker);
    const char *at = gate_broker_frontend(rig->broker, 0),
               *at_back = gate_broker_backend(rig->broker, 0);
    snprintf(front, S_ENDPOINT, "%s", at ? at : "");
    snprintf(back, S_ENDPOINT, "%s", at_back ? at_back : "");
    return e;
}

static bool s_is(const char *mode, const char *a, const char *b) {
    return !strcmp(mode, a) || !strcmp(mode, b);
}

static gate_err_t s_up(s_rig_t *rig, const char *mode) {
    gate_err_t e = GATE_OK;
    bool threads = s_is(mode, "thread", "thread-job");
    bool processes = s_is(mode, "process", "process-job");
    bool local = threads || processes || !strcmp(mode, "registry");
    bool lane = !strcmp(mode, "lane");
    char front[S_ENDPOINT] = "", back[S_ENDPOINT] = "";
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    gate_settings_set(settings, "threads", 1);
    gate_settings_set(settings, "processes", 1);
    gate_settings_set(settings, "process_spin_us", 0);
    gate_settings_set(settings, "route", local ? "local" : "broker");
    gate_settings_set(settings, "heartbeat", 600000); /* none while we count */
    gate_settings_set(settings, "lane", lane ? "always" : "off");
    gate_settings_set(settings, "linger", "off"); /* waiting is not counted */
    rig->runtime = gate_runtime_new(settings);
    rig->broker = gate_broker_new(rig->runtime);
    rig->service = gate_service_new(rig->runtime, "Bench");
    rig->client = gate_client_new(rig->runtime);
    if (!rig->broker || !rig->service || !rig->client)
        return GATE_NOMEM;
    if (!local)
        e = s_bind(rig, strcmp(mode, "inproc") != 0, front, back);
    if (strstr(mode, "-job"))
        rig->pool =
            (threads ? gate_runtime_threads : gate_runtime_procs)(rig->runtime);
    if (strstr(mode, "-job") && !rig->pool)
        return gate_error()->code;
    gate_service_methods(rig->service,
                         s_methods[processes ? 2
                                   : threads ? 1
                                             : 0],
                         NULL);
    if (!e)
        e = gate_service_start(rig->service, local ? NULL : back);
    if (!e && !local)
        e = gate_service_ready(rig->service, S_READY_MS);
    if (!e)
        e = gate_client_connect(rig->client, local ? NULL : front);
    return e ? e : gate_client_ready(rig->client, S_READY_MS);
}

/* Many under way at a time: what waiting threads do is up to the scheduler. */
static gate_err_t s_group(s_rig_t *rig) {
    static const char payload[64];
    gate_future_t *futures[S_GROUP];
    gate_err_t failed = GATE_OK;
    for (int i = 0; i < S_GROUP; i++) {
        gate_bytes_t in = {payload, sizeof payload};
        futures[i] = rig->pool
                         ? gate_submit(rig->pool, s_echo, in)
                         : gate_client_start(rig->client, "Bench.echo", in);
    }
    for (int i = 0; i < S_GROUP; i++) {
        gate_bytes_t out = {NULL, 0};
        gate_err_t e = gate_future_wait(futures[i], -1, &out);
        if (!e && out.size != sizeof payload)
            e = GATE_BADDATA;
        failed = failed ? failed : e;
        gate_future_destroy(&futures[i]);
    }
    return failed;
}

static gate_err_t s_calls(s_rig_t *rig, long calls) {
    gate_err_t e = GATE_OK;
    for (long i = 0; i < calls && !e; i += S_GROUP)
        e = s_group(rig);
    return e;
}

static int s_run(long calls, const char *mode) {
    s_rig_t rig = {0};
    gate_err_t e = s_up(&rig, mode);
    if (!e)
        e = s_calls(&rig, S_GROUP + calls);
    if (e)
        gate_perror("instructions");
    gate_client_destroy(&rig.client);
    gate_service_destroy(&rig.service);
    gate_broker_destroy(&rig.broker);
    gate_runtime_destroy(&rig.runtime);
    return e != GATE_OK;
}

int main(int argc, char **argv) {
    long calls = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    const char *mode = argc > 2 ? argv[2] : "registry";
    if (s_is(mode, "process", "process-job") && gate_process_init())
        return gate_perror("gate_process_init");
    int failed =
        !strcmp(mode, "reference") ? s_reference(calls) : s_run(calls, mode);
    printf("{\"bench\": \"instructions\", \"mode\": \"%s\", \"calls\": %ld, "
           "\"failed\": %d}\n",
           mode, calls, failed);
    return failed;
}
