/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_job.c -- a worker process compresses a block that it reads where its
 * parent has it, into memory that its parent reads where it is. The answer is
 * one bin: CRC-32, nanoseconds, size, then room for a block at its largest. */
#include "bulk/huge_job.h"
#include <gaterpc/shared.h>
#include "base/buf.h"
#include "jobs/call.h"
#include "sync/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "shared/queue.h"

#define S_RESULT_HEAD ((size_t)16)

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

/* ---- in the worker --------------------------------------------------------*/
/* Kept from block to block: a worker process has one thread. */
static gi_deflater_t *s_deflater(int level) {
    static gi_deflater_t *kept;
    static int kept_level;
    if (kept && kept_level != level)
        gi_deflater_destroy(&kept);
    if (!kept)
        kept = gi_deflater_new(GI_ENGINE_AUTO, level);
    kept_level = level;
    return kept;
}

static gate_err_t s_compress(gate_call_t *call, gi_deflater_t *deflater,
                             const gi_block_t *block) {
    int64_t begun = gi_clock_ns();
    size_t size = 0;
    uint32_t crc = 0;
    void *data;
    if (!deflater)
        return gi_err(GATE_NOMEM, "compressing a block");
    gate_err_t e = gate_return_shared(
        call, S_RESULT_HEAD + gi_block_bound(block->in.size), &data);
    unsigned char *out = data;
    if (e == GATE_OK)
        e = gi_deflater_block(deflater, block, out + S_RESULT_HEAD, &size,
                              &crc);
    if (e != GATE_OK)
        return e;
    s_put_le(out, crc, 4);
    s_put_le(out + 4, (uint64_t)(gi_clock_ns() - begun), 8);
    s_put_le(out + 12, size, 4);
    return GATE_OK;
}

static gate_err_t s_job(gate_call_t *call) {
    gi_block_t block = {0};
    gate_bytes_t whole;
    int64_t level, n_dict;
    gate_err_t e = gate_args(call, &whole, &n_dict, &level, &block.last);
    if (e != GATE_OK)
        return e;
    if (n_dict < 0 || (size_t)n_dict > GI_DICT_SIZE ||
        (size_t)n_dict > whole.size ||
        whole.size - (size_t)n_dict > GI_BLOCK_SIZE)
        return GATE_BADARG;
    const unsigned char *data = whole.data;
    block.dict = (gate_bytes_t){data, (size_t)n_dict};
    block.in = (gate_bytes_t){data + n_dict, whole.size - (size_t)n_dict};
    if (call->ops->lend)
        return s_compress(call, s_deflater((int)level), &block);
    gi_deflater_t *deflater = gi_deflater_new(GI_ENGINE_AUTO, (int)level);
    e = s_compress(call, deflater, &block);
    gi_deflater_destroy(&deflater);
    return e;
}

/* ---- in the parent --------------------------------------------------------*/
static bool s_pack(gi_buf_t *out, const gi_block_t *block, int level) {
    static const unsigned char run[3] = {0xd4, GI_EXT_RUN, 0}; /* the first */
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_array(&pk, 4);
    gi_buf_append(out, run, sizeof run);
    msgpack_pack_uint64(&pk, block->dict.size);
    msgpack_pack_int(&pk, level);
    if (block->last)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
    return !out->failed;
}

gate_err_t gi_huge_job_submit(gate_pool_t *pool, const gi_huge_block_t *self,
                              int level, const gi_sink_t *sink, void *ctx,
                              gi_ticket_t *ticket) {
    const gi_block_t *block = &self->block;
    const void *first = block->dict.size ? block->dict.data : block->in.data;
    gi_run_ref_t ref = {gi_run_at(self->run, first),
                        block->dict.size + block->in.size};
    gi_buf_t args = {0};
    gate_err_t e = GATE_NOMEM;
    if (s_pack(&args, block, level)) {
        gi_request_t request = {
            .fn = s_job,
            .name = "gate huge block",
            .args = {args.data, args.size},
            .options = {.idempotent = true, .priority = GATE_HIGH},
            .deadline_ms = INT64_MAX,
            .runs = &self->run,
            .run_refs = &ref,
            .n_runs = 1,
            .sink = sink,
            .ctx = ctx};
        e = gi_pool_submit(pool, &request, ticket);
    }
    gi_buf_fini(&args);
    return e;
}

/* Where the block is in an answer, and what is said of it. */
static gate_err_t s_read(gi_huge_block_t *block, const unsigned char *data,
                         size_t size) {
    if (size < S_RESULT_HEAD || s_get_le(data + 12, 4) > size - S_RESULT_HEAD)
        return GATE_BADDATA;
    gi_huge_block_done(block);
    block->piece.data = (void *)(uintptr_t)(data + S_RESULT_HEAD);
    block->piece.size = (size_t)s_get_le(data + 12, 4);
    block->piece.crc = (uint32_t)s_get_le(data, 4);
    block->ns = (int64_t)s_get_le(data + 4, 8);
    return GATE_OK;
}

gate_err_t gi_huge_job_lent(gi_huge_block_t *block, gi_run_t *run) {
    gate_err_t e = s_read(block, gi_run_data(run), gi_run_size(run));
    if (e == GATE_OK) {
        block->piece.release = gi_run_release;
        block->piece.hint = run;
    } else {
        gi_run_release(run);
    }
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

gate_err_t gi_huge_job_result(gi_huge_block_t *block, const void *packed,
                              size_t size) {
    gate_bytes_t bin;
    if (!s_bin(packed, size, &bin))
        return GATE_BADDATA;
    gate_err_t e = s_read(block, bin.data, bin.size);
    if (e != GATE_OK)
        return e;
    block->piece.data = gi_mem_dup(block->piece.data, block->piece.size);
    return block->piece.data ? GATE_OK : GATE_NOMEM;
}
