/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_queue_max_bytes: one bound for everything that waits. */
#include "broker_kit.h"

#define BODY_BYTES 1000
#define KEPT_BYTES 350 /* what it takes to keep one, about */

static void s_begin(kit_t *k, const char *line) {
    kit_init(k);
    /* twice what three take: one client may have as much as is free */
    k->settings->broker_queue_max_bytes = 6 * BODY_BYTES + 5 * KEPT_BYTES;
    kit_start(k);
    kit_worker(k, "w", line);
}

static void s_request(kit_t *k, const char *id) {
    char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    body[BODY_BYTES] = 0;
    say(k, FRONT, "c", "", "MDPC01", "S", id, body);
}

static void s_got_body(kit_t *k, const char *id) {
    said_t *m = kit_take(k, "w");
    cr_assert(m && m->n == 7);
    cr_expect(kit_frame_is(m, 5, id));
    free(m);
}

Test(room, what_waits_for_workers_is_bounded) {
    kit_t k;
    s_begin(&k, "S:d:0");
    for (const char *id = "123"; *id; id++)
        s_request(&k, (char[]){*id, 0});
    got_nothing(&k, "c");
    s_request(&k, "4");
    got_error(&k, "c", "4", "BusyWorkerError", "broker_queue_max_bytes");
    counted(&k, "queue_full", 1);
    kit_wait(&k, 2 * HB);
    control(&k, "c", "1", CANCEL);
    s_request(&k, "5");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(room, a_worker_with_credit_is_served_while_others_wait) {
    kit_t k;
    s_begin(&k, "S:d:9");
    kit_worker(&k, "v", "T:d:0");
    for (const char *id = "123"; *id; id++) {
        char body[BODY_BYTES + 1];
        memset(body, 'x', BODY_BYTES);
        body[BODY_BYTES] = 0;
        say(&k, FRONT, "c", "", "MDPC01", "T", ((char[]){*id, 0}), body);
    }
    s_request(&k, "4");
    s_got_body(&k, "4");
    kit_end(&k);
}

Test(room, a_blocked_worker_counts_too) {
    kit_t k;
    s_begin(&k, "S:d:9");
    k.full[0] = "w";
    for (const char *id = "123"; *id; id++)
        s_request(&k, (char[]){*id, 0});
    s_request(&k, "4");
    got_error(&k, "c", "4", "BusyWorkerError", "broker_queue_max_bytes");
    k.full[0] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    for (const char *id = "123"; *id; id++)
        s_got_body(&k, (char[]){*id, 0});
    s_request(&k, "5");
    s_got_body(&k, "5");
    kit_end(&k);
}

Test(room, no_copy_is_kept_beyond_it) {
    kit_t k;
    s_begin(&k, "S:d:9");
    say(&k, BACK, "w", "", "MDPW01", "\4",
        EXT "\x81\xa2im\xa1"
            "f");
    kit_worker(&k, "v", "T:d:0");
    for (const char *id = "123"; *id; id++) {
        char body[BODY_BYTES + 1];
        memset(body, 'x', BODY_BYTES);
        body[BODY_BYTES] = 0;
        say(&k, FRONT, "c", "", "MDPC01", "T", ((char[]){*id, 0}), body);
    }
    request(&k, "c", "S", "4");
    got_request(&k, "w", "c", "4");
    kit_worker(&k, "w2", "S:d:9");
    bye(&k, "w");
    got_error(&k, "c", "4", "WorkerLostError", "lost");
    kit_end(&k);
}
