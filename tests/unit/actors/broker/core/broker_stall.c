/* SPDX-License-Identifier: BSD-3-Clause */
/* Streams that nobody reads while others wait for their worker. */
#include "broker_kit.h"
#include "wire/row.h"

#define ONE        \
    EXT "\x81\xa2" \
        "ci\x01" /* credit for one item */
#define S_SLOTS 8

static void s_begin(kit_t *k) {
    kit_begin(k);
    ready(k, "w", "S:d:8");
    hello(k, "w");
    kit_forget(k);
}

/* Of the slots so many, each has one item: more it may not send. */
static void s_streams(kit_t *k, const char *client, char first, int n) {
    for (int i = 0; i < n; i++) {
        char id[2] = {(char)(first + i), 0};
        request_ext(k, client, "S", id, ONE);
        reply(k, "w", client, id, STREAM, "\x01");
    }
    kit_forget(k);
}

/* Time goes by; the worker and these clients live. */
static void s_wait(kit_t *k, int64_t ms) {
    for (int64_t end = k->now + ms; k->now < end;) {
        kit_wait(k, HB / 2);
        beat(k, "w");
    }
}

/* The end of a stream that its worker was told to cancel. */
static bool s_cancelled(kit_t *k, const char *client, char id) {
    char of[2] = {id, 0};
    bool told =
        kit_got(k, "w", "", "MDPW01", "\6", client, "", of, CANCEL, NULL);
    if (told)
        reply(k, "w", client, of, STREAM, GI_STREAM_END);
    return told;
}

static void s_drop_beats(kit_t *k) {
    for (said_t **at = &k->said; *at;) {
        said_t *m = *at;
        if (strcmp(m->to, "w") == 0 && m->n == 4 && kit_frame_is(m, 2, "\4")) {
            *at = m->next;
            free(m);
        } else {
            at = &m->next;
        }
    }
}

/* Whoever has more than is free for others loses as many as it takes. */
Test(stall, who_holds_all_slots_unread_makes_room_for_others) {
    kit_t k;
    s_begin(&k);
    s_streams(&k, "c", 'a', S_SLOTS);
    request(&k, "d", "S", "1");
    got_nothing(&k, "w");
    s_wait(&k, 2 * HB);
    s_drop_beats(&k);
    for (char id = 'a'; id < 'a' + S_SLOTS / 2; id++) {
        char of[2] = {id, 0};
        cr_expect(kit_got_error(&k, "c", of, 7, "BusyWorkerError",
                                "and others wait"));
        cr_expect(s_cancelled(&k, "c", id));
    }
    got_request(&k, "w", "d", "1");
    got_nothing(&k, "c");
    counted(&k, "streams_stalled", S_SLOTS / 2);
    kit_end(&k);
}

/* It does not take them again. */
Test(stall, who_was_told_begins_no_new_streams) {
    kit_t k;
    s_begin(&k);
    s_streams(&k, "c", 'a', S_SLOTS);
    request_ext(&k, "c", "S", "q", ONE); /* waits, before d's */
    request(&k, "d", "S", "1");
    s_wait(&k, 2 * HB);
    kit_forget(&k);
    reply(&k, "w", "c", "a", STREAM, GI_STREAM_END);
    got_error(&k, "c", "q", "BusyWorkerError", "it gets no more than 4 calls");
    got_request(&k, "w", "d", "1");
    for (char id = 'b'; id < 'a' + S_SLOTS / 2; id++) {
        char of[2] = {id, 0};
        reply(&k, "w", "c", of, STREAM, GI_STREAM_END);
    }
    request(&k, "c", "S", "plain"); /* what is no stream is not refused */
    got_request(&k, "w", "c", "plain");
    kit_forget(&k);
    request_ext(&k, "c", "S", "r", ONE);
    got_error(&k, "c", "r", "BusyWorkerError", "does not read");
    kit_end(&k);
}

/* A row takes as much credit as its items: with all of it gone a stream stalls,
 * with some left its worker is slow. */
static uint64_t s_stalled(const char *credit) {
    enum { S_ITEM = 257 }; /* a length of two bytes, neither of them zero */
    char row[2 * (GI_ROW_LENGTH + S_ITEM) + 1] = {0};
    kit_t k;
    memset(row, 'x', sizeof row - 1);
    for (int i = 0; i < 2; i++)
        memset(row + i * (GI_ROW_LENGTH + S_ITEM), 1, GI_ROW_LENGTH);
    s_begin(&k);
    for (char id = 'a'; id < 'a' + S_SLOTS; id++) {
        char of[2] = {id, 0};
        request_ext(&k, "c", "S", of, credit);
        reply(&k, "w", "c", of, GI_ROW_TAG, row);
    }
    request(&k, "d", "S", "1");
    s_wait(&k, 2 * HB);
    uint64_t stalled = k.core->count.streams_stalled;
    kit_end(&k);
    return stalled;
}

Test(stall, a_row_takes_what_its_items_do) {
    cr_expect_eq(s_stalled(EXT "\x81\xa2"
                               "ci\x02"),
                 S_SLOTS / 2);
    cr_expect_eq(s_stalled(EXT "\x81\xa2"
                               "ci\x03"),
                 0);
    cr_expect_eq(s_stalled(EXT "\x81\xa2"
                               "cb\xcd\x02\x02"), /* 514 */
                 S_SLOTS / 2);
    cr_expect_eq(s_stalled(EXT "\x81\xa2"
                               "cb\xcd\x02\x03"),
                 0);
}

/* Trying does not make it longer: a reader that stood still once is no reader
 * that does. */
Test(stall, who_was_told_is_told_for_some_heartbeats) {
    kit_t k;
    s_begin(&k);
    s_streams(&k, "c", 'a', S_SLOTS);
    request(&k, "d", "S", "1");
    s_wait(&k, 2 * HB);
    kit_forget(&k);
    for (char id = 'a'; id < 'a' + S_SLOTS / 2; id++) {
        char of[2] = {id, 0};
        reply(&k, "w", "c", of, STREAM, GI_STREAM_END);
    }
    kit_forget(&k);
    for (int i = 0; i < 3; i++) {
        request_ext(&k, "c", "S", "q", ONE);
        got_error(&k, "c", "q", "BusyWorkerError", "does not read");
        s_wait(&k, HB);
    }
    s_wait(&k, HB);
    kit_forget(&k);
    request_ext(&k, "c", "S", "r", ONE);
    got(&k, "w", "", "MDPW01", "\2", "c", "", "r",
        "\xa1"
        "f",
        "\x90", "\x80", ONE);
    kit_end(&k);
}

/* Nobody waits, or they are read, or work, or are one for each client. */
Test(stall, others_keep_their_streams) {
    kit_t k;
    s_begin(&k);
    s_streams(&k, "c", 'a', S_SLOTS);
    s_wait(&k, 4 * HB); /* nobody waits */
    counted(&k, "streams_stalled", 0);
    for (char id = 'a'; id < 'a' + S_SLOTS; id++) {
        char of[2] = {id, 0};
        control(&k, "c", of, ONE); /* they are read: the worker is slow */
    }
    request(&k, "d", "S", "1");
    s_wait(&k, 2 * HB);
    counted(&k, "streams_stalled", 0);
    kit_end(&k);

    s_begin(&k);
    for (int i = 0; i < S_SLOTS; i++)
        s_streams(&k, (char[2]){(char)('c' + i), 0}, 'a', 1);
    request(&k, "z", "S", "1");
    s_wait(&k, 2 * HB);
    counted(&k, "streams_stalled", 0);
    kit_end(&k);
}
