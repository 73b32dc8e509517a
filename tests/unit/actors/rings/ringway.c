/* SPDX-License-Identifier: BSD-3-Clause */
/* Two ends of a ring way in one process: records of any size, bells, room, and
 * what is left when one end goes away. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rings/rings.h"

#define RING GI_RINGPAIR_MIN
#define MOST ((size_t)1 << 20)

typedef struct s_both {
    gi_ringway_t *one, *two;
    int fds[2];
} s_both_t;

static s_both_t s_open(void) {
    s_both_t b;
    int memory = gi_rings_memory(RING);
    cr_assert_geq(memory, 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, b.fds), 0);
    b.one = gi_ringway_new(&b.fds[0], memory, RING, true, MOST);
    b.two = gi_ringway_new(&b.fds[1], memory, RING, false, MOST);
    cr_assert(b.one && b.two);
    cr_assert_eq(b.fds[0], -1, "taken");
    close(memory);
    return b;
}

static void s_close(s_both_t *b) {
    gi_ringway_destroy(&b->one);
    gi_ringway_destroy(&b->two);
    gi_ringway_destroy(&b->two);
}

static bool s_send(gi_ringway_t *self, size_t size, unsigned n) {
    unsigned char *to = gi_ringway_room(self, size);
    if (!to)
        return false;
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)(n + i);
    gi_ringway_sent(self, size);
    return true;
}

static bool s_is(gate_bytes_t got, size_t size, unsigned n) {
    const unsigned char *p = got.data;
    bool same = got.size == size;
    for (size_t i = 0; i < size && same; i++)
        same = p[i] == (unsigned char)(n + i);
    return same;
}

static bool s_readable(const gi_ringway_t *self) {
    struct pollfd fd = {.fd = self->fd, .events = POLLIN};
    return poll(&fd, 1, 0) == 1;
}

Test(ringway, records_of_any_size_come_whole_and_in_order) {
    const size_t sizes[] = {1,      7, 1000, RING / 4, RING, 3 * RING + 5,
                            200000, 2};
    s_both_t b = s_open();
    for (unsigned n = 0; n < 40; n++) {
        size_t size = sizes[n % 8];
        gate_bytes_t got;
        bool came = false;
        cr_assert(s_send(b.one, size, n));
        for (unsigned i = 0; i < 1000 && !came; i++) {
            came = gi_ringway_take(b.two, &got);
            gi_ringway_flush(b.two);
            gi_ringway_flush(b.one);
        }
        cr_assert(came && s_is(got, size, n), "record %u of %zu", n, size);
        cr_assert_not(gi_ringway_take(b.two, &got));
    }
    s_close(&b);
}

Test(ringway, behind_a_large_one_others_wait_at_their_sender) {
    s_both_t b = s_open();
    gate_bytes_t got;
    cr_assert(s_send(b.one, 5 * RING, 1));
    cr_assert_not(s_send(b.one, 1, 2), "no room");
    while (!gi_ringway_take(b.two, &got)) {
        gi_ringway_flush(b.two);
        gi_ringway_flush(b.one);
    }
    cr_assert(s_is(got, 5 * RING, 1));
    cr_assert(s_send(b.one, 1, 2));
    cr_assert(gi_ringway_take(b.two, &got) && s_is(got, 1, 2));
    s_close(&b);
}

Test(ringway, who_sleeps_is_rung_and_who_waits_for_room) {
    s_both_t b = s_open();
    gate_bytes_t got;
    cr_assert(gi_ringway_sleep(b.two));
    cr_assert(s_send(b.one, 10, 1));
    gi_ringway_flush(b.one);
    cr_assert(s_readable(b.two));
    b.two->rung = true;
    gi_ringway_hear(b.two);
    cr_assert_not(s_readable(b.two));
    cr_assert_not(b.two->ended);
    while (s_send(b.one, 500, 2)) {
    }
    cr_assert_not(s_readable(b.one));
    while (gi_ringway_take(b.two, &got)) {
    }
    gi_ringway_flush(b.two);
    cr_assert(s_readable(b.one), "there is room now");
    s_close(&b);
}

Test(ringway, what_was_said_before_the_end_is_heard) {
    s_both_t b = s_open();
    gate_bytes_t got;
    cr_assert(s_send(b.one, 10, 1) && s_send(b.one, 20, 2));
    gi_ringway_destroy(&b.one);
    b.two->rung = true;
    gi_ringway_hear(b.two);
    cr_assert(b.two->ended);
    cr_assert_not(gi_ringway_over(b.two));
    cr_assert(gi_ringway_take(b.two, &got) && s_is(got, 10, 1));
    cr_assert(gi_ringway_take(b.two, &got) && s_is(got, 20, 2));
    cr_assert(gi_ringway_over(b.two));
    cr_assert_null(gi_ringway_room(b.two, 1));
    gi_ringway_flush(b.two); /* no SIGPIPE */
    s_close(&b);
}

Test(ringway, bells_without_end_and_a_full_socket_block_nobody) {
    s_both_t b = s_open();
    while (send(b.one->fd, "xyz", 3, MSG_DONTWAIT) > 0) {
    }
    for (unsigned i = 0; i < 100; i++) { /* it says EAGAIN: it was rung */
        gi_ringway_sleep(b.two);
        s_send(b.one, 1, i);
        gi_ringway_flush(b.one);
    }
    b.two->rung = true;
    gi_ringway_hear(b.two);
    cr_assert(b.two->rung, "some at a time");
    for (unsigned i = 0; i < 10000 && b.two->rung; i++)
        gi_ringway_hear(b.two);
    cr_assert_not(b.two->rung);
    cr_assert_not(b.two->ended);
    s_close(&b);
}

Test(ringway, more_than_a_record_may_have_ends_it) {
    s_both_t b = s_open();
    gate_bytes_t got;
    bool came = false;
    cr_assert(s_send(b.one, MOST + 1, 1));
    for (unsigned i = 0; i < 1000 && !b.two->ended; i++) {
        came |= gi_ringway_take(b.two, &got);
        gi_ringway_flush(b.two);
        gi_ringway_flush(b.one);
    }
    cr_assert_not(came);
    cr_assert(b.two->ended && gi_ringway_over(b.two));
    cr_assert_leq(b.two->in_room, 2 * MOST);
    s_close(&b);
}

Test(ringway, calm_is_few_records_and_some) {
    s_both_t b = s_open();
    gate_bytes_t got;
    cr_assert_not(gi_ringway_calm(b.two), "nothing moved");
    s_send(b.one, 1, 1);
    cr_assert(gi_ringway_take(b.two, &got) && gi_ringway_calm(b.two));
    cr_assert_not(gi_ringway_calm(b.two));
    for (unsigned i = 0; i <= GI_RINGWAY_FEW; i++)
        s_send(b.one, 1, 1);
    while (gi_ringway_take(b.two, &got)) {
    }
    cr_assert_not(gi_ringway_calm(b.two), "many");
    s_close(&b);
}

/* ---- how two come to one --------------------------------------------------- */
Test(rings, words_over_zeromq) {
    unsigned char nonce[GI_RINGS_NONCE], read[GI_RINGS_NONCE],
        said[GI_RINGS_SAID];
    memset(nonce, 7, sizeof nonce);
    size_t n = gi_rings_write(GI_RINGS_ASK, nonce, said);
    cr_assert_eq(gi_rings_read((gate_bytes_t){said, n}, read), GI_RINGS_ASK);
    cr_assert_eq(memcmp(nonce, read, sizeof nonce), 0);
    cr_assert_eq(gi_rings_read((gate_bytes_t){said, n - 1}, read),
                 GI_RINGS_NONSENSE);
    cr_assert_eq(gi_rings_read((gate_bytes_t){said, 3}, read),
                 GI_RINGS_NOTHING);
    n = gi_rings_write(GI_RINGS_UP, nonce, said);
    cr_assert_eq(gi_rings_read((gate_bytes_t){said, n}, read), GI_RINGS_UP);
    cr_assert_eq(gi_rings_read((gate_bytes_t){said, n + 1}, read),
                 GI_RINGS_NONSENSE);
    n = gi_rings_write(GI_RINGS_DOWN, nonce, said);
    cr_assert_eq(gi_rings_read((gate_bytes_t){said, n}, read), GI_RINGS_DOWN);
    cr_assert_eq(gi_rings_read((gate_bytes_t){"\xc1GXP\0", 5}, read),
                 GI_RINGS_NOTHING);
}

typedef struct s_met {
    int listener, peer, broker;
    char offer[GI_RINGS_OFFER];
} s_met_t;

static s_met_t s_meet(void) {
    s_met_t m;
    cr_assert_eq(gi_rings_listen(m.offer, &m.listener), GATE_OK);
    m.peer = gi_rings_connect((gate_bytes_t){m.offer, strlen(m.offer)});
    m.broker = accept(m.listener, NULL, NULL);
    cr_assert(m.peer >= 0 && m.broker >= 0);
    return m;
}

static void s_part(s_met_t *m) {
    close(m->peer);
    close(m->broker);
    close(m->listener);
}

Test(rings, hello_then_memory_of_the_right_kind) {
    s_met_t m = s_meet();
    unsigned char nonce[GI_RINGS_NONCE] = {1, 2, 3}, read[GI_RINGS_NONCE];
    int memory = -1, made = gi_rings_memory(RING);
    size_t ring = 0;
    cr_assert_eq(gi_rings_hear(m.peer, read, &memory, &ring), GI_RINGS_WAIT);
    cr_assert(gi_rings_hello(m.broker, nonce));
    cr_assert_eq(gi_rings_hear(m.peer, read, &memory, &ring), GI_RINGS_HELLO);
    cr_assert_eq(memcmp(nonce, read, sizeof nonce), 0);
    cr_assert(gi_rings_give(m.broker, made, RING));
    cr_assert_eq(gi_rings_hear(m.peer, read, &memory, &ring), GI_RINGS_MEMORY);
    cr_assert_eq(ring, RING);
    cr_assert_eq(ftruncate(memory, 0), -1, "nobody makes it smaller");
    close(memory);
    close(made);
    s_part(&m);
}

/* Memory that is not sealed, of another size, none at all; anything else. */
Test(rings, other_memory_is_refused) {
    unsigned char nonce[GI_RINGS_NONCE];
    size_t ring = 0;
    off_t bytes = (off_t)gi_ringpair_bytes(RING);
    for (unsigned i = 0; i < 5; i++) {
        s_met_t m = s_meet();
        int memory = -1, made = memfd_create("test", MFD_ALLOW_SEALING);
        cr_assert_eq(ftruncate(made, bytes), 0);
        if (i == 1)
            fcntl(made, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL);
        if (i >= 2)
            fcntl(made, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        if (i < 3)
            gi_rings_give(m.broker, made, i == 2 ? RING * 2 : RING);
        else if (i == 3)
            gi_rings_give(m.broker, made, RING + 64);
        else
            cr_assert_eq(send(m.broker, "\xc1GXRm\0\x10\0\0\0\0\0\0", 13, 0),
                         13);
        cr_assert_eq(gi_rings_hear(m.peer, nonce, &memory, &ring), GI_RINGS_END,
                     "case %u", i);
        cr_assert_eq(memory, -1);
        close(made);
        s_part(&m);
    }
}

Test(rings, the_end_of_the_broker_is_an_end) {
    s_met_t m = s_meet();
    unsigned char nonce[GI_RINGS_NONCE];
    int memory = -1;
    size_t ring;
    shutdown(m.broker, SHUT_RDWR);
    cr_assert_eq(gi_rings_hear(m.peer, nonce, &memory, &ring), GI_RINGS_END);
    s_part(&m);
}

/* Each part of the offer: a stranger's, a fool's. */
Test(rings, only_the_offer_of_this_machine_and_that_process_is_taken) {
    s_met_t m = s_meet();
    char other[GI_RINGS_OFFER], *pid;
    unsigned long long where = strtoull(m.offer + 2, &pid, 16);
    const char *name = strrchr(m.offer, ' ') + 1;
    long own = getpid();
    snprintf(other, sizeof other, "2 %016llx %ld %s", where, own, name);
    int fd = gi_rings_connect((gate_bytes_t){other, strlen(other)});
    cr_assert_geq(fd, 0, "the right one, made anew");
    close(fd);
    snprintf(other, sizeof other, "2 %016llx %ld %s", where ^ 1, own, name);
    cr_assert_eq(gi_rings_connect((gate_bytes_t){other, strlen(other)}), -1);
    snprintf(other, sizeof other, "2 %016llx %ld %s", where, own + 1, name);
    cr_assert_eq(gi_rings_connect((gate_bytes_t){other, strlen(other)}), -1);
    snprintf(other, sizeof other, "2 %016llx %ld %sx", where, own, name);
    cr_assert_eq(gi_rings_connect((gate_bytes_t){other, strlen(other)}), -1);
    static const char *const bad[] = {"",         "2",       "1 0 1 x",
                                      "2 ",       "2 g 1 x", "2 1 x y",
                                      "2 1 -5 y", "2 1 1",   "2 1 1 "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(gi_rings_connect((gate_bytes_t){bad[i], strlen(bad[i])}),
                     -1, "'%s'", bad[i]);
    char longest[GI_RINGS_OFFER + 50];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "2 1 1 ", 6);
    cr_assert_eq(gi_rings_connect((gate_bytes_t){longest, sizeof longest}), -1);
    cr_assert_eq(gi_rings_connect((gate_bytes_t){longest, 120}), -1);
    s_part(&m);
}

/* Beyond the limit on files comes a signal, which nobody here has asked for. */
Test(rings, no_memory_beyond_the_limit_on_files) {
    struct rlimit before, little;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = RING;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    cr_expect_eq(gi_rings_memory(RING), -1);
    setrlimit(RLIMIT_FSIZE, &before);
}
