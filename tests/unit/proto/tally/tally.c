/* SPDX-License-Identifier: BSD-3-Clause */
/* How calls end: rows, classes, bounds; what peers make up. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tally/slow.h"
#include "tally/tally.h"

static gi_tally_name_t s_name(const char *text) {
    char frame[300];
    gi_tally_name_t name = {.word = {0}};
    size_t n = strlen(text);
    frame[0] = (char)0xd9;
    frame[1] = (char)n;
    memcpy(frame + 2, text, n);
    gi_tally_name(&name, (gate_bytes_t){frame, n + 2});
    return name;
}

static void s_end(gi_tally_t *tally, const char *method, gi_outcome_t outcome,
                  const char *cls) {
    gi_tally_name_t name = s_name(method);
    gi_tally_error_t error = {.cls = {cls, strlen(cls)}};
    gi_tally_count(tally, &name, outcome, *cls ? &error : NULL, 5000, 1000);
}

static uint64_t s_sum(const uint64_t *outcome) {
    uint64_t n = 0;
    for (unsigned i = 0; i < GI_OUTCOMES; i++)
        n += outcome[i];
    return n;
}

/* The law. */
static bool s_valid(const gi_tally_t *t) {
    uint64_t rows = s_sum(t->other);
    for (unsigned i = 0; i < t->n_methods; i++) {
        rows += s_sum(t->methods[i]->outcome);
        if (s_sum(t->methods[i]->outcome) != t->methods[i]->run.n)
            return false;
    }
    return rows == s_sum(t->outcome) && rows == t->total.n &&
           rows == t->wait.n && t->n_methods <= GI_TALLY_METHODS &&
           t->n_classes <= GI_TALLY_CLASSES + 1;
}

Test(tally, a_name_is_the_str_of_the_frame_and_nothing_else) {
    gi_tally_name_t name = {.word = {0}};
    gi_tally_name(&name, (gate_bytes_t){"\xa3"
                                        "add",
                                        4});
    cr_expect_str_eq(name.text, "add");
    memset(&name, 0, sizeof name);
    gi_tally_name(&name, (gate_bytes_t){"\xa3"
                                        "ad",
                                        3});
    cr_expect_eq(name.word[0], 0, "cut short");
    gi_tally_name(&name, (gate_bytes_t){"\xda\xff\xff"
                                        "a",
                                        4});
    cr_expect_eq(name.word[0], 0);
    gi_tally_name(&name, (gate_bytes_t){"\xdb\xff\xff\xff\xff", 5});
    cr_expect_eq(name.word[0], 0);
    gi_tally_name(&name, (gate_bytes_t){"\xc0", 1});
    cr_expect_eq(name.word[0], 0);
    gi_tally_name(&name, (gate_bytes_t){"", 0});
    cr_expect_eq(name.word[0], 0);
    name = s_name("a_method_of_a_name_that_is_longer_than_what_is_kept");
    cr_expect_eq(strlen(name.text), GI_TALLY_METHOD - 1);
}

Test(tally, only_what_has_answered_gets_a_row) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = gi_tally_new(&room);
    s_end(t, "add", GI_OUT_EXCEPTION, "AttributeError");
    s_end(t, "add", GI_OUT_LOST, "WorkerLostError");
    s_end(t, "add", GI_OUT_REFUSED, "BusyWorkerError");
    cr_expect_eq(t->n_methods, 0);
    s_end(t, "add", GI_OUT_EXCEPTION, "TypeError");
    s_end(t, "sub", GI_OUT_OK, "");
    s_end(t, "add", GI_OUT_LOST, "WorkerLostError");
    cr_expect_eq(t->n_methods, 2);
    cr_expect_eq(t->methods[0]->outcome[GI_OUT_LOST], 1);
    cr_expect_eq(s_sum(t->other), 3);
    cr_expect_eq(gi_tally_errors(t), 5);
    cr_expect(s_valid(t));
    gi_tally_destroy(&t);
    cr_expect_eq(room.left, 1 << 20);
}

Test(tally, strangers_fill_no_table) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = gi_tally_new(&room);
    char name[64];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "m%d", i);
        s_end(t, name, GI_OUT_OK, "");
        snprintf(name, sizeof name, "Class%d", i);
        s_end(t, "m1", GI_OUT_EXCEPTION, name);
    }
    cr_expect_eq(t->n_methods, GI_TALLY_METHODS);
    cr_expect_eq(t->n_classes, GI_TALLY_CLASSES + 1);
    cr_expect_eq(t->more->n, 1000 - GI_TALLY_CLASSES);
    cr_expect_eq(s_sum(t->other), 1000 - GI_TALLY_METHODS);
    cr_expect(room.folded > 0);
    cr_expect(s_valid(t));
    for (int i = 0; i < GI_TALLY_METHODS; i++) { /* each is found again */
        snprintf(name, sizeof name, "m%d", i);
        s_end(t, name, GI_OUT_LOST, "WorkerLostError");
    }
    for (int i = 0; i < GI_TALLY_METHODS; i++)
        cr_expect_eq(t->methods[i]->outcome[GI_OUT_LOST], 1, "m%d", i);
    gi_tally_destroy(&t);
    cr_expect_eq(room.left, 1 << 20);
}

Test(tally, names_that_are_no_text_share_one_row) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = gi_tally_new(&room);
    s_end(t, "a\nb", GI_OUT_OK, "");
    s_end(t, "\xff\xfe", GI_OUT_OK, "");
    s_end(t, "_other", GI_OUT_OK, "");
    s_end(t, "", GI_OUT_OK, "");
    s_end(t, "<img src=x onerror=alert(1)>", GI_OUT_EXCEPTION, "\x01\x02");
    s_end(t, "m", GI_OUT_EXCEPTION, "_other");
    cr_expect_eq(t->n_methods, 2);
    cr_expect_eq(s_sum(t->other), 4);
    cr_expect_eq(t->n_classes, 1);
    cr_expect_str_eq(t->classes->name, "_other");
    cr_expect(s_valid(t));
    gi_tally_destroy(&t);
}

/* Or there were two of one name, and Prometheus takes nothing of what has the
 * same series twice. */
Test(tally, a_name_that_goes_on_behind_a_nul_has_no_row) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = gi_tally_new(&room);
    gi_tally_name_t hidden = {.text = "add\0x"};
    s_end(t, "add", GI_OUT_OK, "");
    gi_tally_count(t, &hidden, GI_OUT_OK, NULL, 1, 0);
    cr_expect_eq(t->n_methods, 1);
    cr_expect_eq(t->other[GI_OUT_OK], 1);
    cr_expect_eq(t->methods[0]->outcome[GI_OUT_OK], 1);
    cr_expect(s_valid(t));
    gi_tally_destroy(&t);
}

Test(tally, what_goes_is_counted_on) {
    gi_tally_room_t room = {1 << 20, 0};
    gi_tally_t *t = gi_tally_new(&room), *from = gi_tally_new(&room);
    s_end(t, "add", GI_OUT_OK, "");
    s_end(from, "add", GI_OUT_OK, "");
    s_end(from, "add", GI_OUT_EXCEPTION, "TypeError");
    s_end(from, "sub", GI_OUT_LOST, "WorkerLostError");
    s_end(t, "sub", GI_OUT_EXCEPTION, "TypeError");
    gi_tally_fold(t, from);
    cr_expect_eq(t->outcome[GI_OUT_OK], 2);
    cr_expect_eq(t->outcome[GI_OUT_LOST], 1);
    cr_expect_eq(t->total.n, 5);
    cr_expect_eq(t->total.sum_ns, 25000);
    cr_expect_eq(t->wait.sum_ns, 5000);
    cr_expect_str_eq(t->classes->name, "TypeError");
    cr_expect_eq(t->classes->n, 2);
    cr_expect_eq(t->classes->next->n, 1);
    cr_expect_eq(s_sum(t->other), 3);
    cr_expect(s_valid(t));
    gi_tally_destroy(&from);
    gi_tally_destroy(&t);
    cr_expect_eq(room.left, 1 << 20);
}

Test(tally, without_room_or_memory_it_goes_on) {
    gi_tally_room_t room = {sizeof(gi_tally_t), 0};
    gi_tally_t *t = gi_tally_new(&room);
    cr_assert(t);
    s_end(t, "add", GI_OUT_EXCEPTION, "TypeError");
    s_end(t, "add", GI_OUT_OK, "");
    cr_expect_eq(t->n_methods, 0);
    cr_expect_eq(t->n_classes, 0);
    cr_expect_eq(room.folded, 3);
    cr_expect(s_valid(t));
    gi_tally_t *second = gi_tally_new(&room);
    cr_expect_null(second);
    gi_tally_destroy(&second);
    gi_tally_destroy(&t);
}

Test(tally, the_class_of_an_exception) {
    gate_bytes_t cls, text;
#define FAILED               \
    "\x82\xa6result\xc0\xa9" \
    "exception"
#define BYTES(s) (gate_bytes_t){s, sizeof s - 1}
    cr_expect(gi_tally_reply(BYTES(FAILED "\x93\xa9"
                                          "TypeError\xa2no\xa0"),
                             &cls, &text));
    cr_expect_eq(cls.size, 9);
    cr_expect_eq(text.size, 2);
    cr_expect(gi_tally_reply(BYTES(FAILED "\xa3"
                                          "odd"),
                             &cls, &text));
    cr_expect_eq(cls.size, 0, "Python takes a str as well");
    cr_expect(gi_tally_reply(BYTES(FAILED "\x93\xda\xff\xff"), &cls, &text));
    cr_expect_eq(cls.size, 0);
    cr_expect_not(gi_tally_reply(BYTES(FAILED "\xc0"), &cls, &text),
                  "a result that is None");
    cr_expect_not(gi_tally_reply(BYTES("\x82\xa6result\x01\xa9"
                                       "exception\xc0"),
                                 &cls, &text));
    cr_expect_not(gi_tally_reply(BYTES(""), &cls, &text));
    cr_expect_not(gi_tally_triple(BYTES("\x93"), &cls, &text));
}

Test(slow, the_slowest_of_a_minute_stay) {
    gi_slow_list_t *list = gi_mem_calloc(1, sizeof *list);
    for (int i = 0; i < 200; i++)
        gi_slow_add(list, 60000, i * 10);
    cr_expect_eq(list->n, GI_SLOW_MINUTE);
    for (unsigned i = 0; i < list->n; i++)
        cr_expect_geq(list->call[i].total_ns, (200 - GI_SLOW_MINUTE) * 10);
    cr_expect_null(gi_slow_add(list, 60000, 5));
    for (int minute = 2; minute < 8; minute++)
        for (int i = 0; i < 100; i++)
            gi_slow_add(list, minute * 60000, i);
    cr_expect_eq(list->n, GI_SLOW_MAX);
    gi_mem_free(list);
}
