/* SPDX-License-Identifier: BSD-3-Clause */
/* link_dir.c -- parts are taken in order; a part that is missing, or one of
 * another revision, leaves the offers as they were until all of it is asked
 * for. */
#include "link/link_dir.h"

#include <assert.h>
#include <string.h>

#define S_KEEP 65536 /* bytes of memory that an empty list may keep */
#define S_LENGTH 4   /* bytes before each announcement */

/* ---- announcements one behind the other ---------------------------------- */
bool gi_link_dir_append(gi_buf_t *to, gate_bytes_t packed) {
    unsigned char length[S_LENGTH];
    gi_link_put32(length, (uint32_t)packed.size);
    return gi_buf_reserve(to, S_LENGTH + packed.size) &&
           gi_buf_append(to, length, S_LENGTH) &&
           gi_buf_append(to, packed.data, packed.size);
}

bool gi_link_dir_next(gate_bytes_t *rest, gate_bytes_t *packed) {
    const unsigned char *p = rest->data;
    if (rest->size < S_LENGTH)
        return false;
    size_t size = gi_link_get32(p), left = rest->size - S_LENGTH;
    if (size > left)
        return false;
    *packed = (gate_bytes_t){p + S_LENGTH, size};
    *rest = (gate_bytes_t){p + S_LENGTH + size, left - size};
    return true;
}

/* ---- a revision ---------------------------------------------------------- */
static void s_begin(gi_link_dir_t *self, const gi_link_news_t *news) {
    gi_buf_reset(&self->parts, S_KEEP);
    self->parts_rev = news->rev;
    self->n_parts = 0;
    self->of_parts = news->parts;
}

static bool s_fits(const gi_link_dir_t *self, const gi_link_news_t *news,
                   size_t size) {
    return news->rev == self->parts_rev && news->part == self->n_parts &&
           news->parts == self->of_parts &&
           self->parts.size + size + S_LENGTH <= GI_LINK_DIR_BYTES;
}

static void s_whole(gi_link_dir_t *self) {
    gi_buf_t offers = self->parts;
    self->parts = self->offers;
    self->offers = offers;
    self->have_rev = self->parts_rev;
    gi_buf_reset(&self->parts, S_KEEP);
    self->parts_rev = self->n_parts = self->of_parts = 0;
}

/* True: the revision is whole. */
static bool s_take_part(gi_link_dir_t *self, const gi_link_news_t *news,
                        gate_bytes_t packed) {
    if (news->rev == 0 || news->parts == 0 || news->parts > GI_LINK_DIR_PARTS)
        return false;
    if (news->part == 0)
        s_begin(self, news);
    if (!s_fits(self, news, packed.size) ||
        !gi_link_dir_append(&self->parts, packed))
        return false; /* one is missing: all of it is asked for */
    if (++self->n_parts < news->parts)
        return false;
    s_whole(self);
    return true;
}

/* ---- what it says -------------------------------------------------------- */
static void s_text(char to[GI_LINK_NAME_MAX + 1], gate_bytes_t text) {
    size_t n = text.size < GI_LINK_NAME_MAX ? text.size : GI_LINK_NAME_MAX;
    if (n)
        memcpy(to, text.data, n);
    to[n] = 0;
}

/* Not while more parts of it are to come. */
static bool s_asks(gi_link_dir_t *self, const gi_link_news_t *news,
                   int64_t now_ms) {
    if (self->rev == self->have_rev || self->rev == 0 ||
        news->part + 1 < news->parts || now_ms < self->ask_ms)
        return false;
    self->ask_ms = now_ms + GI_LINK_DIR_ASK_MS;
    return true;
}

unsigned gi_link_dir_take(gi_link_dir_t *self, const gi_link_news_t *news,
                          gate_bytes_t packed, int64_t now_ms) {
    unsigned changed = self->name[0] ? 0 : GI_LINK_DIR_FIRST;
    bool draining = self->draining;
    s_text(self->name, news->name);
    s_text(self->zone, news->zone);
    self->beat_ms = news->beat_ms;
    self->draining = news->draining;
    self->rev = news->rev;
    if (s_take_part(self, news, packed) || draining != self->draining)
        changed |= GI_LINK_DIR_NEWS;
    if (s_asks(self, news, now_ms))
        changed |= GI_LINK_DIR_ASK;
#ifdef GI_CHECK_LAWS
    assert(gi_link_dir_valid(self));
#endif
    return changed;
}

/* ---- life, and the law --------------------------------------------------- */
void gi_link_dir_fini(gi_link_dir_t *self) {
    gi_buf_fini(&self->offers);
    gi_buf_fini(&self->parts);
}

static size_t s_count(const gi_buf_t *list, bool *whole) {
    gate_bytes_t rest = {list->data, list->size}, packed;
    size_t n = 0;
    while (gi_link_dir_next(&rest, &packed))
        n++;
    *whole = rest.size == 0;
    return n;
}

bool gi_link_dir_valid(const gi_link_dir_t *self) {
    bool offers, parts;
    size_t n_offers = s_count(&self->offers, &offers);
    size_t n_parts = s_count(&self->parts, &parts);
    return offers && parts && n_offers <= GI_LINK_DIR_PARTS &&
           n_parts == self->n_parts && self->n_parts <= self->of_parts &&
           self->of_parts <= GI_LINK_DIR_PARTS &&
           (self->have_rev > 0) == (n_offers > 0) &&
           self->offers.size <= GI_LINK_DIR_BYTES &&
           self->parts.size <= GI_LINK_DIR_BYTES;
}
