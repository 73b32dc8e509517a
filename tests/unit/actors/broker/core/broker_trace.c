/* SPDX-License-Identifier: BSD-3-Clause */
/* docs/extensions.md, where a call's time goes: what the broker makes of it. */
#include "broker_kit.h"

#define TR EXT "\x81\xa2tr\xc3" /* {"tr": true} */
/* {"ts": 5, "th": 7, "tw": "h:1"} */
#define TOLD EXT "\x83\xa2ts\x05\xa2th\x07\xa2tw\xa3h:1"

/* The extension frame behind a client's answer. */
static bool s_last(kit_t *k, unsigned n, gi_ext_t *ext) {
    said_t *m = kit_take(k, "c");
    cr_assert(m);
    gate_bytes_t last = {m->f[n].data, m->f[n].size};
    bool is = m->n == n + 1 && gi_ext_parse(last, ext) == GATE_OK;
    cr_expect_eq(is || m->n == n, true, "%u frames", m->n);
    if (is)
        ext->times.worker = (gate_bytes_t){NULL, ext->times.worker.size};
    free(m);
    return is;
}

Test(trace, a_worker_tells_and_the_broker_adds) {
    kit_t k;
    gi_ext_t ext;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", TR);
    reply(&k, "w", "c", "1", "x", TOLD);
    cr_assert(s_last(&k, 5, &ext));
    cr_expect_eq(ext.times.service_queue_us, 5);
    cr_expect_eq(ext.times.handler_us, 7);
    cr_expect_eq(ext.times.pool_wait_us, -1);
    cr_expect_eq(ext.times.worker.size, 3);
    cr_expect_geq(ext.times.broker_us, 0);
    cr_expect_geq(ext.times.broker_queue_us, 0);
    kit_end(&k);
}

Test(trace, a_plain_worker_has_the_brokers_alone) {
    kit_t k;
    gi_ext_t ext;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", TR);
    reply(&k, "w", "c", "1", STREAM, "\x01");
    cr_expect(!s_last(&k, 6, &ext), "an item has none");
    reply(&k, "w", "c", "1", STREAM, GI_STREAM_END);
    cr_assert(s_last(&k, 6, &ext));
    cr_expect_geq(ext.times.broker_us, 0);
    cr_expect_eq(ext.times.service_queue_us, -1);
    kit_end(&k);
}

/* Who did not ask hears nothing of it, and a worker that tells all the same has
 * made a malformed reply, as ever. */
Test(trace, nobody_else_is_told) {
    kit_t k;
    gi_ext_t ext;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT "\x81\xa2tr\xc2"); /* false */
    reply(&k, "w", "c", "1", "x");
    cr_expect(!s_last(&k, 5, &ext));
    request(&k, "c", "S", "2");
    reply(&k, "w", "c", "2", "x", TOLD);
    got_error(&k, "c", "2", "ValueError", "The worker's reply is malformed.");
    kit_end(&k);
}

/* What a worker makes up of the broker's own times counts for nothing. */
Test(trace, a_worker_that_lies) {
    static const char lie[] = EXT "\x83\xa2ts\x05\xa2tb\xcf\x7f\xff\xff\xff\xff"
                                  "\xff\xff\xff\xa2tq\xcd\x27\x10";
    kit_t k;
    gi_ext_t ext;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", TR);
    reply(&k, "w", "c", "1", "x", lie);
    cr_assert(s_last(&k, 5, &ext));
    cr_expect_lt(ext.times.broker_us, INT64_MAX / 2);
    cr_expect_neq(ext.times.broker_queue_us, 10000);
    kit_end(&k);
}
