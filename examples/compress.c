/* SPDX-License-Identifier: BSD-3-Clause */
/* compress.c -- the compressors alone, without any RPC: over a pool of threads
 * or worker processes, into what gunzip and its sisters read. */
#include <gaterpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (8 << 20)

static void fill(char *text) {
    for (size_t at = 0, line = 0; at < SIZE; line++)
        at += (size_t)snprintf(text + at, SIZE + 1 - at,
                               "line %zu of a text that compresses\n", line);
}

static int both_ways(gate_pool_t *pool, const char *pool_name,
                     const char *codec, gate_bytes_t text) {
    void *small = NULL, *again = NULL;
    size_t n_small, n_again = 0;
    if (gate_compress(pool, codec, 1, text, &small, &n_small))
        return gate_perror(codec);
    gate_err_t e = gate_decompress(codec, (gate_bytes_t){small, n_small}, SIZE,
                                   &again, &n_again);
    int bad = e || n_again != text.size || memcmp(again, text.data, n_again);
    printf("%-5s on %-9s %zu -> %zu bytes%s\n", codec, pool_name, text.size,
           n_small, bad ? ", WRONG" : "");
    free(again);
    again = NULL;
    /* a cap holds while it inflates */
    if (gate_decompress(codec, (gate_bytes_t){small, n_small}, SIZE / 2, &again,
                        &n_again) != GATE_TOOBIG)
        bad = 1;
    free(small);
    return bad;
}

int main(void) {
    static const char *const codecs[] = {"gzip", "bz2", "lzma", "zstd", "lz4"};
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    gate_pool_t *threads = gate_runtime_threads(rt);
    gate_pool_t *procs = gate_runtime_procs(rt);
    if (!threads || !procs)
        return gate_perror("pools");
    char *text = malloc(SIZE + 1);
    int bad = 0;
    if (!text)
        return 1;
    fill(text);
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++) {
        bad += both_ways(NULL, "this", codecs[i], (gate_bytes_t){text, SIZE});
        bad += both_ways(threads, "threads", codecs[i],
                         (gate_bytes_t){text, SIZE});
    }
    bad += both_ways(procs, "processes", "gzip", (gate_bytes_t){text, SIZE});
    free(text);
    return bad;
}
