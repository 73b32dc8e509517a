/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_link_dir.c -- what one broker knows of another: its announcements, of
 * several parts, lost, doubled and reordered as the input says, and between them
 * what anybody may publish in its name. As long as nobody lies, its offers are
 * those of a revision that it had, byte for byte; and whatever was said, its next
 * full announcement puts everything right, when what it lacks is asked for. */
#include "input.h"

#include <string.h>

#include "link/link_dir.h"
#include "settings/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { S_PARTS = 4, S_REVS = 8, S_STEPS = 200 };

/* The broker that tells of itself. */
typedef struct s_owner {
    uint64_t rev;
    bool draining;
    unsigned n_parts[S_REVS]; /* of the last revisions */
} s_owner_t;

typedef struct s_world {
    s_owner_t owner;
    gi_link_dir_t dir;
    gate_settings_t *settings;
    int64_t now_ms;
    bool lied;
} s_world_t;

/* ---- what the owner says -------------------------------------------------- */
static bool s_pack(const s_owner_t *owner, uint64_t rev, unsigned part,
                   gi_buf_t *to) {
    unsigned parts = owner->n_parts[rev % S_REVS];
    gi_link_offer_t offer = {.index = (uint32_t)(rev * S_PARTS + part),
                             .name = {"service", 1 + rev % 7},
                             .description = {"x", part & 1},
                             .idempotent = {"", 0},
                             .workers = 1,
                             .max = (int64_t)rev};
    gi_link_news_t news = {.name = {"owner", 5},
                           .zone = {"", 0},
                           .rev = rev,
                           .beat_ms = 1000,
                           .draining = owner->draining,
                           .part = part,
                           .parts = parts,
                           .offers = &offer,
                           .n_offers = 1};
    gi_buf_reset(to, SIZE_MAX);
    return gi_link_news_pack(to, &news) == GATE_OK;
}

/* The heartbeat: the revision alone. */
static bool s_pack_short(const s_owner_t *owner, gi_buf_t *to) {
    gi_link_news_t news = {.name = {"owner", 5},
                           .zone = {"", 0},
                           .rev = owner->rev,
                           .beat_ms = 1000,
                           .draining = owner->draining};
    gi_buf_reset(to, SIZE_MAX);
    return gi_link_news_pack(to, &news) == GATE_OK;
}

static void s_change(s_owner_t *owner, unsigned parts) {
    owner->rev++;
    owner->n_parts[owner->rev % S_REVS] = 1 + parts % S_PARTS;
}

/* ---- what comes ----------------------------------------------------------- */
/* Bits of gi_link_dir_take; none, when it is no announcement. */
static unsigned s_take(s_world_t *w, gate_bytes_t packed) {
    gi_link_news_t news;
    msgpack_zone zone;
    unsigned bits = 0;
    if (!msgpack_zone_init(&zone, 1024))
        return 0;
    if (gi_link_news_parse(packed, &zone, w->settings, &news) == GATE_OK &&
        news.name.size > 0)
        bits = gi_link_dir_take(&w->dir, &news, packed, w->now_ms);
    msgpack_zone_destroy(&zone);
    fuzz_must(gi_link_dir_valid(&w->dir)); /* other builds do not look */
    return bits;
}

static unsigned s_part(s_world_t *w, uint64_t rev, unsigned part) {
    gi_buf_t packed = {0};
    bool ok = s_pack(&w->owner, rev, part, &packed);
    unsigned bits =
        ok ? s_take(w, (gate_bytes_t){packed.data, packed.size}) : 0;
    gi_buf_fini(&packed);
    return bits;
}

static unsigned s_short(s_world_t *w) {
    gi_buf_t packed = {0};
    unsigned bits = s_pack_short(&w->owner, &packed)
                        ? s_take(w, (gate_bytes_t){packed.data, packed.size})
                        : 0;
    gi_buf_fini(&packed);
    return bits;
}

static unsigned s_all(s_world_t *w) {
    unsigned bits = 0, n = w->owner.n_parts[w->owner.rev % S_REVS];
    for (unsigned part = 0; part < n; part++)
        bits |= s_part(w, w->owner.rev, part);
    return bits;
}

/* In its name, by anybody: fields that fit its own, or bytes. */
static void s_lie(s_world_t *w, fuzz_input_t *in) {
    static const char *const names[] = {"owner", "", "o\tr", "other"};
    unsigned how = fuzz_byte(in);
    gate_bytes_t some = fuzz_some(in, 64);
    gi_buf_t packed = {0};
    gi_link_offer_t offer = {
        .index = how, .name = {"lie", 3}, .max = (int64_t)how};
    const char *name = names[how & 3];
    gi_link_news_t news = {.name = {name, strlen(name)},
                           .rev = some.size > 7 ? (uint64_t)INT64_MAX
                                                : w->owner.rev + some.size,
                           .beat_ms = 1000,
                           .draining = how & 4,
                           .part = how >> 3 & 3,
                           .parts = how >> 5,
                           .offers = &offer,
                           .n_offers = how >> 5 ? 1 : 0};
    w->lied = true;
    if (how & 128 || gi_link_news_pack(&packed, &news) != GATE_OK)
        s_take(w, some);
    else
        s_take(w, (gate_bytes_t){packed.data, packed.size});
    gi_buf_fini(&packed);
}

/* ---- what must hold ------------------------------------------------------- */
static unsigned s_count(const s_world_t *w) {
    gate_bytes_t rest = {w->dir.offers.data, w->dir.offers.size}, got;
    unsigned n = 0;
    while (gi_link_dir_next(&rest, &got))
        n++;
    return n;
}

/* Its offers are all parts of one revision, in order; with truth: as its owner
 * had them. */
static void s_offers(s_world_t *w, bool truth) {
    gate_bytes_t rest = {w->dir.offers.data, w->dir.offers.size}, got;
    uint64_t rev = w->dir.have_rev;
    unsigned n = s_count(w);
    msgpack_zone zone;
    gi_link_news_t news;
    if (!msgpack_zone_init(&zone, 1024))
        return;
    for (unsigned part = 0; gi_link_dir_next(&rest, &got); part++) {
        gate_err_t e = gi_link_news_parse(got, &zone, w->settings, &news);
        fuzz_must(!e && news.rev == rev && news.part == part &&
                  news.parts == n);
        fuzz_must(!truth || (news.n_offers == 1 &&
                             news.offers->index == rev * S_PARTS + part));
    }
    fuzz_must(!truth || n == w->owner.n_parts[rev % S_REVS]);
    msgpack_zone_destroy(&zone);
}

static void s_check(s_world_t *w) {
    fuzz_must(w->lied || w->dir.have_rev <= w->owner.rev);
    if (w->dir.have_rev)
        s_offers(w, !w->lied && w->owner.rev - w->dir.have_rev < S_REVS);
}

static void s_step(s_world_t *w, fuzz_input_t *in) {
    unsigned op = fuzz_byte(in), n = op >> 3;
    uint64_t late = w->owner.rev > n % S_REVS ? w->owner.rev - n % S_REVS : 0;
    switch (op & 7) {
    case 0:
        s_change(&w->owner, n);
        break;
    case 1:
        s_part(w, w->owner.rev, n % w->owner.n_parts[w->owner.rev % S_REVS]);
        break;
    case 2: /* one of before */
        if (late)
            s_part(w, late, n % w->owner.n_parts[late % S_REVS]);
        break;
    case 3:
        if (s_short(w) & GI_LINK_DIR_ASK)
            s_all(w);
        break;
    case 4:
        s_all(w);
        break;
    case 5:
        s_lie(w, in);
        break;
    case 6:
        w->owner.draining = n & 1;
        break;
    default:
        w->now_ms += n * 20;
        break;
    }
    s_check(w);
}

/* A heartbeat later what is lacking is asked for, and its answer is the truth. */
static void s_heal(s_world_t *w) {
    w->now_ms += GI_LINK_DIR_ASK_MS;
    unsigned bits = s_short(w);
    bool lacks = w->dir.have_rev != w->owner.rev;
    fuzz_must(!lacks || bits & GI_LINK_DIR_ASK);
    bits = s_all(w);
    fuzz_must(bits & GI_LINK_DIR_NEWS && !(bits & GI_LINK_DIR_ASK));
    fuzz_must(w->dir.have_rev == w->owner.rev && w->dir.rev == w->owner.rev);
    fuzz_must(strcmp(w->dir.name, "owner") == 0 &&
              w->dir.draining == w->owner.draining);
    s_offers(w, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static gate_settings_t *settings;
    fuzz_input_t in = {data, size};
    if (settings == NULL && (settings = gate_settings_new()) == NULL)
        return 0;
    s_world_t w = {.settings = settings};
    s_change(&w.owner, 0);
    for (int i = 0; i < S_STEPS && in.size; i++)
        s_step(&w, &in);
    s_heal(&w);
    gi_link_dir_fini(&w.dir);
    return 0;
}
