/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_huge_join.c -- any peer's chunks into every codec's receiver.
 * byte 0: codec (mod 5), 5..: gunzip by zlib; byte 1: chunk size; byte 2: room;
 * the rest: the stream. Law: caps hold to the byte, an error stays. */
#include "big.h"
#include "huge/gunzip.h"
#include "huge/join.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define S_CAP 300000

static void s_join(const char *name, const uint8_t *data, size_t size,
                   size_t chunk, size_t room, char *buf) {
    gi_join_options_t options = {name, S_CAP, 100, 0};
    gi_join_t *join;
    uint64_t out = 0;
    gate_err_t e = gi_join_new(&options, &join);
    for (size_t at = 0; e == GATE_OK && at < size; at += chunk) {
        gate_bytes_t in = {data + at, size - at < chunk ? size - at : chunk};
        size_t n;
        do {
            n = room;
            e = gi_join_step(join, &in, buf, &n);
            out += n;
            if (n > room || out > S_CAP)
                abort();
        } while (e == GATE_OK && (in.size || n == room));
    }
    bool failed = e != GATE_OK;
    do {
        size_t n = room;
        e = gi_join_end(join, buf, &n);
        out += n;
        if (out > S_CAP || (failed && (n || e == GATE_EOS)))
            abort();
    } while (e == GATE_OK);
    gi_join_destroy(&join);
}

static void s_gunzip(gate_bytes_t in, size_t room, char *buf) {
    gi_gunzip_t *gunzip = gi_gunzip_new(GI_ENGINE_ZLIB, false);
    gate_err_t e = GATE_OK;
    for (size_t out = 0; gunzip && e == GATE_OK && out < S_CAP;) {
        size_t n = room;
        e = gi_gunzip_step(gunzip, &in, buf, &n, true);
        out += n;
    }
    gi_gunzip_destroy(&gunzip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    if (size < 3)
        return 0;
    size_t chunk = 1 + (size_t)data[1] * 16, room = 1 + (size_t)data[2] * 64;
    char *buf = malloc(room); /* exact, so that ASan sees a byte too many */
    if (!buf)
        return 0;
    if (data[0] % 6 < 5)
        s_join(names[data[0] % 6], data + 3, size - 3, chunk, room, buf);
    else
        s_gunzip((gate_bytes_t){data + 3, size - 3}, room, buf);
    free(buf);
    return 0;
}
