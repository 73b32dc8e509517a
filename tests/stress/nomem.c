/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem.c -- the n-th allocation fails, for every n until a public call gets
 * through, once and from then on: an error or a result, no crash, no hang, no
 * leak (ASan), and the same objects work afterwards. nomem_calls.c,
 * nomem_pools.c and nomem_lives.c have more; house_nomem says whether all are
 * there. */
#include "nomem.h"
#include <stdlib.h>

#define FRONT "inproc://nomem-front"
#define BACK "inproc://nomem-back"
#define SHORT_MS nomem_wait_ms()

struct world {
    gate_runtime_t *runtime;
    gate_broker_t *broker;
    gate_service_t *service;
    gate_client_t *client, *local;
};

/* ---- the service --------------------------------------------------------- */
static gate_err_t add(gate_call_t *call) {
    int64_t a = 0, b = 0;
    gate_err_t e = gate_args(call, &a, &b);
    return e ? e : gate_return(call, a + b);
}

static gate_err_t twice(gate_call_t *call) {
    int64_t a = 0;
    gate_err_t e = gate_args(call, &a);
    return e ? e : gate_return(call, 2 * a);
}

static gate_err_t count(gate_call_t *call) {
    int64_t n = 0;
    gate_err_t e = gate_args(call, &n);
    for (int64_t i = 0; i < n && !e; i++)
        e = gate_yield(call, i);
    return e;
}

static const gate_method_t s_methods[] = {
    GATE_METHOD(add, .idempotent = true),
    GATE_METHOD(twice, .runs = GATE_THREAD),
    GATE_METHOD(count, .runs = GATE_THREAD), GATE_END};

/* ---- calls --------------------------------------------------------------- */
static gate_err_t s_sum(gate_client_t *client, const char *method) {
    int64_t got = -1;
    gate_err_t e = gate_client_call(client, method, &got, 20, 1,
                                    gate_timeout_ms(SHORT_MS));
    if (!e && got != 21)
        nomem_die("a wrong sum", got, e);
    return e;
}

static gate_err_t s_call(world_t *w) { return s_sum(w->client, "M.add"); }

static gate_err_t s_local(world_t *w) { return s_sum(w->local, "M.add"); }

static gate_err_t s_thread(world_t *w) {
    int64_t got = -1;
    return gate_client_call(w->client, "M.twice", &got, 4,
                            gate_timeout_ms(SHORT_MS));
}

static gate_err_t s_future(world_t *w) {
    int64_t got = -1;
    gate_future_t *future =
        gate_client_start(w->client, "M.add", 1, 2, gate_timeout_ms(SHORT_MS));
    gate_err_t e =
        future ? gate_future_wait(future, 2 * SHORT_MS, &got) : GATE_NOMEM;
    gate_future_destroy(&future);
    return e;
}

static gate_err_t s_drink(gate_client_t *client) {
    gate_stream_t *stream = NULL;
    int64_t item = 0, want = 0;
    gate_err_t e = gate_client_open(client, "M.count", &stream, 5,
                                    gate_timeout_ms(SHORT_MS));
    while (!e && !(e = gate_stream_next(stream, &item)))
        if (item != want++)
            nomem_die("an item out of order", item, e);
    gate_stream_destroy(&stream);
    return e == GATE_EOS ? GATE_OK : e;
}

static gate_err_t s_stream(world_t *w) { return s_drink(w->client); }

static gate_err_t s_stream_local(world_t *w) { return s_drink(w->local); }

static gate_err_t s_error(world_t *w) {
    int64_t got = 0;
    gate_err_t e =
        gate_client_call(w->client, "M.none", &got, gate_timeout_ms(SHORT_MS));
    return e == GATE_NOMETHOD ? GATE_OK : e ? e : GATE_BADDATA;
}

static gate_err_t s_services(world_t *w) {
    gate_value_t *names = NULL;
    gate_err_t e = gate_client_services(w->client, &names);
    gate_value_destroy(&names);
    return e;
}

static gate_err_t s_of(gate_value_t *value) {
    gate_err_t e = value ? GATE_OK : GATE_NOMEM;
    gate_value_destroy(&value);
    return e;
}

static gate_err_t s_swallow(void *ctx, const char *text, size_t size) {
    (void)ctx, (void)text, (void)size;
    return GATE_OK;
}

static gate_err_t s_metrics(world_t *w) {
    gate_value_t *snapshot = gate_monitor_snapshot(w->broker);
    gate_err_t e = snapshot ? gate_monitor_metrics(snapshot, true, s_swallow, w)
                            : GATE_NOMEM;
    gate_value_destroy(&snapshot);
    return e;
}

static gate_err_t s_stats(world_t *w) {
    gate_err_t e = s_of(gate_broker_stats(w->broker));
    e = e ? e : s_metrics(w);
    if (!e)
        e = s_of(gate_service_stats(w->service));
    return e ? e : s_of(gate_client_stats(w->client));
}

/* ---- lives --------------------------------------------------------------- */
static gate_err_t s_settings(world_t *w) {
    (void)w;
    gate_settings_t *settings = gate_settings_new(), *copy = NULL;
    gate_err_t e = GATE_NOMEM;
    if (settings) {
        gate_settings_set(settings, "timeout", 5);
        gate_settings_parse(settings, "worker_addr", "inproc://x");
        e = gate_settings_check(settings);
        copy = e ? NULL : gate_settings_dup(settings);
        e = e ? e : copy ? GATE_OK : GATE_NOMEM;
    }
    gate_settings_destroy(&copy);
    gate_settings_destroy(&settings);
    return e;
}

static gate_err_t s_value(world_t *w) {
    (void)w;
    static const char packed[] = "\x83\xa1"
                                 "a\x92\x01\xc0\xa1"
                                 "b\xa3"
                                 "xyz\xa1"
                                 "c\x80";
    gate_value_t *value = NULL;
    gate_err_t e = gate_value_decode(packed, sizeof packed - 1, NULL, &value);
    char *json = e ? NULL : gate_value_json(value);
    e = e ? e : json ? GATE_OK : GATE_NOMEM;
    free(json);
    gate_value_destroy(&value);
    return e;
}

static gate_err_t s_dict(world_t *w) {
    (void)w;
    gate_dict_t *dict = gate_dict_new(16, NULL);
    gate_err_t e = GATE_NOMEM;
    if (dict)
        e = gate_dict_set(dict, (gate_bytes_t){"k", 1}, dict, 0);
    gate_dict_destroy(&dict);
    return e;
}

static gate_err_t s_pool(world_t *w) {
    gate_pool_t *pool = gate_threads_new(w->runtime, NULL);
    gate_err_t e = pool ? s_of(gate_pool_stats(pool)) : GATE_NOMEM;
    gate_pool_destroy(&pool);
    return e;
}

static gate_err_t s_client(world_t *w) {
    gate_client_t *client = gate_client_new(w->runtime);
    gate_err_t e = GATE_NOMEM;
    if (client) {
        e = gate_client_connect(client, FRONT);
        e = e ? e : gate_client_ready(client, SHORT_MS);
        e = e ? e : s_sum(client, "M.add");
    }
    gate_client_destroy(&client);
    return e;
}

static gate_err_t s_service(world_t *w) {
    gate_service_t *service = gate_service_new(w->runtime, "Other");
    gate_err_t e = GATE_NOMEM;
    if (service) {
        gate_service_describe(service, "another");
        gate_service_methods(service, s_methods, NULL);
        e = gate_service_start(service, BACK);
        e = e ? e : gate_service_ready(service, SHORT_MS);
        e = e ? e : s_sum(w->client, "Other.add");
        e = e ? e : gate_service_drain(service, SHORT_MS);
    }
    gate_service_destroy(&service);
    return e;
}

static gate_err_t s_broker(world_t *w) {
    gate_broker_t *broker = gate_broker_new(w->runtime);
    gate_err_t e = GATE_NOMEM;
    if (broker) {
        gate_broker_bind(broker, "inproc://nomem-other-front");
        gate_broker_bind_backend(broker, "inproc://nomem-other-back");
        e = gate_broker_start(broker);
        e = e ? e : s_of(gate_broker_stats(broker));
    }
    gate_broker_destroy(&broker);
    return e;
}

static gate_err_t s_runtime(world_t *w) {
    (void)w;
    gate_runtime_t *runtime = gate_runtime_new(NULL);
    gate_err_t e = runtime ? gate_runtime_start(runtime) : GATE_NOMEM;
    gate_runtime_destroy(&runtime);
    return e;
}

/* ---- pools: the threads of this process ---------------------------------- */
static gate_err_t s_job(gate_future_t **future, int64_t want) {
    int64_t got = -1;
    gate_err_t e =
        *future ? gate_future_wait(*future, 10000, &got) : GATE_NOMEM;
    gate_future_destroy(future);
    if (!e && got != want)
        nomem_die("a wrong result", got, e);
    return e;
}

static gate_err_t s_submit(world_t *w) {
    gate_pool_t *pool = gate_runtime_threads(w->runtime);
    gate_job_options_t options = {.priority = GATE_HIGH};
    gate_future_t *future = pool ? gate_submit(pool, twice, (int64_t)4) : NULL;
    gate_err_t e = s_job(&future, 8);
    if (e)
        return e;
    future = gate_submit_with(pool, twice, &options, (int64_t)5);
    return s_job(&future, 10);
}

static gate_err_t s_read_up(gate_stream_t **stream, gate_err_t e) {
    int64_t item = 0, n = 0;
    while (!e && !(e = gate_stream_next(*stream, &item)))
        n += item;
    gate_stream_destroy(stream);
    if (e == GATE_EOS && n != 0 + 1 + 2)
        nomem_die("a wrong sum of items", n, e);
    return e == GATE_EOS ? GATE_OK : e;
}

static gate_err_t s_submit_stream(world_t *w) {
    gate_stream_t *stream = NULL;
    gate_pool_t *pool = gate_runtime_threads(w->runtime);
    gate_err_t e = pool ? gate_submit_stream(pool, count, &stream, (int64_t)3)
                        : GATE_NOMEM;
    return s_read_up(&stream, e);
}

static gate_err_t half(gate_call_t *call) {
    int64_t a = 0;
    gate_err_t e = gate_args(call, &a);
    return e ? e : gate_return(call, a / 2);
}

static gate_err_t s_map(world_t *w) {
    gate_stream_t *stream = NULL;
    gate_pool_t *pool = gate_runtime_threads(w->runtime);
    gate_items_t *inputs = gate_items_new();
    gate_err_t e = inputs && pool ? GATE_OK : GATE_NOMEM;
    for (int i = 0; i < 3 && !e; i++)
        e = gate_items_add(inputs, gate_list(2 * i));
    if (!e)
        e = gate_pool_map(pool, half, gate_items_data(inputs),
                          gate_items_size(inputs), true, &stream);
    gate_items_destroy(&inputs);
    return s_read_up(&stream, e);
}

static gate_err_t s_resize(world_t *w) {
    gate_pool_t *pool = gate_threads_new(w->runtime, NULL);
    gate_err_t e = pool ? gate_pool_resize(pool, 3) : GATE_NOMEM;
    e = e ? e : gate_pool_resize(pool, 1);
    e = e ? e : gate_pool_drain(pool, 1000);
    gate_pool_destroy(&pool);
    return e;
}

/* ---- what needs no peer -------------------------------------------------- */
static gate_err_t s_compress(world_t *w) {
    static char zeros[300000];
    void *packed = NULL, *plain = NULL;
    size_t n = 0, m = 0;
    gate_bytes_t in = {zeros, sizeof zeros};
    gate_err_t e = gate_compress(gate_runtime_threads(w->runtime), "gzip", 1,
                                 in, &packed, &n);
    if (!e)
        e = gate_decompress("gzip", (gate_bytes_t){packed, n}, sizeof zeros,
                            &plain, &m);
    if (!e && m != sizeof zeros)
        nomem_die("a wrong size", (long)m, e);
    free(packed);
    free(plain);
    return e;
}

static gate_err_t s_queue(world_t *w) {
    int64_t item = 0;
    gate_queue_t *queue = gate_queue_new(w->runtime, 4, 1024);
    gate_err_t e = queue ? gate_queue_put(queue, (int64_t)7, 0) : GATE_NOMEM;
    e = e ? e : gate_queue_get(queue, &item, 0);
    if (!e && item != 7)
        nomem_die("a wrong item", item, e);
    gate_queue_destroy(&queue);
    return e;
}

static gate_err_t s_args(world_t *w) {
    (void)w;
    gate_items_t *items = gate_items_new();
    gate_err_t added =
        items ? gate_items_add(items, gate_map(gate_kw("two", 2.0)))
              : GATE_NOMEM;
    gate_value_t *value =
        added ? NULL : gate_value_new_(gate_items_list(items));
    gate_items_destroy(&items);
    gate_value_t *shared = value ? gate_value_share(value) : NULL;
    gate_err_t e = shared ? GATE_OK : GATE_NOMEM;
    char *json = e ? NULL : gate_object_json(gate_value_object(shared));
    e = e ? e : json ? GATE_OK : GATE_NOMEM;
    free(json);
    gate_value_destroy(&shared);
    gate_value_destroy(&value);
    return e;
}

/* ---- calls by other ways ------------------------------------------------- */
static void s_set(void *ctx, gate_err_t e, const gate_value_t *value) {
    (void)value;
    *(gate_err_t *)ctx = e;
}

static gate_err_t s_then(world_t *w) {
    gate_err_t e = GATE_ERR_COUNT;
    gate_cq_t *cq = gate_cq_new();
    if (!cq)
        return GATE_NOMEM;
    gate_future_t *future =
        gate_client_start(w->client, "M.add", 1, 2, gate_timeout_ms(SHORT_MS));
    if (future)
        gate_future_then(&future, cq, s_set, &e);
    else
        e = GATE_NOMEM;
    (void)gate_cq_dispatch(cq, 8);
    for (int i = 0; e == GATE_ERR_COUNT && i < 100; i++)
        gate_cq_wait(cq, 8, 100);
    if (e == GATE_ERR_COUNT)
        nomem_die("no callback", 0, GATE_TIMEOUT);
    gate_cq_destroy(&cq);
    return e;
}

static gate_err_t s_cancel(world_t *w) {
    gate_future_t *future =
        gate_client_start(w->client, "M.add", 1, 2, gate_timeout_ms(SHORT_MS));
    if (!future)
        return GATE_NOMEM;
    gate_future_cancel(future);
    gate_err_t e = gate_future_wait(future, 2 * SHORT_MS, NULL);
    gate_future_destroy(&future);
    return e == GATE_CANCELLED ? GATE_OK : e;
}

static gate_err_t s_zap(world_t *w) {
    gate_zap_t *zap = gate_zap_new(w->runtime, "inproc://nomem-zap");
    gate_err_t e = GATE_NOMEM;
    if (zap) {
        gate_zap_plain(zap, "*", "user", "password");
        gate_zap_allow(zap, "127.0.0.1");
        e = gate_zap_start(zap);
        e = e ? e : s_of(gate_zap_stats(zap));
    }
    gate_zap_destroy(&zap);
    return e;
}

static gate_err_t s_broker_client(world_t *w) {
    gate_client_t *client = gate_broker_client(w->broker); /* borrowed */
    return client ? s_sum(client, "M.add") : gate_error()->code;
}

static const step_t s_steps[] = {
    {"settings", s_settings, 0}, {"value", s_value, 0},
    {"dict", s_dict, 0},         {"runtime", s_runtime, 0},
    {"pool", s_pool, 0},         {"call", s_call, 0},
    {"local call", s_local, 0},  {"call on a thread", s_thread, 0},
    {"future", s_future, 0},     {"error", s_error, 0},
    {"stream", s_stream, 0},     {"local stream", s_stream_local, 0},
    {"services", s_services, 0}, {"stats", s_stats, 0},
    {"client", s_client, 0},     {"service", s_service, 0},
    {"broker", s_broker, 0},     {"submit", s_submit, 0},
    {"map", s_map, 0},           {"submit stream", s_submit_stream, 0},
    {"resize", s_resize, 0},     {"compress", s_compress, 0},
    {"queue", s_queue, 0},       {"arguments", s_args, 0},
    {"callback", s_then, 0},     {"cancel", s_cancel, 0},
    {"zap", s_zap, 0},           {"broker's client", s_broker_client, 0},
};

/* ---- the world ----------------------------------------------------------- */
static gate_client_t *s_connect(gate_runtime_t *runtime) {
    gate_client_t *client = gate_client_new(runtime);
    gate_err_t e = gate_client_connect(client, FRONT);
    if (e || (e = gate_client_ready(client, 10000)))
        nomem_die("client", 0, e);
    return client;
}

static gate_runtime_t *s_make_runtime(const char *route) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", route);
    gate_settings_set(settings, "threads", 2);
    gate_settings_set(settings, "mdp_heartbeat_interval", 100);
    gate_settings_set(settings, "log_level", "error");
    return gate_runtime_new(settings);
}

static void s_begin(world_t *w) {
    w->runtime = s_make_runtime("auto");
    w->broker = gate_broker_new(w->runtime);
    gate_broker_bind(w->broker, FRONT);
    gate_broker_bind_backend(w->broker, BACK);
    gate_err_t e = gate_broker_start(w->broker);
    w->service = gate_service_new(w->runtime, "M");
    gate_service_methods(w->service, s_methods, NULL);
    e = e ? e : gate_service_start(w->service, BACK);
    e = e ? e : gate_service_ready(w->service, 10000);
    if (e)
        nomem_die("world", 0, e);
    w->local = s_connect(w->runtime);
    w->client = s_connect(w->runtime);
}

static void s_end(world_t *w) {
    gate_client_destroy(&w->client);
    gate_client_destroy(&w->local);
    gate_service_destroy(&w->service);
    gate_broker_destroy(&w->broker);
    gate_runtime_destroy(&w->runtime);
}

int main(int argc, char **argv) {
    world_t w;
    nomem_init();
    s_begin(&w);
    nomem_run(&w, s_steps, sizeof s_steps / sizeof *s_steps, argc, argv);
    s_end(&w);
    return 0;
}
