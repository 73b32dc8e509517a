/* SPDX-License-Identifier: BSD-3-Clause */
/* nulls.c -- base.h's rule: NULL where a function needs something is said, and
 * nothing is done. Each public function but those of handlers, with NULL for all
 * that is a pointer. */
#include <criterion/criterion.h>
#include "rig.h"

/* GATE_BADARG, and a story. */
#define S_SAYS(call)                                       \
    do {                                                   \
        cr_expect_eq((call), GATE_BADARG, "%s: %s", #call, \
                     gate_error()->text);                  \
        cr_expect(*gate_error()->text, "%s", #call);       \
    } while (0)
#define S_NONE(call) cr_expect_null((call), "%s", #call)

static void s_future(gate_future_t *future) {
    cr_expect_eq(gate_future_wait(future, 0, NULL), GATE_BADARG);
    gate_future_destroy(&future);
}

Test(nulls, every_function, .timeout = 60) {
    /* broker.h */
    S_NONE(gate_broker_new(NULL));
    gate_broker_destroy(NULL);
    gate_broker_bind(NULL, NULL);
    gate_broker_bind_backend(NULL, NULL);
    gate_broker_methods(NULL, NULL, NULL);
    gate_broker_use_zap(NULL, NULL, NULL);
    gate_broker_curve(NULL, NULL, NULL);
    gate_broker_plain(NULL, NULL);
    gate_broker_hand_over(NULL, NULL);
    S_SAYS(gate_broker_start(NULL));
    (void)gate_broker_frontend(NULL, 0);
    (void)gate_broker_backend(NULL, 0);
    S_NONE(gate_broker_client(NULL));
    S_SAYS(gate_broker_drain(NULL, 0));
    (void)gate_broker_is_replaced(NULL);
    S_NONE(gate_broker_stats(NULL));
    /* client.h */
    S_NONE(gate_client_new(NULL));
    gate_client_destroy(NULL);
    gate_client_plain(NULL, NULL, NULL);
    gate_client_curve(NULL, NULL, NULL);
    gate_client_plain_transport(NULL, NULL, NULL);
    gate_client_identity(NULL, NULL);
    S_SAYS(gate_client_connect(NULL, NULL));
    S_SAYS(gate_client_ready(NULL, 0));
    S_SAYS(gate_client_call_(NULL, NULL, gate_onone(NULL), NULL, 0));
    s_future(gate_client_start_(NULL, NULL, NULL, 0));
    S_SAYS(gate_client_open_(NULL, NULL, NULL, NULL, 0));
    S_SAYS(gate_client_services(NULL, NULL));
    S_NONE(gate_client_stats(NULL));
    /* curve.h */
    S_SAYS(gate_curve_keygen(NULL, NULL));
    /* dict.h */
    gate_dict_destroy(NULL);
    S_SAYS(gate_dict_set(NULL, (gate_bytes_t){NULL, 0}, NULL, 0));
    S_SAYS(gate_dict_get(NULL, (gate_bytes_t){NULL, 0}, NULL, 0));
    (void)gate_dict_has(NULL, (gate_bytes_t){NULL, 0});
    (void)gate_dict_size(NULL);
    (void)gate_dict_capacity(NULL);
    /* future.h */
    gate_future_destroy(NULL);
    S_SAYS(gate_future_wait_(NULL, 0, gate_onone(NULL)));
    (void)gate_future_ready(NULL);
    gate_future_cancel(NULL);
    (void)gate_future_error(NULL);
    gate_future_then(NULL, NULL, NULL, NULL);
    gate_cq_destroy(NULL);
    (void)gate_cq_fd(NULL);
    (void)gate_cq_dispatch(NULL, 0);
    (void)gate_cq_wait(NULL, 0, 0);
    /* huge.h */
    S_SAYS(gate_codec_register(NULL));
    S_SAYS(gate_huge_end(NULL));
    gate_huge_fail(NULL, NULL, NULL);
    gate_huge_destroy(NULL);
    S_SAYS(gate_decompress(NULL, (gate_bytes_t){NULL, 0}, 0, NULL, NULL));
    /* monitor.h */
    S_NONE(gate_monitor_snapshot(NULL));
    S_SAYS(gate_monitor_metrics(NULL, false, NULL, NULL));
    /* pool.h */
    S_NONE(gate_threads_new(NULL, NULL));
    S_NONE(gate_procs_new(NULL, NULL));
    S_NONE(gate_procs_new_with(NULL, NULL, NULL));
    S_NONE(gate_pool_custom(NULL, NULL, NULL));
    gate_pool_destroy(NULL);
    S_SAYS(gate_pool_drain(NULL, 0));
    S_SAYS(gate_pool_stop(NULL, 0, 0));
    S_SAYS(gate_pool_ready(NULL, 0));
    S_SAYS(gate_pool_room(NULL, 0));
    S_SAYS(gate_pool_resize(NULL, 0));
    S_NONE(gate_pool_stats(NULL));
    s_future(gate_submit_(NULL, NULL, NULL, 0));
    s_future(gate_submit_with_(NULL, NULL, NULL, NULL, 0));
    S_SAYS(gate_submit_then_(NULL, NULL, NULL, NULL, NULL, NULL, 0));
    S_SAYS(gate_submit_stream_(NULL, NULL, NULL, NULL, 0));
    S_SAYS(gate_pool_map(NULL, NULL, NULL, 0, false, NULL));
    gate_fn_register(NULL, NULL);
    /* queue.h */
    S_NONE(gate_queue_new(NULL, 0, 0));
    gate_queue_destroy(NULL);
    S_SAYS(gate_queue_put_(NULL, gate_int(0), 0));
    S_SAYS(gate_queue_get_(NULL, gate_onone(NULL), 0));
    gate_queue_close(NULL);
    /* runtime.h */
    gate_runtime_destroy(NULL);
    S_SAYS(gate_runtime_start(NULL));
    S_SAYS(gate_runtime_reload(NULL));
    (void)gate_runtime_wait(NULL);
    S_NONE(gate_runtime_threads(NULL));
    S_NONE(gate_runtime_procs(NULL));
    S_SAYS(gate_runtime_ready(NULL, 0));
    S_NONE(gate_runtime_settings(NULL));
    /* service.h */
    S_NONE(gate_service_new(NULL, NULL));
    gate_service_destroy(NULL);
    gate_service_describe(NULL, NULL);
    gate_service_methods(NULL, NULL, NULL);
    gate_service_default_runs(NULL, 0, NULL);
    gate_service_limit(NULL, 0);
    gate_service_workers(NULL, 0);
    gate_service_identity(NULL, NULL);
    gate_service_plain(NULL, NULL, NULL);
    gate_service_curve(NULL, NULL, NULL);
    gate_service_plain_transport(NULL, NULL, NULL);
    S_SAYS(gate_service_start(NULL, NULL));
    S_SAYS(gate_service_attach(NULL, NULL));
    S_SAYS(gate_service_ready(NULL, 0));
    S_SAYS(gate_service_drain(NULL, 0));
    (void)gate_service_name(NULL);
    S_NONE(gate_service_stats(NULL));
    /* settings.h */
    S_NONE(gate_settings_dup(NULL));
    gate_settings_destroy(NULL);
    S_SAYS(gate_settings_load(NULL, NULL));
    gate_settings_set_(NULL, NULL, gate_int(0));
    gate_settings_parse(NULL, NULL, NULL);
    S_SAYS(gate_settings_get_(NULL, NULL, gate_onone(NULL)));
    gate_settings_hooks(NULL, (gate_hooks_t){0});
    S_SAYS(gate_settings_check(NULL));
    gate_settings_each(NULL, NULL, NULL);
    gate_settings_list(NULL, NULL, NULL);
    /* shared.h */
    S_NONE(gate_shared_new(NULL, 0));
    gate_shared_destroy(NULL);
    S_NONE(gate_shared_data(NULL));
    (void)gate_shared_arg(NULL);
    /* stream.h */
    gate_stream_destroy(NULL);
    S_SAYS(gate_stream_next_(NULL, gate_onone(NULL)));
    S_SAYS(gate_stream_try_(NULL, gate_onone(NULL)));
    (void)gate_stream_fd(NULL);
    (void)gate_stream_index(NULL);
    (void)gate_stream_single(NULL);
    S_SAYS(gate_stream_read(NULL, NULL, NULL));
    S_SAYS(gate_stream_to_fn(NULL, NULL, NULL));
    S_SAYS(gate_stream_to_fd(NULL, 0));
    gate_stream_progress(NULL, NULL);
    (void)gate_stream_error(NULL);
    /* supervisor.h */
    S_NONE(gate_supervisor_new(NULL, NULL));
    gate_supervisor_destroy(NULL);
    gate_supervisor_add(NULL, NULL);
    gate_supervisor_add_service(NULL, NULL);
    gate_supervisor_add_supervisor(NULL, NULL, NULL);
    S_SAYS(gate_supervisor_start(NULL));
    S_SAYS(gate_supervisor_ready(NULL, 0));
    gate_supervisor_failed(NULL, NULL, 0);
    S_SAYS(gate_supervisor_check(NULL));
    (void)gate_supervisor_over(NULL);
    S_NONE(gate_supervisor_stats(NULL));
    /* value.h */
    (void)gate_str(NULL);
    (void)gate_strn(NULL, 0);
    (void)gate_bin(NULL, 0);
    (void)gate_obj(NULL);
    (void)gate_val(NULL);
    (void)gate_raw(NULL, 0);
    (void)gate_ext(0, NULL);
    (void)gate_queue_arg(NULL);
    (void)gate_huge_arg(NULL);
    (void)gate_kw_(NULL, gate_int(0));
    (void)gate_list_(NULL, 0);
    (void)gate_map_(NULL, 0);
    (void)gate_list_here_(NULL, 0);
    (void)gate_map_here_(NULL, 0);
    (void)gate_meta(NULL, NULL);
    gate_items_destroy(NULL);
    S_SAYS(gate_items_add_(NULL, gate_int(0)));
    S_NONE(gate_items_data(NULL));
    (void)gate_items_size(NULL);
    (void)gate_items_list(NULL);
    (void)gate_onone(NULL);
    (void)gate_oi64(NULL);
    (void)gate_oll(NULL);
    (void)gate_oint(NULL);
    (void)gate_ou64(NULL);
    (void)gate_of64(NULL);
    (void)gate_ouint(NULL);
    (void)gate_of32(NULL);
    (void)gate_oi16(NULL);
    (void)gate_ou16(NULL);
    (void)gate_oi8(NULL);
    (void)gate_ou8(NULL);
    (void)gate_obool(NULL);
    (void)gate_ostr(NULL);
    (void)gate_odup(NULL);
    (void)gate_obytes(NULL);
    (void)gate_oobj(NULL);
    (void)gate_oval(NULL);
    (void)gate_oqueue(NULL);
    (void)gate_kwslot_(NULL, gate_onone(NULL));
    S_SAYS(gate_value_decode(NULL, 0, NULL, NULL));
    gate_value_destroy(NULL);
    S_NONE(gate_value_share(NULL));
    S_NONE(gate_value_object(NULL));
    (void)gate_value_bytes(NULL);
    S_SAYS(gate_value_read_(NULL, NULL, gate_onone(NULL)));
    (void)gate_value_json(NULL);
    (void)gate_object_json(NULL);
    /* zap.h */
    S_NONE(gate_zap_new(NULL, NULL));
    gate_zap_destroy(NULL);
    gate_zap_plain(NULL, NULL, NULL, NULL);
    gate_zap_plain_file(NULL, NULL);
    gate_zap_check(NULL, NULL, NULL);
    gate_zap_allow(NULL, NULL);
    gate_zap_deny(NULL, NULL);
    S_SAYS(gate_zap_start(NULL));
    (void)gate_zap_endpoint(NULL);
    S_NONE(gate_zap_stats(NULL));
    S_SAYS(gate_zap_hash(NULL, NULL, 0));
}

/* Objects are there, and what else they need is not. */
Test(nulls, beside_an_object, .timeout = 60) {
    gate_settings_t *s = rig_settings();
    int *none = NULL;
    S_SAYS(gate_settings_get(s, NULL, none));
    S_SAYS(gate_settings_load(s, NULL));
    gate_settings_each(s, NULL, NULL);
    gate_settings_list(s, NULL, NULL);
    gate_settings_parse(s, NULL, "1");
    S_SAYS(gate_settings_check(s));
    gate_settings_destroy(&s);
    gate_value_t *v = gate_value_new(5);
    S_SAYS(gate_value_read(v, NULL, none));
    S_SAYS(gate_value_read(v, "", none));
    gate_value_destroy(&v);
    gate_runtime_t *rt = gate_runtime_new(NULL);
    gate_service_t *service = gate_service_new(rt, "Null");
    gate_service_methods(service, NULL, NULL);
    S_SAYS(gate_service_start(service, NULL));
    gate_service_destroy(&service);
    gate_broker_t *broker = gate_broker_new(rt);
    gate_broker_methods(broker, NULL, NULL);
    S_SAYS(gate_broker_start(broker));
    gate_broker_destroy(&broker);
    gate_runtime_destroy(&rt);
}

/* ---- each alone: the rest is as it should be ------------------------------ */
static gate_err_t one(gate_call_t *call) { return gate_return(call, 1); }
static const gate_method_t s_methods[] = {GATE_METHOD(one), GATE_END};

static void s_calls(gate_client_t *c) {
    gate_stream_t *stream = NULL;
    int64_t n = 0;
    S_SAYS(gate_client_call_(c, NULL, gate_oi64(&n), NULL, 0));
    S_SAYS(gate_client_call_(c, "Test.one", gate_oi64(NULL), NULL, 0));
    S_SAYS(gate_client_call_(c, "Test.one", gate_oi64(&n), NULL, 3));
    S_SAYS(gate_client_open_(c, "Test.one", &stream, NULL, 2));
    S_SAYS(gate_client_open_(c, "Test.one", NULL, NULL, 0));
    s_future(gate_client_start_(c, "Test.one", NULL, 3));
    s_future(gate_client_start_(c, NULL, NULL, 0));
}

/* A run of bytes or items that stands nowhere. */
static void s_runs(gate_client_t *c, gate_items_t *items) {
    const gate_arg_t none[] = {
        gate_strn(NULL, 5),       gate_bin(NULL, 5),      gate_raw(NULL, 5),
        gate_list_(NULL, 3),      gate_map_(NULL, 3),     gate_spread(NULL, 5),
        gate_list_here_(NULL, 3), gate_map_here_(NULL, 3)};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        S_SAYS(gate_client_call_(c, "Test.one", gate_onone(NULL), &none[i], 1));
        S_SAYS(gate_items_add_(items, none[i]));
        S_NONE(gate_value_new_(none[i]));
    }
}

static void s_pools(gate_pool_t *pool) {
    gate_stream_t *stream = NULL;
    s_future(gate_submit_(pool, one, NULL, 2));
    s_future(gate_submit_(pool, NULL, NULL, 0));
    S_SAYS(gate_submit_stream_(pool, one, &stream, NULL, 2));
    S_SAYS(gate_submit_stream_(pool, one, NULL, NULL, 0));
    S_SAYS(gate_pool_map(pool, one, NULL, 3, true, &stream));
    S_SAYS(gate_pool_map(pool, one, NULL, 0, true, NULL));
}

static void s_bytes(void) {
    const gate_bytes_t nowhere = {NULL, 5}, some = {"a", 1};
    gate_value_t *value = NULL;
    void *out = NULL;
    size_t size = 0;
    S_SAYS(gate_value_decode(NULL, 5, NULL, &value));
    S_SAYS(gate_compress(NULL, "gzip", 1, nowhere, &out, &size));
    S_SAYS(gate_compress(NULL, "gzip", 1, some, NULL, &size));
    S_SAYS(gate_compress(NULL, "gzip", 1, some, &out, NULL));
    S_SAYS(gate_decompress("gzip", nowhere, 10, &out, &size));
    S_SAYS(gate_decompress("gzip", some, 10, NULL, &size));
    S_SAYS(gate_decompress("gzip", some, 10, &out, NULL));
    gate_dict_t *dict = gate_dict_new(4, NULL);
    S_SAYS(gate_dict_set(dict, nowhere, NULL, 0));
    S_SAYS(gate_dict_get(dict, some, NULL, 0));
    gate_dict_destroy(&dict);
}

static void s_settings(void) {
    gate_settings_t *s = gate_settings_new();
    S_SAYS(gate_settings_load(s, NULL));
    S_SAYS(gate_settings_get_(s, NULL, gate_oi64(NULL)));
    S_SAYS(gate_settings_get_(s, "message_max", gate_oi64(NULL)));
    S_SAYS(gate_settings_get_(s, "timeout", gate_of64(NULL)));
    S_SAYS(gate_settings_get_(s, "worker_addr", gate_ostr(NULL)));
    gate_settings_parse(s, "timeout", NULL);
    gate_settings_parse(s, NULL, "1");
    gate_settings_each(s, NULL, NULL);
    gate_settings_list(s, NULL, NULL);
    gate_runtime_t *rt = gate_runtime_new(s);
    S_SAYS(gate_runtime_start(rt));
    gate_runtime_destroy(&rt);
    gate_settings_destroy(&s);
}

static void s_supervisors(gate_runtime_t *rt) {
    gate_supervisor_t *below = NULL, *self = gate_supervisor_new(rt, NULL);
    gate_supervisor_add_supervisor(self, "below", &below);
    S_SAYS(gate_supervisor_start(self));
    gate_supervisor_destroy(&self);
    self = gate_supervisor_new(rt, NULL);
    gate_supervisor_add_supervisor(self, "below", NULL);
    S_SAYS(gate_supervisor_start(self));
    gate_supervisor_destroy(&self);
}

static void s_foreign(gate_client_t *c) {
    gate_caller_t *caller = gate_caller_new(c);
    gate_answerer_t *answerer = gate_answerer_new();
    gate_bytes_t result;
    cr_expect_eq(gate_caller_take(caller, 0, NULL), 0);
    cr_expect_eq(gate_answerer_take(answerer, NULL), 0);
    gate_caller_cancel(caller, NULL);
    S_SAYS(gate_caller_call(caller, "Test.one", NULL, 0, NULL, 0, 100, NULL, 0,
                            NULL));
    S_SAYS(gate_caller_call(caller, "Test.one", NULL, 5, NULL, 0, 100, NULL, 0,
                            &result));
    S_SAYS(gate_caller_call(caller, "Test.one", NULL, 0, NULL, 0, 100, NULL, 2,
                            &result));
    S_NONE(
        gate_caller_start(caller, "Test.one", NULL, 0, NULL, 0, 100, NULL, 2));
    S_NONE(gate_caller_new(NULL));
    gate_caller_destroy(&caller);
    gate_answerer_destroy(&answerer);
}

Test(nulls, each_alone, .timeout = 60) {
    rig_t rig;
    rig_up(&rig, RIG_REGISTRY, NULL, s_methods, NULL);
    gate_items_t *items = gate_items_new();
    s_calls(rig.client);
    s_runs(rig.client, items);
    s_pools(gate_runtime_threads(rig.rt));
    s_bytes();
    s_settings();
    s_supervisors(rig.rt);
    s_foreign(rig.client);
    gate_items_destroy(&items);
    rig_down(&rig);
}
