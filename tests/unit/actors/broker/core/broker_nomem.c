/* SPDX-License-Identifier: BSD-3-Clause */
/* The n-th allocation fails, for every n, once and from then on: the broker's
 * law holds, nothing crashes or leaks, and it works again afterwards. */
#include "broker_kit.h"
#include "base/mem.h"

/* A bit of everything. */
static void s_play(kit_t *k) {
    char long_id[200];
    memset(long_id, 'i', sizeof long_id);
    long_id[sizeof long_id - 1] = 0;
    ready(k, "w1", "S:d:1");
    ready(k, "w2", "T:d:9");
    say(k, BACK, "w2", "", "MDPW01", "\4",
        EXT "\x81\xa2im\xa1"
            "f");
    request(k, "c", "S", "1");
    request(k, "c", "S", "2");
    request(k, "c", "T", long_id);
    request_ext(k, "d", "T", "3", EXT "\x81\xa1u\xa4root");
    request(k, "d", "X", "4");
    say(k, FRONT, "c", "", "MDPC01", "Gate", "5", "\xa4info");
    say(k, FRONT, "c", "", "MDPC01", "Gate", "6", "\xa5stats");
    k->full[0] = "c";
    reply(k, "w1", "c", "1", STREAM, "\x01");
    reply(k, "w1", "c", "1", STREAM, GI_STREAM_END);
    k->full[0] = NULL;
    gi_broker_core_retry(k->core, 64, k->now);
    kit_check(k);
    control(k, "d", "3", CANCEL);
    say_fd(k, BACK, "w3", 700, "", "MDPW01", "\1", "S:d:1");
    bye(k, "w1");
    ready(k, "w4", "T:d:9");
    bye(k, "w2"); /* the call with the long id runs again */
    say(k, BACK, "w4", "", "MDPW01", "\4", EXT "\x81\xa1\x64\xc3");
    kit_wait(k, 6 * HB);
}

static void s_try(long n, bool from_then_on) {
    kit_t k;
    kit_begin(&k);
    gi_mem_fail_at(n, from_then_on);
    s_play(&k);
    gi_mem_fail_at(0, false);
    kit_wait(&k, 10 * HB);
    kit_forget(&k);
    kit_worker(&k, "new", "New:d:1");
    request(&k, "e", "New", "9");
    got_request(&k, "new", "e", "9");
    reply(&k, "new", "e", "9", "x");
    got_reply(&k, "e", "New", "9", "x");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(nomem, every_allocation_may_fail) {
    kit_t k;
    kit_begin(&k);
    gi_mem_fail_at(0, false);
    s_play(&k);
    long n = gi_mem_asked();
    kit_end(&k);
    cr_assert(n > 10, "%ld allocations", n);
    for (long i = 1; i <= n; i++) {
        s_try(i, false);
        s_try(i, true);
    }
}

Test(nomem, a_core_may_not_be_had) {
    for (long i = 1;; i++) {
        kit_t k;
        kit_init(&k);
        gi_mem_fail_at(i, false);
        gi_broker_core_t *core = gi_broker_core_new(
            k.settings, (const unsigned char *)"0123456789abcdef", &kit_effects,
            &k, k.now);
        gi_mem_fail_at(0, false);
        bool had = core != NULL;
        gi_broker_core_destroy(&core);
        gate_settings_destroy(&k.settings);
        if (had)
            break;
        cr_assert(i < 100);
    }
}
