/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_job.c -- arguments and result are one flat bin each, so that neither
 * side copies more than the bytes. */
#include "huge_job.h"
#include "clock.h"
#include "buf.h"
#include "mem.h"
#include <gaterpc/call.h>

/* In front of the result's bytes: CRC-32, nanoseconds. */
#define S_RESULT_HEAD 12

static bool s_pack(gi_buf_t *out, const gi_block_t *block, int level) {
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_array(&pk, 4);
    msgpack_pack_bin_with_body(&pk, block->in.data, block->in.size);
    msgpack_pack_bin_with_body(&pk, block->dict.data, block->dict.size);
    msgpack_pack_int(&pk, level);
    if (block->last)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
    return !out->failed;
}

static void s_put_le(unsigned char *out, uint64_t v, int n) {
    for (int i = 0; i < n; i++)
        out[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t s_get_le(const unsigned char *in, int n) {
    uint64_t v = 0;
    for (int i = n; i-- > 0;)
        v = v << 8 | in[i];
    return v;
}

static gate_err_t s_job(gate_call_t *call) {
    gi_block_t block = {0};
    int64_t level, begun = gi_clock_ns();
    gate_err_t e = gate_args(call, &block.in, &block.dict, &level, &block.last);
    if (e != GATE_OK)
        return e;
    if (block.in.size > GI_BLOCK_SIZE || block.dict.size > GI_DICT_SIZE)
        return GATE_BADARG;
    unsigned char *out =
        gi_mem_alloc(S_RESULT_HEAD + gi_block_bound(block.in.size));
    size_t size = 0;
    uint32_t crc = 0;
    e = out ? gi_gzip_block(GI_ENGINE_AUTO, (int)level, &block,
                            out + S_RESULT_HEAD, &size, &crc)
            : GATE_NOMEM;
    if (e == GATE_OK) {
        s_put_le(out, crc, 4);
        s_put_le(out + 4, (uint64_t)(gi_clock_ns() - begun), 8);
        e = gate_return(call, ((gate_bytes_t){out, S_RESULT_HEAD + size}));
    }
    gi_mem_free(out);
    return e;
}

gate_err_t gi_huge_job_submit(gate_pool_t *pool, const gi_block_t *block,
                              int level, const gi_sink_t *sink, void *ctx,
                              gi_ticket_t *ticket) {
    gi_buf_t args = {0};
    gate_err_t e = GATE_NOMEM;
    if (s_pack(&args, block, level)) {
        gi_request_t request = {.fn = s_job,
                                .name = "gate huge block",
                                .args = {args.data, args.size},
                                .options = {.idempotent = true},
                                .deadline_ms = INT64_MAX,
                                .sink = sink,
                                .ctx = ctx};
        e = gi_pool_submit(pool, &request, ticket);
    }
    gi_buf_fini(&args);
    return e;
}

/* The bytes of a packed bin; false for anything else. */
static bool s_bin(const unsigned char *packed, size_t size, gate_bytes_t *out) {
    size_t n_head = 0, n = 0;
    if (size && packed[0] >= 0xc4 && packed[0] <= 0xc6)
        n_head = (size_t)1 + (1u << (packed[0] - 0xc4));
    if (!n_head || size < n_head)
        return false;
    for (size_t i = 1; i < n_head; i++)
        n = n << 8 | packed[i];
    *out = (gate_bytes_t){packed + n_head, n};
    return n == size - n_head;
}

gate_err_t gi_huge_job_result(const void *data, size_t size, gi_piece_t *piece,
                              int64_t *ns) {
    gate_bytes_t bin;
    if (!s_bin(data, size, &bin) || bin.size < S_RESULT_HEAD)
        return GATE_BADDATA;
    const unsigned char *head = bin.data;
    piece->size = bin.size - S_RESULT_HEAD;
    piece->data = gi_mem_dup(head + S_RESULT_HEAD, piece->size);
    piece->crc = (uint32_t)s_get_le(head, 4);
    *ns = (int64_t)s_get_le(head + 4, 8);
    return piece->data ? GATE_OK : GATE_NOMEM;
}
