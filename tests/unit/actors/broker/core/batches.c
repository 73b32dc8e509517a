/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches at the broker (docs/extensions.md): who has sent one gets what a pass
 * has for it together; nobody else does. What a peer does not take is as if it
 * had never been gathered. */
#include "broker_kit.h"

#include "broker/core/broker_peers.h"
#include "wire/batch.h"
#include "wire/packed.h"

typedef enum s_how { PLAIN, PACKED, BATCHED } s_how_t;

/* As kit_say_fd, in a form. Frames are strings, up to NULL. */
static void s_say(kit_t *k, s_how_t how, unsigned socket, const char *from,
                  int fd, ...) {
    gi_frames_t in = {.n = 0};
    va_list list;
    gi_frames_add(&in, from, strlen(from));
    va_start(list, fd);
    for (const char *s; (s = va_arg(list, const char *)) != NULL;)
        gi_frames_add(&in, s, strlen(s));
    va_end(list);
    in.packed = how != PLAIN;
    in.batched = how == BATCHED;
    gi_broker_core_message(k->core, socket, &in, fd, k->now);
    kit_check(k);
}
#define say_as(k, how, socket, from, ...) \
    s_say(k, how, socket, from, -1, __VA_ARGS__, NULL)
#define ask(k, how, c, id)                          \
    say_as(k, how, FRONT, c, "", "MDPC01", "S", id, \
           "\xa1"                                   \
           "f",                                     \
           "\x90", "\x80")
#define answer(k, how, w, c, id) \
    say_as(k, how, BACK, w, "", "MDPW01", "\3", c, "", id, "\xc0")

static void s_flush(kit_t *k) {
    gi_broker_core_flush(k->core, k->now);
    kit_check(k);
    cr_assert_eq(k->core->n_loaded, 0);
}

/* A worker that sends batches, with room for many calls. */
static void s_begin(kit_t *k) {
    kit_init(k);
    k->settings->packed = true;
    kit_start(k);
    ready(k, "w", "S:d:99");
    say_as(k, PACKED, BACK, "w", "", "MDPW01", "\4", HELLO);
    say_as(k, BATCHED, BACK, "w", "", "MDPW01", "\4", HELLO);
    s_flush(k);
    kit_forget(k);
}

/* The messages in the next thing for that peer: ids of the calls, at frame
 * number at of each, one character each. "-": it is no batch. */
static const char *s_ids(kit_t *k, const char *to, unsigned at) {
    static char ids[100];
    gi_batch_reader_t reader;
    gate_bytes_t message, f[16];
    unsigned n = 0, n_frames, n_outside;
    said_t *m = kit_take(k, to);
    if (!m)
        return "";
    strcpy(ids, "-");
    gi_batch_read(&reader, (gate_bytes_t){m->f[0].data, m->f[0].size});
    while (m->n == 1 && !gi_batch_next(&reader, &message)) {
        cr_assert_eq(gi_packed_parse(message, 16, f, &n_frames, &n_outside),
                     GATE_OK);
        cr_assert(n_frames > at && n_outside == 0);
        ids[n++] = *(const char *)f[at].data;
        ids[n] = 0;
    }
    free(m);
    return ids;
}

/* A plain message's call. */
static char s_id(kit_t *k, const char *to, unsigned at) {
    said_t *m = kit_take(k, to);
    char id = '-';
    if (m && m->n > at && m->f[at].size)
        id = m->f[at].data[0];
    free(m);
    return id;
}
#define REQUEST_ID 4 /* packed: without the empty frame */
#define REPLY_ID 2

Test(batches, gather_what_a_pass_has) {
    kit_t k;
    s_begin(&k);
    ask(&k, BATCHED, "c", "1");
    cr_assert_eq(s_id(&k, "w", 5), '1'); /* alone: at once */
    for (char id[] = "2"; *id < '6'; ++*id)
        ask(&k, BATCHED, "c", id);
    cr_assert_null(kit_take(&k, "w"));
    s_flush(&k);
    cr_assert_str_eq(s_ids(&k, "w", REQUEST_ID), "2345");
    for (char id[] = "1"; *id < '5'; ++*id)
        answer(&k, BATCHED, "w", "c", id);
    cr_assert_eq(s_id(&k, "c", 3), '1');
    s_flush(&k);
    cr_assert_str_eq(s_ids(&k, "c", REPLY_ID), "234");
    answer(&k, BATCHED, "w", "c", "5"); /* there were several: it waits */
    cr_assert_null(kit_take(&k, "c"));
    s_flush(&k);
    said_t *m = kit_take(&k, "c"); /* and is no batch */
    cr_assert(m && m->n == 1);
    cr_assert(gi_packed_is((gate_bytes_t){m->f[0].data, m->f[0].size}));
    free(m);
    kit_end(&k);
}

Test(batches, are_for_those_alone_who_send_them) {
    kit_t k;
    s_begin(&k);
    ask(&k, BATCHED, "c", "1");
    ask(&k, BATCHED, "c", "2");
    ask(&k, BATCHED, "c", "3");
    ask(&k, PACKED, "p", "4");
    ask(&k, PACKED, "p", "5");
    ask(&k, PLAIN, "q", "6");
    ask(&k, PLAIN, "q", "7");
    s_flush(&k);
    for (char id[] = "1"; *id < '8'; ++*id)
        answer(&k, BATCHED, "w", *id < '4' ? "c" : *id < '6' ? "p" : "q", id);
    cr_assert_eq(s_id(&k, "p", 3), '4');
    cr_assert_eq(s_id(&k, "p", 3), '5');
    cr_assert_eq(s_id(&k, "q", 3), '6');
    cr_assert_eq(s_id(&k, "q", 3), '7');
    s_flush(&k);
    kit_end(&k);
}

/* Frame by frame, or over another connection: it is somebody else. */
Test(batches, end_with_the_connection) {
    kit_t k;
    s_begin(&k);
    k.open[7] = 70;
    k.open[8] = 80;
    s_say(&k, BATCHED, FRONT, "c", 7, "", "MDPC01", "S", "1", "x", NULL);
    s_say(&k, BATCHED, FRONT, "c", 7, "", "MDPC01", "S", "2", "x", NULL);
    s_say(&k, BATCHED, FRONT, "c", 7, "", "MDPC01", "S", "3", "x", NULL);
    s_flush(&k);
    answer(&k, BATCHED, "w", "c", "1");
    answer(&k, BATCHED, "w", "c", "2"); /* gathered */
    kit_forget(&k);
    s_say(&k, PACKED, FRONT, "c", 8, "", "MDPC01", "S", "4", "x", NULL);
    answer(&k, BATCHED, "w", "c", "3");
    answer(&k, BATCHED, "w", "c", "4");
    s_flush(&k);
    gi_broker_core_retry(k.core, 64, k.now);
    for (char id = '2'; id < '5'; id++)
        cr_assert_eq(s_id(&k, "c", 3), id);
    s_say(&k, BATCHED, FRONT, "c", 8, "", "MDPC01", "S", "5", "x", NULL);
    s_say(&k, PLAIN, FRONT, "c", 8, "", "MDPC01", "S", "6", "x", NULL);
    s_flush(&k);
    kit_forget(&k);
    answer(&k, BATCHED, "w", "c", "5");
    answer(&k, BATCHED, "w", "c", "6");
    cr_assert_eq(s_id(&k, "c", 3), '5');
    cr_assert_eq(s_id(&k, "c", 3), '6');
    kit_end(&k);
}

/* What is too large, or has frames outside, goes by itself in its order. */
Test(batches, keep_the_order) {
    static char large[1200];
    kit_t k;
    s_begin(&k);
    memset(large, 'l', sizeof large - 1);
    ask(&k, BATCHED, "c", "1");
    ask(&k, BATCHED, "c", "2");
    ask(&k, BATCHED, "c", "3");
    say_as(&k, BATCHED, FRONT, "c", "", "MDPC01", "S", "4", large);
    ask(&k, BATCHED, "c", "5");
    s_flush(&k);
    cr_assert_eq(s_id(&k, "w", 5), '1');
    cr_assert_str_eq(s_ids(&k, "w", REQUEST_ID), "23");
    cr_assert_eq(s_id(&k, "w", 5), '4');
    said_t *m = kit_take(&k, "w");
    cr_assert(m && m->n == 1); /* alone, packed */
    free(m);
    for (char id[] = "A"; *id <= 'S'; ++*id)
        ask(&k, BATCHED, "c", id);
    s_flush(&k);
    cr_assert_str_eq(s_ids(&k, "w", REQUEST_ID), "ABCDEFGHIJKLMNOP");
    cr_assert_str_eq(s_ids(&k, "w", REQUEST_ID), "QRS");
    kit_end(&k);
}

/* It waits before what came later, each message by itself, and goes when there
 * is room. */
Test(batches, wait_in_the_queue_of_who_is_full) {
    kit_t k;
    s_begin(&k);
    for (char id[] = "1"; *id < '5'; ++*id)
        ask(&k, BATCHED, "c", id);
    k.full[0] = "w";
    s_flush(&k);
    gi_broker_peer_t *w = k.core->sockets[BACK].last;
    cr_assert_eq(w->n_queued, 3); /* 2 3 4 */
    cr_assert(w->queued_bytes > 0 && gi_broker_core_blocked(k.core));
    ask(&k, BATCHED, "c", "5");
    cr_assert_eq(w->n_queued, 4);
    gi_broker_core_retry(k.core, 64, k.now);
    s_flush(&k);
    cr_assert_eq(w->n_queued, 4);
    k.full[0] = NULL;
    cr_assert_eq(s_id(&k, "w", 5), '1');
    gi_broker_core_retry(k.core, 64, k.now);
    s_flush(&k);
    cr_assert_eq(w->n_queued, 0);
    char all[8] = "";
    for (const char *ids; *(ids = s_ids(&k, "w", REQUEST_ID));)
        strcat(all, *ids == '-' ? "2" : ids); /* the first of a pass */
    cr_assert(strcmp(all, "2345") == 0, "%s", all);
    kit_end(&k);
}

/* A request of a batch that never left runs elsewhere; it is no lost call. */
Test(batches, of_who_is_gone_never_ran) {
    kit_t k;
    s_begin(&k);
    for (char id[] = "1"; *id < '5'; ++*id)
        ask(&k, BATCHED, "c", id);
    k.gone[0] = "w";
    ready(&k, "v", "S:d:99");
    kit_forget(&k);
    s_flush(&k);
    for (char id = '2'; id < '5'; id++)
        cr_assert_eq(s_id(&k, "v", 5), id);
    cr_assert_null(kit_take(&k, "v"));
    said_t *lost = kit_take(&k, "c"); /* the one that had gone */
    cr_assert(lost && kit_frame_is(lost, 3, "1"));
    free(lost);
    cr_assert_null(kit_take(&k, "c"));
    kit_end(&k);
}

/* A client that is gone and comes back plain gets its answers plain. */
Test(batches, wait_for_a_client_that_is_away) {
    kit_t k;
    s_begin(&k);
    for (char id[] = "1"; *id < '5'; ++*id)
        ask(&k, BATCHED, "c", id);
    s_flush(&k);
    for (char id[] = "1"; *id < '4'; ++*id)
        answer(&k, BATCHED, "w", "c", id);
    k.gone[0] = "c";
    s_flush(&k);
    kit_forget(&k);
    gi_broker_peer_t *c = k.core->sockets[FRONT].last;
    cr_assert(c->away_ms && !c->batches && c->n_queued == 2);
    k.gone[0] = NULL;
    answer(&k, BATCHED, "w", "c", "4");
    ask(&k, PLAIN, "c", "5");
    gi_broker_core_retry(k.core, 64, k.now);
    s_flush(&k);
    for (char id = '2'; id < '5'; id++)
        cr_assert_eq(s_id(&k, "c", 3), id);
    kit_end(&k);
}

/* The last words of a peer that is forgotten are said, and DISCONNECT comes
 * behind what was gathered. */
Test(batches, end_before_the_broker_does) {
    kit_t k;
    s_begin(&k);
    for (char id[] = "1"; *id < '4'; ++*id)
        ask(&k, BATCHED, "c", id);
    kit_forget(&k);
    gi_broker_core_stop(k.core, k.now);
    cr_assert_eq(k.core->n_loaded, 0);
    cr_assert_str_eq(s_ids(&k, "w", 1), "\2\2\5");
    kit_end(&k);
}
