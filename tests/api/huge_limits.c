/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_limits.c -- where the limits of a result lie, wherever its method runs:
 * beyond a plain message's to huge_max_bytes of what it carries, to the byte;
 * and who is beyond one gets an error that names it, and nothing else. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "rig.h"

#define PLAIN ((int64_t)65536)
#define HUGE ((int64_t)1 << 20)

#define OK(call)                                                          \
    do {                                                                  \
        gate_err_t e_ = (call);                                           \
        cr_assert_eq(e_, GATE_OK, "%s: %s: %s", #call, gate_err_name(e_), \
                     gate_error()->text);                                 \
    } while (0)

/* A ValueError, of ours or the service's. */
#define FAILS(says, call)                                                  \
    do {                                                                   \
        cr_assert(call, "%s", #call);                                      \
        cr_assert_str_eq(gate_error()->cls, "ValueError", "%s: %s", #call, \
                         gate_error()->text);                              \
        cr_assert(strstr(gate_error()->text, says), "%s: %s", #call,       \
                  gate_error()->text);                                     \
    } while (0)

__attribute__((constructor)) static void s_zygote(void) {
    if (gate_process_init() != GATE_OK)
        abort();
}

static gate_err_t bin(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    char *data = calloc(1, (size_t)n + 1);
    e = gate_return(call, gate_bin(data, (size_t)n));
    free(data);
    return e;
}

static gate_err_t str(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    char *data = malloc((size_t)n + 1);
    memset(data, 'a', (size_t)n);
    e = gate_return(call, gate_strn(data, (size_t)n));
    free(data);
    return e;
}

static gate_err_t data(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    return e ? e
             : gate_huge_data(call, calloc(1, (size_t)n + 1), (size_t)n, free,
                              NULL);
}

static gate_err_t items(gate_call_t *call) {
    int64_t n;
    gate_err_t e = gate_args(call, &n);
    if (e)
        return e;
    char *bytes = calloc(1, (size_t)n + 1);
    e = gate_yield(call, 1);
    for (int i = 0; i < 3 && !e; i++)
        e = gate_yield(call, gate_bin(bytes, (size_t)n));
    free(bytes);
    return e;
}

static gate_err_t nothing(gate_call_t *call) {
    GATE_OWN(gate_huge) h = gate_huge_new(call, NULL);
    return h ? gate_huge_end(&h) : gate_error()->code;
}

static gate_err_t pid(gate_call_t *call) { return gate_return(call, getpid()); }

static gate_err_t length(gate_call_t *call) {
    gate_bytes_t in;
    gate_err_t e = gate_args(call, &in);
    return e ? e : gate_return(call, (int64_t)in.size);
}

#define BOTH(n)                                        \
    {.name = #n "_t", .fn = n, .runs = GATE_THREAD}, { \
        .name = #n "_p", .fn = n, .runs = GATE_PROCESS \
    }

static const gate_method_t table[] = {
    BOTH(bin),
    BOTH(str),
    BOTH(data),
    BOTH(items),
    BOTH(nothing),
    {.name = "pid", .fn = pid, .runs = GATE_PROCESS},
    {.name = "length", .fn = length, .runs = GATE_INLINE},
    GATE_END,
};

static void s_up(rig_t *rig, rig_way_t way) {
    GATE_OWN(gate_settings) settings = rig_settings();
    gate_settings_set(settings, "msgpack_bin_max", PLAIN);
    gate_settings_set(settings, "msgpack_str_max", PLAIN);
    gate_settings_set(settings, "huge_max_bytes", HUGE);
    gate_settings_set(settings, "huge_threshold", PLAIN / 2);
    gate_settings_set(settings, "huge_plain_max", PLAIN / 2);
    gate_settings_set(settings, "processes", 1);
    rig_up(rig, way, settings, table, NULL);
}

static int64_t s_pid(rig_t *rig) {
    int64_t id = 0;
    OK(gate_client_call(rig->client, "Test.pid", &id));
    return id;
}

static void s_bytes(rig_t *rig, const char *method, int64_t n) {
    GATE_OWN(gate_value) value = NULL;
    OK(gate_client_call(rig->client, method, &value, n));
    const msgpack_object *o = gate_value_object(value);
    int64_t size = o->type == MSGPACK_OBJECT_STR ? (int64_t)o->via.str.size
                                                 : (int64_t)o->via.bin.size;
    cr_assert_eq(size, n, "%s: %lld", method, (long long)size);
}

/* A worker process that made too much of a value is alive, and the same one. */
Test(huge_limits, of_results_are_the_same_on_threads_and_in_processes,
     .timeout = 120) {
    static const char *const methods[] = {"Test.bin_t",  "Test.bin_p",
                                          "Test.str_t",  "Test.str_p",
                                          "Test.data_t", "Test.data_p"};
    static const rig_way_t ways[] = {RIG_IPC, RIG_REGISTRY};
    for (size_t w = 0; w < 2; w++) {
        rig_t rig;
        s_up(&rig, ways[w]);
        int64_t id = s_pid(&rig);
        for (size_t m = 0; m < 6; m++) {
            s_bytes(&rig, methods[m], PLAIN);
            s_bytes(&rig, methods[m], PLAIN + 1);
            s_bytes(&rig, methods[m], HUGE);
            FAILS("huge_max_bytes",
                  gate_client_call(rig.client, methods[m], NULL, HUGE + 1));
            FAILS("huge_max_bytes",
                  gate_client_call(rig.client, methods[m], NULL, HUGE + 5000));
        }
        cr_assert_eq(s_pid(&rig), id);
        rig_down(&rig);
    }
}

Test(huge_limits, an_item_that_is_too_large_ends_its_stream_not_its_worker,
     .timeout = 120) {
    static const char *const methods[] = {"Test.items_t", "Test.items_p"};
    rig_t rig;
    s_up(&rig, RIG_IPC);
    int64_t id = s_pid(&rig);
    for (int m = 0; m < 2; m++) {
        GATE_OWN(gate_stream) stream = NULL;
        GATE_OWN(gate_value) one = NULL;
        GATE_OWN(gate_value) two = NULL;
        OK(gate_client_open(rig.client, methods[m], &stream, PLAIN + 1));
        OK(gate_stream_next(stream, &one));
        FAILS("msgpack_bin_max", gate_stream_next(stream, &two));
    }
    cr_assert_eq(s_pid(&rig), id);
    rig_down(&rig);
}

/* A pool without RPC: the same error as of a pool of threads. */
static gate_err_t s_job(gate_call_t *call) { return bin(call); }

Test(huge_limits, of_a_pools_own_jobs, .timeout = 60) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "msgpack_bin_max", PLAIN);
    gate_settings_set(settings, "huge_max_bytes", HUGE);
    GATE_OWN(gate_runtime) rt = gate_runtime_new(settings);
    gate_pool_t *pools[] = {gate_runtime_threads(rt), gate_runtime_procs(rt)};
    const int64_t sizes[] = {PLAIN, PLAIN + 1, HUGE, HUGE + 1};
    for (int p = 0; p < 2; p++)
        for (int i = 0; i < 4; i++) {
            GATE_OWN(gate_value) value = NULL;
            GATE_OWN(gate_future) f = gate_submit(pools[p], s_job, sizes[i]);
            if (sizes[i] <= HUGE)
                OK(gate_future_wait(f, 20000, &value));
            else
                FAILS("huge_max_bytes", gate_future_wait(f, 20000, &value));
        }
}

/* huge_max_bytes is what a value carries, not what it packs to. */
Test(huge_limits, of_an_argument_to_the_byte, .timeout = 60) {
    static const rig_way_t ways[] = {RIG_IPC, RIG_REGISTRY};
    for (size_t w = 0; w < 2; w++) {
        rig_t rig;
        s_up(&rig, ways[w]);
        char *bytes = calloc(1, HUGE + 1);
        for (int64_t n = HUGE; n <= HUGE + 1; n++) {
            int64_t got = 0;
            GATE_OWN(gate_huge)
            h = gate_huge_arg_data(bytes, (size_t)n, NULL, NULL);
            gate_err_t e = gate_client_call(rig.client, "Test.length", &got, h);
            cr_assert_eq(e == GATE_OK, n == HUGE, "%s: %s", rig_name(ways[w]),
                         gate_error()->text);
            if (e)
                cr_assert(strstr(gate_error()->text, "huge_max_bytes"), "%s",
                          gate_error()->text);
            else
                cr_assert_eq(got, n);
        }
        free(bytes);
        rig_down(&rig);
    }
}

/* No options are the defaults, for those that are fed as for their sisters. */
Test(huge_limits, no_options_are_an_empty_bin, .timeout = 60) {
    rig_t rig;
    s_up(&rig, RIG_IPC);
    int64_t got = 1;
    s_bytes(&rig, "Test.nothing_t", 0);
    s_bytes(&rig, "Test.nothing_p", 0);
    GATE_OWN(gate_huge) h = gate_huge_arg_new(NULL);
    cr_assert(h, "%s", gate_error()->text);
    GATE_OWN(gate_future)
    f = gate_client_start(rig.client, "Test.length", h);
    OK(gate_huge_end(&h));
    OK(gate_future_wait(f, 20000, &got));
    cr_assert_eq(got, 0);
    rig_down(&rig);
}
