/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_procs_ring.c -- what a hostile worker can write into its half of the
 * shared memory, fed to the parent's reader: the ring, the lane, the positions,
 * results lent in the outbox. The parent may call it a lie; it may not read
 * outside, grow without bound, make up answers or lend a unit twice. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "shared/lane.h"
#include "shared/rsp_sum.h"
#include "procs/procs_rsp.h"

#define CELLS 16
#define LANE ((size_t)8192)
#define RESULT_MAX ((size_t)6000)
#define LENT_MAX ((size_t)5 * GI_UNIT_BYTES)
#define HELD 8

static gi_shm_t s_memory(void) {
    gi_shm_t shm = {.fd = -1, .cells = CELLS, .lane_bytes = LANE};
    shm.ctl = aligned_alloc(64, sizeof *shm.ctl);
    shm.own = aligned_alloc(64, sizeof *shm.own);
    shm.rsp = aligned_alloc(64, CELLS * sizeof *shm.rsp);
    shm.rsp_lane = aligned_alloc(64, LANE);
    memset(shm.ctl, 0, sizeof *shm.ctl);
    memset(shm.own, 0, sizeof *shm.own);
    memset(shm.rsp, 0, CELLS * sizeof *shm.rsp);
    memset(shm.rsp_lane, 0x5a, LANE);
    return shm;
}

static void s_free(gi_shm_t *shm) {
    free(shm->ctl);
    free(shm->own);
    free(shm->rsp);
    free(shm->rsp_lane);
}

/* Each record of the input: 16 bytes of header, the inline bytes follow. Bit 7
 * of the first byte makes the lane offset what it should be, so that the deep
 * paths are reached. */
static const uint8_t *s_cell(const uint8_t *p, const uint8_t *end,
                             gi_rsp_cell_t *cell, uint64_t *lane_tail) {
    memset(cell, 0, sizeof *cell);
    if (end - p < 12)
        return end;
    cell->id = p[1];
    cell->kind = p[2];
    cell->flags = p[3];
    memcpy(&cell->size, p + 4, 4);
    memcpy(&cell->at, p + 8, 4);
    if (p[0] & 0x80) {
        cell->kind = (uint8_t)(1 + cell->kind % 6);
        cell->flags &= 3;
        cell->size %=
            (uint32_t)(cell->flags & GI_RSP_IN_LANE ? LANE / 4 + 1
                                                    : GI_RSP_INLINE + 1);
    }
    if (p[0] & 0x20) { /* lent, at a place that may exist */
        cell->kind = GI_RSP_DONE;
        cell->flags = GI_RSP_LENT;
        cell->at %= 300;
        cell->size %= (uint32_t)(LENT_MAX + 2);
    } else if ((p[0] & 0x80) && (cell->flags & GI_RSP_IN_LANE)) {
        uint64_t at = gi_lane_place(LANE, *lane_tail, cell->size);
        cell->at = (uint32_t)(at % LANE / GI_LANE_ALIGN);
        *lane_tail = at + gi_lane_round(cell->size);
    }
    if ((p[0] & 0x18) != 0x18) /* else written over */
        cell->sum = gi_rsp_sum(cell);
    return p + 12;
}

/* ---- lent results -------------------------------------------------------- */

static gi_run_t *s_held[HELD];

static void s_forget(size_t i) {
    if (s_held[i])
        gi_run_release(s_held[i]);
    s_held[i] = NULL;
}

/* A run that nobody else has, within what has pages; touched at both ends. */
static void s_hold(gi_run_t *run, size_t i) {
    unsigned char *at = gi_run_data(run);
    size_t n = gi_run_size(run);
    assert(n > 0 && n <= LENT_MAX);
    assert(gi_run_at(run, at) + n <= 256 * GI_UNIT_BYTES);
    for (size_t k = 0; k < HELD; k++) {
        const unsigned char *other = s_held[k] ? gi_run_data(s_held[k]) : NULL;
        assert(!other || at >= other + gi_run_size(s_held[k]) ||
               at + n <= other);
    }
    at[0] = at[n - 1] = 1;
    s_forget(i % HELD);
    s_held[i % HELD] = run;
}

/* One for all inputs: its 16 MiB are pages. */
static gi_exchange_t *s_outbox(gi_shm_t *shm) {
    static gi_exchange_t *outbox;
    if (!outbox) {
        outbox = gi_exchange_new("fuzz", GI_OUTBOX_UNITS);
        assert(outbox);
    }
    gi_exchange_count(outbox, shm->ctl->returned, shm->ctl->given);
    assert(gi_exchange_grow(outbox, 1) == 256);
    return outbox;
}

/* What the parent would go on with. */
static void s_look(gi_rsp_reader_t *reader, size_t max) {
    assert(reader->n <= GI_RSP_BATCH);
    assert(reader->partial.size <= max);
    for (size_t i = 0; i < reader->n; i++) {
        const gi_rsp_rec_t *rec = &reader->recs[i];
        volatile unsigned char sum = 0;
        gate_error_t story;
        assert(rec->kind >= GI_RSP_DONE && rec->kind <= GI_RSP_FAULT);
        assert(rec->size <= max);
        if (rec->run) {
            assert(rec->kind == GI_RSP_DONE);
            s_hold(rec->run, rec->id);
            continue;
        }
        for (size_t k = 0; k < rec->size; k++)
            sum = (unsigned char)(sum + rec->data[k]);
        if (gi_shm_error_read(rec->data, rec->size, &story))
            assert(story.code != GATE_OK && strlen(story.text) < rec->size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gi_shm_t shm = s_memory();
    static gi_rsp_reader_t reader;
    const uint8_t *p = data, *end = data + size;
    uint64_t lane_tail = 0;
    uint32_t tail = 0;
    size_t max = size > 0 && data[0] & 0x40 ? LENT_MAX : RESULT_MAX;
    memset(&reader, 0, sizeof reader);
    gi_rsp_reset(&reader, &shm, s_outbox(&shm), max);
    while (p < end && !reader.lie) {
        unsigned step = 1 + (unsigned)(*p & 7);
        for (unsigned i = 0; i < step && p < end; i++)
            p = s_cell(p, end, &shm.rsp[tail++ % CELLS], &lane_tail);
        if (p < end && *p == 0xff) /* a tail that cannot be */
            tail += 1000;
        atomic_store(&shm.own->rsp_tail, tail);
        bool more = true;
        while (more) {
            more = gi_rsp_read(&reader);
            s_look(&reader, max);
        }
    }
    for (size_t i = 0; i < HELD; i++)
        s_forget(i);
    gi_rsp_fini(&reader);
    s_free(&shm);
    return 0;
}
