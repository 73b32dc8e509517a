/* SPDX-License-Identifier: BSD-3-Clause */
/* docs/extensions.md, at the broker. */
#include "broker_kit.h"

#define EXT_CI EXT "\x81\xa2\x63i\x05"    /* {"ci": 5} */
#define EXT_T EXT "\x81\xa1t\xcd\x03\xe8" /* {"t": 1000} */
#define EXT_U EXT "\x81\xa1u\xa4root"     /* {"u": "root"} */
#define EXT_D EXT "\x81\xa1\x64\xc3"      /* {"d": true} */
#define BODY \
    "\xa1"   \
    "f",     \
        "\x90", "\x80"

Test(ext, a_plain_worker_gets_no_fourth_frame) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT_CI);
    got_request(&k, "w", "c", "1");
    hello(&k, "w");
    request_ext(&k, "c", "S", "2", EXT_CI);
    got(&k, "w", "", "MDPW01", "\2", "c", "", "2", BODY, EXT_CI);
    request(&k, "c", "S", "3");
    got_request(&k, "w", "c", "3");
    kit_end(&k);
}

Test(ext, the_broker_forgets_with_the_registration) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    bye(&k, "w");
    kit_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT_CI);
    got_request(&k, "w", "c", "1");
    kit_end(&k);
}

Test(ext, nobody_names_his_own_user) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request_ext(&k, "c", "S", "1", EXT_U);
    said_t *m = kit_take(&k, "w");
    cr_assert(m);
    for (unsigned i = 0; i < m->n; i++)
        cr_expect(!memmem(m->f[i].data, m->f[i].size, "root", 4));
    free(m);
    request_ext(&k, "c", "S", "2", EXT "\x81\xa1t"); /* cut short */
    got_request(&k, "w", "c", "2");
    counted(&k, "bad_ext", 1);
    kit_end(&k);
}

Test(ext, a_queued_call_waits_no_longer_than_its_caller) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:0");
    request_ext(&k, "c", "S", "1", EXT_T);
    request(&k, "c", "S", "2");
    kit_wait(&k, 1100);
    got_error(&k, "c", "1", "BusyWorkerError", "No idle worker.");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(ext, credit_goes_to_the_worker_of_the_call) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:9");
    kit_worker(&k, "w2", "T:d:9");
    request(&k, "c", "S", "1");
    request(&k, "c", "T", "2");
    kit_forget(&k);
    control(&k, "c", "1", CREDIT);
    got(&k, "w1", "", "MDPW01", "\6", "c", "", "1", CREDIT);
    control(&k, "c", "2", CREDIT); /* a plain worker */
    got_nothing(&k, "w2");
    control(&k, "c", "3", CREDIT); /* no such call */
    control(&k, "d", "1", CREDIT); /* not that client's */
    got_nothing(&k, "w1");
    counted(&k, "control_unknown", 3);
    control(&k, "c", "1", EXT "\xff");
    counted(&k, "bad_ext", 1);
    got_nothing(&k, "w1");
    got_nothing(&k, "c");
    kit_end(&k);
}

Test(ext, cancel_of_a_queued_call_takes_it_out) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    got_request(&k, "w", "c", "1");
    control(&k, "c", "2", CANCEL);
    got_nothing(&k, "c");
    got_nothing(&k, "w");
    reply(&k, "w", "c", "1", "x");
    got_request(&k, "w", "c", "3");
    counted(&k, "cancelled", 1);
    kit_end(&k);
}

Test(ext, cancel_goes_to_the_worker_and_mutes_the_call) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    reply(&k, "w", "c", "1", STREAM, "\x01");
    kit_forget(&k);
    control(&k, "c", "1", CANCEL);
    got(&k, "w", "", "MDPW01", "\6", "c", "", "1", CANCEL);
    reply(&k, "w", "c", "1", STREAM, "\x02");
    got_nothing(&k, "c");
    control(&k, "c", "1", CANCEL); /* again: nothing */
    got_nothing(&k, "w");
    request(&k, "c", "S", "2");
    got_nothing(&k, "w");
    reply(&k, "w", "c", "1", STREAM, GI_STREAM_EXCEPTION, "triple");
    got_nothing(&k, "c");
    got_request(&k, "w", "c", "2");
    kit_end(&k);
}

Test(ext, cancel_at_a_plain_worker_waits_for_its_final_message) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    got_request(&k, "w", "c", "1");
    control(&k, "c", "1", CANCEL);
    got_nothing(&k, "w");
    request(&k, "c", "S", "2");
    got_nothing(&k, "w");
    reply(&k, "w", "c", "1", "late");
    got_nothing(&k, "c");
    got_request(&k, "w", "c", "2");
    counted(&k, "replies_late", 1);
    kit_end(&k);
}

Test(ext, cancelled_calls_of_a_lost_worker_get_no_error) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    control(&k, "c", "1", CANCEL);
    bye(&k, "w");
    got_nothing(&k, "c");
    cr_expect(gi_broker_core_idle(k.core));
    kit_end(&k);
}

Test(ext, cancel_of_a_request_that_has_not_left) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:1");
    k.full[0] = "w";
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    control(&k, "c", "1", CANCEL);
    k.full[0] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    kit_check(&k);
    got_request(&k, "w", "c", "2");
    got_nothing(&k, "w");
    kit_end(&k);
}

Test(ext, a_draining_worker_keeps_its_calls_and_gets_no_new_ones) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:9");
    kit_worker(&k, "w2", "S:d:9");
    request(&k, "c", "S", "1");
    got_request(&k, "w1", "c", "1");
    say(&k, BACK, "w1", "", "MDPW01", "\4", EXT_D);
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    got_request(&k, "w2", "c", "2");
    got_request(&k, "w2", "c", "3");
    reply(&k, "w1", "c", "1", "x");
    got_reply(&k, "c", "S", "1", "x");
    request(&k, "c", "S", "4");
    got_request(&k, "w2", "c", "4");
    bye(&k, "w1");
    got_nothing(&k, "c");
    kit_end(&k);
}

#define BYE_BYE EXT "\x82\xa1\x64\xc3\xa2tr\xc3"
#define got_farewell(k, w) got(k, w, "", "MDPW01", "\4", BYE_BYE)

Test(ext, a_draining_worker_learns_that_nothing_follows) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    say(&k, BACK, "w", "", "MDPW01", "\4", EXT_D);
    request(&k, "c", "S", "2");
    got_request(&k, "w", "c", "1");
    got_farewell(&k, "w");
    got_nothing(&k, "w");
    hello(&k, "w"); /* it cannot be taken back */
    got_nothing(&k, "w");
    kit_wait(&k, HB);
    got_farewell(&k, "w");
    kit_end(&k);
}

Test(ext, what_has_not_left_for_a_draining_worker_goes_elsewhere) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:9");
    k.full[0] = "w1";
    request(&k, "c", "S", "1");
    kit_worker(&k, "w2", "S:d:9");
    say(&k, BACK, "w1", "", "MDPW01", "\4", EXT_D);
    got_request(&k, "w2", "c", "1");
    k.full[0] = NULL;
    gi_broker_core_retry(k.core, 64, k.now);
    got_farewell(&k, "w1");
    got_nothing(&k, "w1");
    kit_end(&k);
}

Test(ext, a_service_is_told_to_drain) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w1", "S:d:9");
    kit_worker(&k, "w2", "S:d:9");
    say(&k, FRONT, "c", "", "MDPC01", "Gate", "1",
        "\xa5"
        "drain",
        "\x91\xa1S");
    said_t *m = kit_take(&k, "c");
    cr_expect(m && memmem(m->f[4].data, m->f[4].size, "result\x01", 7));
    free(m);
    got_farewell(&k, "w1");
    got_nothing(&k, "w2");
    request(&k, "c", "S", "2");
    got_request(&k, "w2", "c", "2");
    say(&k, BACK, "w1", "", "MDPW01", "\4", EXT_D);
    got_nothing(&k, "w1");
    say(&k, FRONT, "c", "", "MDPC01", "Gate", "3",
        "\xa5"
        "drain",
        "\x91\xa1X");
    got_error(&k, "c", "3", "ServiceUnAvailableError", "no worker");
    kit_end(&k);
}
