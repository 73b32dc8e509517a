/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem_calls.c -- see nomem.c: what a handler, a job and a caller can ask of a
 * call, inline, on threads and in worker processes. */
#include "nomem.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRONT "inproc://nomem-calls-front"
#define BACK "inproc://nomem-calls-back"
#define SHORT_MS nomem_wait_ms()
#define HUGE 200000 /* bytes; more than huge_threshold and one frame */

struct world {
    gate_runtime_t *runtime;
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client, *local;
    gate_pool_t *threads, *custom;
};

static world_t s_world; /* handlers use its client */
static char s_bytes[HUGE];

static gate_err_t s_own_error(void) { return gate_error()->code; }

/* ---- handlers ------------------------------------------------------------ */
static gate_err_t seven(gate_call_t *call) {
    msgpack_packer *packer = gate_call_packer(call);
    if (!packer)
        return s_own_error();
    msgpack_pack_int(packer, 7);
    return GATE_OK;
}

static gate_err_t kept(gate_call_t *call) {
    gate_call_t *mine = gate_call_keep(call);
    if (!mine)
        return s_own_error();
    gate_finish(&mine, 7);
    return GATE_KEPT;
}

static gate_err_t kept_failed(gate_call_t *call) {
    gate_call_t *mine = gate_call_keep(call);
    if (!mine)
        return s_own_error();
    gate_fail(&mine, "KeyError", "as it should");
    return GATE_KEPT;
}

static gate_err_t raised(gate_call_t *call) {
    return gate_raise(call, "KeyError", "%s", "as it should");
}

typedef struct count {
    int n;
} count_t;

static gate_err_t s_next(gate_call_t *call, void *state) {
    count_t *count = state;
    return gate_call_cancelled(call) ? GATE_CANCELLED
           : count->n == 3           ? GATE_EOS
                                     : gate_yield(call, count->n++);
}

static gate_err_t generated(gate_call_t *call) {
    count_t *count = calloc(1, sizeof *count);
    return gate_generate(call, s_next, count, free);
}

static gate_err_t half(gate_call_t *call) {
    int64_t n = 0;
    gate_err_t e = gate_args(call, &n);
    return e ? e : gate_return(call, n / 2);
}

static gate_err_t s_then(gate_call_t *call, gate_err_t e,
                         const gate_value_t *value) {
    int64_t n = 0;
    e = e ? e : gate_value_read(value, "", &n);
    return e ? e : gate_return(call, n);
}

static gate_err_t run_on(gate_call_t *call) {
    return gate_call_run(call, s_world.threads, half, gate_int(14), s_then);
}

/* What can be known of it, as a list. */
static gate_err_t about(gate_call_t *call) {
    const msgpack_object *args = gate_call_raw_args(call);
    const msgpack_object *kwargs = gate_call_raw_kwargs(call);
    const char *key = gate_call_meta_at(call, 0, NULL);
    const char *meta = gate_call_meta(call, "traceparent");
    return gate_return(
        call,
        gate_list(args ? (int)args->via.array.size : -1,
                  kwargs ? (int)kwargs->via.map.size : -1, gate_call_user(call),
                  gate_call_client(call), gate_call_time_left_ms(call),
                  gate_call_attempt(call) + (int)gate_call_priority(call), key,
                  meta, gate_call_method(call)));
}

static gate_err_t onwards(gate_call_t *call) {
    GATE_OWN(gate_value) got = NULL;
    if (!gate_call_runtime(call) || gate_call_ctx(call))
        return gate_raise(call, "RuntimeError", "a call without a runtime");
    gate_err_t e =
        gate_client_call(s_world.local, "C.about", &got, 1, gate_meta_of(call),
                         gate_timeout_ms(SHORT_MS));
    return e ? e : gate_return(call, got);
}

static gate_err_t fed(gate_call_t *call) {
    gate_huge_options_t options = {.size = HUGE};
    gate_huge_t *huge = gate_huge_new(call, &options);
    gate_err_t e = huge ? GATE_OK : s_own_error();
    for (int i = 0; i < 4 && !e; i++)
        e = gate_huge_put(huge, s_bytes, HUGE / 4);
    e = e ? e : gate_huge_flush(huge);
    e = e ? e : gate_huge_end(&huge);
    gate_huge_destroy(&huge);
    return e;
}

static gate_err_t fed_failed(gate_call_t *call) {
    gate_huge_options_t options = {.size = HUGE};
    gate_huge_t *huge = gate_huge_new(call, &options);
    if (!huge)
        return s_own_error();
    gate_err_t e = gate_huge_put(huge, s_bytes, HUGE / 2);
    (void)e; /* failing is what it is for */
    gate_huge_fail(&huge, "KeyError", "as it should");
    return GATE_KEPT;
}

static gate_err_t whole(gate_call_t *call) {
    return gate_huge_data(call, s_bytes, HUGE, NULL, NULL);
}

static gate_err_t of_fd(gate_call_t *call) {
    int fd = memfd_create("nomem", MFD_CLOEXEC);
    if (fd < 0 || write(fd, s_bytes, HUGE) != HUGE || lseek(fd, 0, SEEK_SET))
        nomem_die("memfd", 0, GATE_SYSTEM);
    return gate_huge_fd(call, fd, NULL);
}

static gate_err_t size(gate_call_t *call) {
    gate_bytes_t data;
    gate_err_t e = gate_args(call, &data);
    return e ? e : gate_return(call, data.size);
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(seven),
    GATE_METHOD(kept),
    GATE_METHOD(kept_failed),
    GATE_METHOD(raised),
    GATE_METHOD(generated),
    GATE_METHOD(run_on),
    GATE_METHOD(about),
    GATE_METHOD(size),
    GATE_METHOD(onwards, .runs = GATE_THREAD),
    GATE_METHOD(fed, .runs = GATE_THREAD),
    GATE_METHOD(fed_failed, .runs = GATE_THREAD),
    GATE_METHOD(whole, .runs = GATE_THREAD),
    GATE_METHOD(of_fd, .runs = GATE_THREAD),
    {.name = "half_process", .fn = half, .runs = GATE_PROCESS},
    {.name = "half_custom", .fn = half, .runs = GATE_CUSTOM},
    GATE_END};

/* ---- calls --------------------------------------------------------------- */
static gate_err_t s_want(gate_err_t e, int64_t got, int64_t want) {
    if (!e && got != want)
        nomem_die("a wrong answer", (long)got, e);
    return e;
}

static gate_err_t s_number(gate_client_t *client, const char *method,
                           int64_t arg, int64_t want) {
    int64_t got = -1;
    gate_err_t e = arg < 0 ? gate_client_call(client, method, &got,
                                              gate_timeout_ms(SHORT_MS))
                           : gate_client_call(client, method, &got, arg,
                                              gate_timeout_ms(SHORT_MS));
    return s_want(e, got, want);
}

/* The handler's own KeyError, else what went wrong. */
static gate_err_t s_key_error(world_t *w, const char *method) {
    gate_err_t e = gate_client_call(w->client, method, (void *)NULL,
                                    gate_timeout_ms(SHORT_MS));
    return e == GATE_RAISED && !strcmp(gate_error()->cls, "KeyError") ? GATE_OK
           : e                                                        ? e
               : GATE_BADDATA;
}

static gate_err_t s_packer(world_t *w) {
    return s_number(w->client, "C.seven", -1, 7);
}

static gate_err_t s_keep(world_t *w) {
    gate_err_t e = s_number(w->client, "C.kept", -1, 7);
    return e ? e : s_number(w->local, "C.kept", -1, 7);
}

static gate_err_t s_keep_fail(world_t *w) {
    return s_key_error(w, "C.kept_failed");
}

static gate_err_t s_raise(world_t *w) { return s_key_error(w, "C.raised"); }

static gate_err_t s_run(world_t *w) {
    return s_number(w->client, "C.run_on", -1, 7);
}

static gate_err_t s_method_process(world_t *w) {
    return s_number(w->client, "C.half_process", 14, 7);
}

static gate_err_t s_method_custom(world_t *w) {
    return s_number(w->client, "C.half_custom", 14, 7);
}

static gate_err_t s_open(world_t *w, const char *method,
                         gate_stream_t **stream) {
    return gate_client_open(w->client, method, stream,
                            gate_timeout_ms(SHORT_MS));
}

static gate_err_t s_generate(world_t *w) {
    gate_stream_t *stream = NULL;
    int64_t item = -1, n = 0;
    gate_err_t e = s_open(w, "C.generated", &stream);
    while (!e && !(e = gate_stream_next(stream, &item)))
        n = s_want(GATE_OK, item, n) + n + 1;
    gate_stream_destroy(&stream);
    return e == GATE_EOS ? s_want(GATE_OK, n, 3) : e;
}

/* Never waits in the stream, but in poll(). */
static gate_err_t s_polled(world_t *w) {
    gate_stream_t *stream = NULL;
    int64_t item = -1, looks = 0;
    gate_err_t e = s_open(w, "C.generated", &stream);
    if (!e && gate_stream_fd(stream) < 0)
        e = GATE_NOMEM;
    while (!e && looks++ < 1000) {
        e = gate_stream_try(stream, &item);
        if (e == GATE_BUSY)
            e = usleep(1000) ? GATE_SYSTEM : GATE_OK;
    }
    if (!e)
        e = GATE_TIMEOUT;
    gate_stream_destroy(&stream);
    return e == GATE_EOS ? GATE_OK : e;
}

/* Where its time went is told, or it is not known: never half of it. */
static gate_err_t s_trace(world_t *w) {
    GATE_OWN(gate_trace) above = gate_trace_new(NULL);
    if (!above)
        return gate_error()->code;
    GATE_OWN(gate_trace) trace = gate_trace_new(gate_trace_parent(above));
    if (!trace)
        return gate_error()->code;
    gate_err_t e =
        gate_client_call(w->client, "C.about", NULL, 1, gate_trace_arg(trace),
                         gate_timeout_ms(SHORT_MS));
    bool told = gate_trace_us(trace, GATE_TRACE_HANDLER) >= 0;
    if (told != (gate_trace_run(trace) > 0) ||
        told != (*gate_trace_worker(trace) != 0))
        return GATE_BADDATA;
    gate_trace_t *none = NULL;
    gate_trace_destroy(&none);
    return e;
}

static gate_err_t s_meta(world_t *w) {
    GATE_OWN(gate_value) got = NULL;
    const char *text = NULL;
    gate_err_t e = gate_client_call(w->client, "C.onwards", &got,
                                    gate_meta("traceparent", "00-12"),
                                    gate_meta("priority", "high"),
                                    gate_retry(2), gate_timeout_ms(SHORT_MS));
    return e ? e : gate_value_read(got, "7", &text);
}

/* ---- huge ---------------------------------------------------------------- */
static gate_err_t s_huge(gate_client_t *client, const char *method) {
    gate_bytes_t got = {0};
    gate_err_t e =
        gate_client_call(client, method, &got, gate_timeout_ms(2 * SHORT_MS));
    return s_want(e, (int64_t)got.size, HUGE);
}

static gate_err_t s_fed(world_t *w) { return s_huge(w->client, "C.fed"); }

static gate_err_t s_fed_local(world_t *w) { return s_huge(w->local, "C.fed"); }

static gate_err_t s_whole(world_t *w) { return s_huge(w->client, "C.whole"); }

static gate_err_t s_of_fd(world_t *w) { return s_huge(w->client, "C.of_fd"); }

static gate_err_t s_fed_fail(world_t *w) {
    return s_key_error(w, "C.fed_failed");
}

static gate_err_t s_read_huge(world_t *w) {
    static char room[HUGE];
    gate_stream_t *stream = NULL;
    gate_progress_t progress = {0};
    size_t all = 0, n = sizeof room;
    gate_err_t e = s_open(w, "C.whole", &stream);
    while (!e && !(e = gate_stream_read(stream, room, &n))) {
        all += n;
        n = sizeof room;
    }
    if (stream)
        gate_stream_progress(stream, &progress);
    gate_stream_destroy(&stream);
    return e == GATE_EOS ? s_want(GATE_OK, (int64_t)all, HUGE) : e;
}

static gate_err_t s_piece(void *ctx, const void *data, size_t n) {
    (void)data;
    *(int64_t *)ctx += (int64_t)n;
    return GATE_OK;
}

static gate_err_t s_read_fn(world_t *w) {
    gate_stream_t *stream = NULL;
    int64_t all = 0;
    gate_err_t e = s_open(w, "C.fed", &stream);
    e = e ? e : gate_stream_to_fn(stream, s_piece, &all);
    gate_stream_destroy(&stream);
    return s_want(e, all, HUGE);
}

static gate_err_t s_read_fd(world_t *w) {
    gate_stream_t *stream = NULL;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    gate_err_t e = s_open(w, "C.fed", &stream);
    e = e ? e : gate_stream_to_fd(stream, fd);
    gate_stream_destroy(&stream);
    close(fd);
    return e;
}

/* More than message_bytes_max: it goes in chunks. */
static gate_err_t s_huge_args(world_t *w) {
    int64_t got = -1;
    gate_err_t e =
        gate_client_call(w->client, "C.size", &got, gate_bin(s_bytes, HUGE),
                         gate_timeout_ms(2 * SHORT_MS));
    return s_want(e, got, HUGE);
}

/* Takes the value. */
static gate_err_t s_size_of(world_t *w, gate_huge_t *huge) {
    int64_t got = -1;
    if (!huge)
        return s_own_error();
    gate_err_t e = gate_client_call(w->client, "C.size", &got, huge,
                                    gate_timeout_ms(2 * SHORT_MS));
    gate_huge_destroy(&huge);
    return s_want(e, got, HUGE);
}

static gate_err_t s_arg_data(world_t *w) {
    return s_size_of(w, gate_huge_arg_data(s_bytes, HUGE, NULL, NULL));
}

static gate_err_t s_arg_fd(world_t *w) {
    int fd = memfd_create("nomem", MFD_CLOEXEC);
    if (fd < 0 || write(fd, s_bytes, HUGE) != HUGE || lseek(fd, 0, SEEK_SET))
        nomem_die("memfd", 0, GATE_SYSTEM);
    return s_size_of(w, gate_huge_arg_fd(fd, NULL));
}

static gate_err_t s_arg_fed(world_t *w) {
    gate_huge_options_t options = {.size = HUGE};
    gate_huge_t *huge = gate_huge_arg_new(&options);
    int64_t got = -1;
    if (!huge)
        return s_own_error();
    gate_future_t *future = gate_client_start(w->client, "C.size", huge,
                                              gate_timeout_ms(2 * SHORT_MS));
    gate_err_t e = GATE_OK;
    for (int i = 0; i < 4 && !e; i++)
        e = gate_huge_put(huge, s_bytes, HUGE / 4);
    if (!e)
        e = gate_huge_flush(huge);
    if (!e)
        e = gate_huge_end(&huge);
    gate_huge_destroy(&huge);
    gate_err_t told = gate_future_wait(future, 4 * SHORT_MS, &got);
    gate_future_destroy(&future);
    return s_want(told ? told : e, got, HUGE);
}

static void *s_codec_open(bool compress, int level) {
    (void)compress;
    (void)level;
    return NULL;
}

static void s_codec_close(void *self) { (void)self; }

static gate_err_t s_codec_step(void *self, gate_bytes_t *in, void *out,
                               size_t *out_size, bool finish) {
    (void)self, (void)in, (void)out, (void)out_size, (void)finish;
    return gate_codec_error(GATE_NOMEM, "no memory for a step");
}

static gate_err_t s_codec(world_t *w) {
    static const gate_codec_t codec = {"nomem-codec", s_codec_open,
                                       s_codec_close, s_codec_step};
    gate_err_t e = gate_codec_register(&codec);
    (void)w;
    if (codec.step(NULL, NULL, NULL, NULL, true) != GATE_NOMEM)
        return GATE_RAISED;
    return e == GATE_BADARG ? GATE_OK : e; /* it is there */
}

static const step_t s_all[] = {
    {"packer", s_packer, 0},
    {"keep", s_keep, 0},
    {"keep and fail", s_keep_fail, 0},
    {"raise", s_raise, 0},
    {"run", s_run, 0},
    {"generate", s_generate, 0},
    {"try", s_polled, 0},
    {"metadata", s_meta, 7},
    {"trace", s_trace, 5},
    {"method on processes", s_method_process, 0},
    {"method on a custom pool", s_method_custom, 0},
    {"huge put", s_fed, 7},
    {"huge put, local", s_fed_local, 7},
    {"huge data", s_whole, 7},
    {"huge fd", s_of_fd, 7},
    {"huge fail", s_fed_fail, 0},
    {"huge read", s_read_huge, 7},
    {"huge to fn", s_read_fn, 7},
    {"huge to fd", s_read_fd, 7},
    {"huge arguments", s_huge_args, 7},
    {"huge argument, kept", s_arg_data, 7},
    {"huge argument, file", s_arg_fd, 7},
    {"huge argument, fed", s_arg_fed, 7},
    {"codec", s_codec, 0},
};

/* ---- the world ----------------------------------------------------------- */
static gate_err_t s_at_once(void *ctx, void (*run)(void *arg), void *arg) {
    (void)ctx;
    run(arg);
    return GATE_OK;
}

static gate_client_t *s_connect(gate_runtime_t *runtime, const char *front) {
    gate_client_t *client = gate_client_new(runtime);
    gate_err_t e = gate_client_connect(client, front);
    if (e || (e = gate_client_ready(client, 10000)))
        nomem_die("client", 0, e);
    return client;
}

static gate_runtime_t *s_make_runtime(const char *route) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", route);
    gate_settings_set(settings, "threads", 2);
    gate_settings_set(settings, "processes", 1);
    gate_settings_set(settings, "mdp_heartbeat_interval", 100);
    gate_settings_set(settings, "huge_threshold", HUGE / 2);
    gate_settings_set(settings, "message_bytes_max", HUGE - 1);
    gate_settings_set(settings, "log_level", "silent");
    return gate_runtime_new(settings);
}

static gate_method_t s_table[sizeof s_methods / sizeof *s_methods];

static void s_begin(world_t *w) {
    w->runtime = s_make_runtime("broker");
    w->threads = gate_runtime_threads(w->runtime);
    w->custom = gate_pool_custom(w->runtime, s_at_once, NULL);
    w->broker = gate_broker_new(w->runtime);
    gate_broker_bind(w->broker, FRONT);
    gate_broker_bind_backend(w->broker, BACK);
    gate_err_t e = gate_broker_start(w->broker);
    memcpy(s_table, s_methods, sizeof s_methods);
    for (gate_method_t *m = s_table; m->name; m++)
        if (m->runs == GATE_CUSTOM)
            m->pool = w->custom;
    w->service = gate_service_new(w->runtime, "C");
    gate_service_methods(w->service, s_table, NULL);
    e = e ? e : gate_service_start(w->service, BACK);
    e = e ? e : gate_service_ready(w->service, 10000);
    if (e || !w->custom)
        nomem_die("world", 0, e);
    w->client = s_connect(w->runtime, FRONT);
    w->local = s_connect(w->runtime, FRONT);
}

static void s_end(world_t *w) {
    gate_client_destroy(&w->client);
    gate_client_destroy(&w->local);
    gate_service_destroy(&w->service);
    gate_broker_destroy(&w->broker);
    gate_pool_destroy(&w->custom);
    gate_runtime_destroy(&w->runtime);
}

int main(int argc, char **argv) {
    nomem_init();
    if (gate_process_init())
        nomem_die("process init", 0, gate_error()->code);
    s_begin(&s_world);
    nomem_run(&s_world, s_all, sizeof s_all / sizeof *s_all, argc, argv);
    s_end(&s_world);
    return 0;
}
