/* SPDX-License-Identifier: BSD-3-Clause */
/* huge.c -- results too large for one frame, in both forms: given as a whole,
 * and fed piece by piece while they are being sent (here by a worker process).
 * They are compressed by the pool and arrive while they are made. */
#include "local.h"
#include <string.h>

#define SIZE (20 << 20)

static unsigned char byte_at(size_t i) { return (unsigned char)(i * i >> 7); }

/* The first form: the library keeps the memory until it is sent. */
static gate_err_t whole(gate_call_t *call) {
    unsigned char *data = malloc(SIZE);
    if (!data)
        return GATE_NOMEM;
    for (size_t i = 0; i < SIZE; i++)
        data[i] = byte_at(i);
    return gate_huge_data(call, data, SIZE, free, NULL);
}

/* The second: gate_huge_put waits when the reader is behind. */
static gate_err_t fed(gate_call_t *call) {
    gate_huge_options_t options = {.codec = "gzip", .level = 1, .size = SIZE};
    GATE_OWN(gate_huge) huge = gate_huge_new(call, &options);
    gate_err_t e = huge ? GATE_OK : gate_error()->code;
    unsigned char piece[4096];
    for (size_t at = 0; at < SIZE && !e; at += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = byte_at(at + i);
        e = gate_huge_put(huge, piece, sizeof piece);
    }
    return e ? e : gate_huge_end(&huge);
}

static gate_err_t broken(gate_call_t *call) {
    GATE_OWN(gate_huge)
    huge = gate_huge_new(call, &(gate_huge_options_t){.size = SIZE});
    static const char zeros[100000];
    for (int i = 0; i < 50; i++)
        if (gate_huge_put(huge, zeros, sizeof zeros))
            return gate_error()->code;
    gate_huge_fail(&huge, "OSError", "the disk is gone");
    return GATE_OK;
}

static const gate_method_t methods[] = {
    GATE_METHOD(whole, .runs = GATE_THREAD),
    GATE_METHOD(fed, .runs = GATE_PROCESS),
    GATE_METHOD(broken, .runs = GATE_THREAD),
    GATE_END,
};

/* As one value, like any other result. */
static int as_value(gate_client_t *client, const char *method) {
    gate_bytes_t got;
    size_t wrong = 0;
    if (gate_client_call(client, method, &got))
        return gate_perror(method);
    for (size_t i = 0; i < got.size; i++)
        wrong += ((const unsigned char *)got.data)[i] != byte_at(i);
    printf("%s: %zu bytes, %zu wrong\n", method, got.size, wrong);
    return got.size != SIZE || wrong;
}

typedef struct check {
    gate_stream_t *stream;
    size_t at, wrong;
} check_t;

static gate_err_t piece(void *ctx, const void *data, size_t size) {
    check_t *check = ctx;
    for (size_t i = 0; i < size; i++)
        check->wrong +=
            ((const unsigned char *)data)[i] != byte_at(check->at++);
    return GATE_OK;
}

/* As bytes that come: no memory for the whole, at any size. */
static int as_bytes(gate_client_t *client, const char *method) {
    GATE_OWN(gate_stream) stream = NULL;
    check_t check = {0};
    gate_progress_t progress;
    if (gate_client_open(client, method, &stream) ||
        gate_stream_to_fn(stream, piece, &check))
        return gate_perror(method);
    gate_stream_progress(stream, &progress);
    printf("%s: %zu bytes, %zu wrong, %.1f:1\n", method, check.at, check.wrong,
           (double)progress.done / (double)progress.wire);
    return check.at != SIZE || check.wrong;
}

static int run(gate_client_t *client) {
    int bad = as_value(client, "Demo.whole") + as_value(client, "Demo.fed") +
              as_bytes(client, "Demo.whole") + as_bytes(client, "Demo.fed");
    gate_err_t e = gate_client_call(client, "Demo.broken", NULL);
    printf("Demo.broken: %s: %s\n", gate_error()->cls, gate_error()->text);
    return bad + (e != GATE_RAISED);
}

int main(void) {
    local_t l;
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_settings) settings = gate_settings_new();
    /* over the broker, as from another process; by itself a call would stay in
     * this one, where nothing needs compressing */
    gate_settings_set(settings, "route", "broker");
    gate_settings_set(settings, "huge_policy", "compress");
    local_start(&l, settings, "Demo", methods);
    int code = run(l.client);
    local_stop(&l);
    return code;
}
