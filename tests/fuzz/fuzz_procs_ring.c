/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_procs_ring.c -- what a hostile worker can write into its half of the
 * shared memory, fed to the parent's reader: the ring, the lane, the positions.
 * The parent may call it a lie; it may not read outside, grow without bound or
 * make up answers. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "lane.h"
#include "procs_rsp.h"

#define CELLS 16
#define LANE ((size_t)8192)
#define RESULT_MAX ((size_t)6000)

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
        cell->kind = (uint8_t)(1 + cell->kind % 4);
        cell->flags &= 3;
        cell->size %=
            (uint32_t)(cell->flags & GI_RSP_IN_LANE ? LANE / 4 + 1
                                                    : GI_RSP_INLINE + 1);
    }
    if ((p[0] & 0x80) && (cell->flags & GI_RSP_IN_LANE)) {
        uint64_t at = gi_lane_place(LANE, *lane_tail, cell->size);
        cell->at = (uint32_t)(at % LANE / GI_LANE_ALIGN);
        *lane_tail = at + gi_lane_round(cell->size);
    }
    return p + 12;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gi_shm_t shm = s_memory();
    static gi_rsp_reader_t reader;
    const uint8_t *p = data, *end = data + size;
    uint64_t lane_tail = 0;
    uint32_t tail = 0;
    memset(&reader, 0, sizeof reader);
    gi_rsp_reset(&reader, &shm, RESULT_MAX);
    while (p < end && !reader.lie) {
        unsigned step = 1 + (unsigned)(*p & 7);
        for (unsigned i = 0; i < step && p < end; i++)
            p = s_cell(p, end, &shm.rsp[tail++ % CELLS], &lane_tail);
        if (p < end && *p == 0xff) /* a tail that cannot be */
            tail += 1000;
        atomic_store(&shm.own->rsp_tail, tail);
        while (gi_rsp_read(&reader))
            ;
        assert(reader.n <= GI_RSP_BATCH);
        assert(reader.partial.size <= RESULT_MAX);
        for (size_t i = 0; i < reader.n; i++) {
            const gi_rsp_rec_t *rec = &reader.recs[i];
            volatile unsigned char sum = 0;
            gate_error_t story;
            assert(rec->kind >= GI_RSP_DONE && rec->kind <= GI_RSP_ITEM);
            assert(rec->size <= RESULT_MAX);
            for (size_t k = 0; k < rec->size; k++)
                sum = (unsigned char)(sum + rec->data[k]);
            if (gi_shm_error_read(rec->data, rec->size, &story))
                assert(story.code != GATE_OK && strlen(story.text) < rec->size);
        }
    }
    gi_rsp_fini(&reader);
    s_free(&shm);
    return 0;
}
