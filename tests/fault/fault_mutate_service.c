/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_mutate_service.c -- a broker that says what it should, changed at
 * random, to a service; between them honest requests, each of which must get
 * its right answer, or the service has begun anew since. */
#include "child.h"
#include "lanes.h"
#include "mutate.h"
#include "raw.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32  /* changed messages before each honest one */
#define LIFE 8192 /* batches until the service is sent away for once */
#define MEMORY_KB (24 * 1024)

#define FRAME(text) \
    { text, sizeof text - 1 }
#define HEAD FRAME(""), FRAME("MDPW01")

static const message_t s_heartbeat = {3, {HEAD, FRAME("\x04")}};
static const message_t s_disconnect = {3, {HEAD, FRAME("\x05")}};
/* Our own extensions, which no Python broker sends. */
static const message_t s_ours[] = {
    {4, {HEAD, FRAME("\x04"), FRAME("\xc1GX1\x80")}},
    {4, {HEAD, FRAME("\x04"), FRAME("\xc1GX1\x81\xa1p\xc3")}},
    {4, {HEAD, FRAME("\x04"), FRAME("\xc1GX1\x81\xa1p\xc3")}},
    /* metadata; arguments in chunks: head, chunk, end */
    {10,
     {HEAD, FRAME("\x02"), FRAME("client-of-mutant"), FRAME(""),
      FRAME("0123456789abcdef"),
      FRAME("\xa5"
            "about"),
      FRAME("\x90"), FRAME("\x80"),
      FRAME("\xc1GX1\x82\xa1m\x82\xabtraceparent\xa5"
            "00-ab\xa8priority\xa4high\xa1"
            "a\x02")}},
    {10,
     {HEAD, FRAME("\x02"), FRAME("client-of-mutant"), FRAME(""),
      FRAME("0123456789abcdef"),
      FRAME("\xa4"
            "blob"),
      FRAME("\x90"), FRAME("\x80"),
      FRAME("\xc1GX1\x83\xa2ha\xcd\x01\x00\xa2hk\x01\xa2"
            "ac\xa4gzip")}},
    {8,
     {HEAD, FRAME("\x06"), FRAME("client-of-mutant"), FRAME(""),
      FRAME("0123456789abcdef"), FRAME("GateStreamHugData"),
      FRAME("\x1f\x8b\x08\0\0\0\0\0\0\xff\x63\x60")}},
    {8,
     {HEAD, FRAME("\x06"), FRAME("client-of-mutant"), FRAME(""),
      FRAME("0123456789abcdef"), FRAME("GateStreamHugData"),
      FRAME("HugeDataEND")}},
    {7,
     {HEAD, FRAME("\x06"), FRAME("client-of-mutant"), FRAME(""),
      FRAME("0123456789abcdef"), FRAME("\xc1GX1\x81\xa1x\xc3")}},
    {10,
     {HEAD, FRAME("\x02"), FRAME("client-of-mutant"), FRAME(""),
      FRAME("0123456789abcdef"), FRAME("\xa3gen"), FRAME("\x91\x03"),
      FRAME("\x80"),
      FRAME("\xc1GX1\x84\xa1t\xcd\x03\xe8\xa2"
            "ci\x02\xa1h\xc3\xa1u\xa4root")}}};

typedef struct world {
    void *router;
    mutate_t *mutate;
    char name[256]; /* the service's routing id */
    gate_bytes_t peer;
    size_t asked, right, anew; /* honest requests; READYs */
    bool packs;                /* the service packs what it says */
    size_t packed;             /* messages of its that came so */
} world_t;

static bool s_is(const message_t *m, size_t at, const void *data, size_t size) {
    return at < m->n && m->frame[at].size == size &&
           memcmp(m->frame[at].data, data, size) == 0;
}

/* What came from the service: true when it says READY. */
static bool s_ready(world_t *w, const raw_message_t *got) {
    const message_t *m = &got->m;
    w->packs = got->packed;
    w->packed += got->packed;
    if (!s_is(m, 3, "\x01", 1) || m->frame[0].size > sizeof w->name)
        return false;
    memcpy(w->name, m->frame[0].data, m->frame[0].size);
    w->peer = (gate_bytes_t){w->name, m->frame[0].size};
    w->anew++;
    return raw_send_to(w->router, w->peer, &s_heartbeat);
}

static int64_t s_result(gate_bytes_t body) {
    gate_value_t *value = NULL;
    int64_t n = -1;
    if (gate_value_decode(body.data, body.size, NULL, &value) ||
        gate_value_read(value, "result", &n))
        n = -1;
    gate_value_destroy(&value);
    return n;
}

/* Waits for the answer to rid: 1 right, 0 the service began anew, -1 wrong or
 * none. */
static int s_answer(world_t *w, const char *rid, int64_t want) {
    double limit = child_now_ms() + 30000 * child_slow();
    raw_message_t got;
    while (child_now_ms() < limit) {
        if (!raw_take(w->router, 100, &got))
            continue;
        bool ready = s_ready(w, &got);
        bool mine = s_is(&got.m, 3, "\x03", 1) && s_is(&got.m, 6, rid, 16);
        int64_t n = mine && got.m.n == 8 ? s_result(got.m.frame[7]) : -1;
        raw_free(&got);
        if (ready)
            return 0;
        if (mine && n != want)
            child_fail("%s: %lld instead of %lld", rid, (long long)n,
                       (long long)want);
        if (mine)
            return n == want ? 1 : -1;
    }
    child_fail("%s: no answer", rid);
    return -1;
}

/* add(a, 1), until an answer comes. */
static bool s_honest(world_t *w) {
    char rid[17], args[] = "\x92\xcd\0\0\x01";
    int verdict = 0;
    int64_t a = (int64_t)(w->asked % 60000);
    args[2] = (char)(a >> 8);
    args[3] = (char)a;
    while (verdict == 0) {
        snprintf(rid, sizeof rid, "honest-%09zu", w->asked++);
        message_t m = {9,
                       {HEAD,
                        FRAME("\x02"),
                        FRAME("an-honest-client"),
                        FRAME(""),
                        {rid, 16},
                        FRAME("\xa3"
                              "add"),
                        {args, 5},
                        FRAME("\x80")}};
        raw_send_to(w->router, w->peer,
                    w->packs ? mutate_pack(w->mutate, &m) : &m);
        verdict = s_answer(w, rid, a + 1);
    }
    w->right += verdict > 0;
    return verdict > 0;
}

static bool s_batches(world_t *w, size_t until) {
    for (size_t n = 1; mutate_count(w->mutate) < until; n++) {
        for (int i = 0; i < BATCH; i++)
            raw_send_to(w->router, w->peer,
                        mutate_packed(w->mutate, mutate_pick(w->mutate)));
        if (n % LIFE == 0)
            raw_send_to(w->router, w->peer, &s_disconnect);
        if (!s_honest(w))
            return false;
    }
    return true;
}

static void s_test(world_t *w, const child_t *service) {
    size_t all = child_long() ? 500000 : child_scaled(60000, 2000);
    bool ok = s_batches(w, all / 4);
    long kb = child_rss_kb(service);
    ok = ok && s_batches(w, all);
    kb = child_rss_kb(service) - kb;
    printf("mutants: %zu messages at a service; %zu honest requests, %zu "
           "answered, %zu times it began anew, %zu messages came packed; "
           "memory %+ld kB\n",
           mutate_count(w->mutate), w->asked, w->right, w->anew, w->packed, kb);
    child_check(ok && w->right > 0, "honest requests are answered");
    child_check(w->packed > 0, "the service packs for a broker that reads it");
    child_check(kb < MEMORY_KB * child_slow(), "memory stays flat");
}

int main(int argc, char **argv) {
    child_t service;
    char endpoint[128];
    raw_message_t got;
    world_t w = {.mutate = mutate_new("broker->worker", mutate_seed())};
    setenv("GATE_MDP_HEARTBEAT_INTERVAL", "500", 1);
    setenv("GATE_LOG_LEVEL", "error", 1); /* a line a message, else */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4", 1);
    child_init(argc, argv);
    for (size_t i = 0; i < sizeof s_ours / sizeof *s_ours; i++)
        mutate_add(w.mutate, &s_ours[i]);
    w.router = raw_router(endpoint, sizeof endpoint);
    child_spawn_service(&service, endpoint, "2");
    if (!raw_take(w.router, 20000, &got) || !s_ready(&w, &got))
        child_die("no READY");
    raw_free(&got);
    child_ready(&service);
    s_test(&w, &service);
    raw_close(&w.router);
    raw_over();
    child_end(&service);
    mutate_destroy(&w.mutate);
    return child_result();
}
