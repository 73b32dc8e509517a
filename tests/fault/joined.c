/* SPDX-License-Identifier: BSD-3-Clause */
/* joined.c -- see joined.h. */
#include "joined.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEEN_MS 60000
#define LOOK_MS 10
#define ITEMS 100
#define ITEM_MS 5
#define HUGE (20 << 20)

/* ---- brokers ------------------------------------------------------------- */
void joined_init(int argc, char **argv, int beat_ms) {
    char text[16];
    const char *why = nats_missing();
    if (why) {
        printf("skipped: %s\n", why);
        exit(77);
    }
    snprintf(text, sizeof text, "%d", beat_ms);
    setenv("GATE_UPLINK_HEARTBEAT_MS", text, 1);
    child_init(argc, argv);
}

void joined_server(nats_server_t *self) {
    if (!nats_begin(self, NULL))
        child_die("nats-server does not start");
}

void joined_start(joined_t *self, gate_runtime_t *runtime, const char *name,
                  const char *urls) {
    char file[32];
    self->name = name;
    self->urls = urls;
    snprintf(file, sizeof file, "%s.f", name);
    child_ipc(file, self->front, sizeof self->front);
    snprintf(file, sizeof file, "%s.b", name);
    child_ipc(file, self->back, sizeof self->back);
    const char *args[] = {
        "broker",   "--frontend", self->front,     "--backend", self->back,
        "--uplink", urls,         "--uplink-name", name,        NULL};
    child_start(&self->broker, args);
    if (self->client == NULL)
        self->client = lanes_client(runtime, self->front);
}

void joined_end(joined_t *self) {
    gate_client_destroy(&self->client);
    child_end(&self->broker);
}

/* ---- looking ------------------------------------------------------------- */
static bool s_lists(gate_client_t *client, const char *service) {
    GATE_OWN(gate_value) names = NULL;
    if (gate_client_services(client, &names))
        return false;
    const msgpack_object *list = gate_value_object(names);
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object_str *name = &list->via.array.ptr[i].via.str;
        if (name->size == strlen(service) &&
            memcmp(name->ptr, service, name->size) == 0)
            return true;
    }
    return false;
}

void joined_await(joined_t *self, const char *service, bool there) {
    double end = child_now_ms() + SEEN_MS * child_slow();
    while (s_lists(self->client, service) != there) {
        if (child_now_ms() > end)
            child_die("%s is%s seen at %s", service, there ? " not" : " still",
                      self->name);
        child_sleep_ms(LOOK_MS);
    }
}

double joined_back(joined_t *self) {
    double begin = child_now_ms();
    int64_t sum = 0;
    while (gate_client_call(self->client, "Demo.add", &sum, 1, 2,
                            gate_timeout_ms(SEEN_MS))) {
        if (child_now_ms() - begin > SEEN_MS * child_slow())
            child_die("no call from %s is answered: %s", self->name,
                      gate_error()->text);
        child_sleep_ms(LOOK_MS);
    }
    child_check(sum == 3, "the sum");
    return child_now_ms() - begin;
}

int64_t joined_count(joined_t *self, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "uplink.%s", name);
    return lanes_count(self->client, path);
}

int64_t joined_in_flight(joined_t *self) {
    return lanes_count(self->client, "in_flight");
}

/* ---- flows --------------------------------------------------------------- */
struct joined_flow {
    joined_t *at;
    pthread_t streamer, reader;
    atomic_bool stop;
    size_t streams, huge;
};

static bool s_stream(joined_flow_t *self) {
    GATE_OWN(gate_stream) stream = NULL;
    int64_t item = -1, want = 0;
    gate_err_t e = gate_client_open(self->at->client, "Demo.slow_gen", &stream,
                                    ITEMS, ITEM_MS);
    while (!e && !(e = gate_stream_next(stream, &item)) && item == want)
        want++;
    if (e == GATE_EOS && want == ITEMS)
        return true;
    child_fail("a stream, item %lld: %s %s", (long long)want, gate_err_name(e),
               gate_error()->text);
    return false;
}

static void *s_streams(void *arg) {
    joined_flow_t *self = arg;
    while (!atomic_load(&self->stop) && s_stream(self))
        self->streams++;
    return NULL;
}

static uint64_t s_sum(gate_bytes_t bytes) {
    const unsigned char *p = bytes.data;
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < bytes.size; i++)
        sum = (sum ^ p[i]) * 1099511628211u;
    return sum;
}

static bool s_huge(joined_flow_t *self, uint64_t *sum) {
    GATE_OWN(gate_value) value = NULL;
    gate_bytes_t bytes = {0};
    gate_err_t e = gate_client_call(self->at->client, "Demo.huge", &value, HUGE,
                                    "hex", gate_timeout_ms(10 * SEEN_MS));
    if (!e)
        e = gate_value_read(value, "", &bytes);
    uint64_t got = e ? 0 : s_sum(bytes);
    if (*sum == 0)
        *sum = got;
    if (!e && bytes.size == HUGE && got == *sum)
        return true;
    child_fail("a huge result of %zu bytes: %s %s", bytes.size,
               gate_err_name(e), gate_error()->text);
    return false;
}

static void *s_results(void *arg) {
    joined_flow_t *self = arg;
    uint64_t sum = 0;
    while (!atomic_load(&self->stop) && s_huge(self, &sum))
        self->huge++;
    return NULL;
}

joined_flow_t *joined_flow_start(joined_t *at) {
    joined_flow_t *self = calloc(1, sizeof *self);
    if (!self)
        child_die("no memory");
    self->at = at;
    if (pthread_create(&self->streamer, NULL, s_streams, self) ||
        pthread_create(&self->reader, NULL, s_results, self))
        child_die("no thread");
    return self;
}

void joined_flow_stop(joined_flow_t **self_p, size_t *streams, size_t *huge) {
    joined_flow_t *self = *self_p;
    atomic_store(&self->stop, true);
    pthread_join(self->streamer, NULL);
    pthread_join(self->reader, NULL);
    *streams = self->streams;
    *huge = self->huge;
    free(self);
    *self_p = NULL;
}
