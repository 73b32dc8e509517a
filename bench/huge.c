/* SPDX-License-Identifier: BSD-3-Clause */
/* bench/huge.c -- the compressor alone: zlib and ISA-L blocks by 1 and 2
 * threads against one core of plain zlib level 1, all in one run, as JSON.
 * usage: huge [MiB] */
#include "split.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define S_THREADS_MAX 2

typedef struct s_run {
    gate_bytes_t whole;
    gi_engine_t engine;
    bool dict;          /* blocks look back */
    atomic_size_t next; /* block to be taken */
    atomic_size_t out;  /* compressed bytes */
} s_run_t;

static double s_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned s_random(unsigned *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

static char *s_json(size_t size) {
    unsigned seed = 1;
    char *data = malloc(size + 200);
    for (size_t i = 0; data && i < size;)
        i += (size_t)sprintf(
            data + i,
            "{\"id\": %u, \"name\": \"user-%u\", \"email\": "
            "\"user%u@example.org\", \"score\": %u.%02u, \"active\": %s},\n",
            s_random(&seed) % 1000000, s_random(&seed) % 5000,
            s_random(&seed) % 5000, s_random(&seed) % 1000,
            s_random(&seed) % 100, s_random(&seed) & 1 ? "true" : "false");
    return data;
}

static char *s_bytes(size_t size, bool hex) {
    unsigned seed = 1;
    char *data = malloc(size);
    for (size_t i = 0; data && i < size; i++)
        data[i] = hex ? "0123456789abcdef"[s_random(&seed) & 15]
                      : (char)s_random(&seed);
    return data;
}

static void *s_worker(void *arg) {
    s_run_t *run = arg;
    gi_deflater_t *deflater = gi_deflater_new(run->engine, 1);
    void *out = malloc(gi_block_bound(GI_BLOCK_SIZE));
    size_t n = gi_block_count(run->whole.size), i, size;
    uint32_t crc;
    while (deflater && out && (i = atomic_fetch_add(&run->next, 1)) < n) {
        gi_block_t block =
            gi_block_at(run->whole, i * GI_BLOCK_SIZE, run->dict);
        if (gi_deflater_block(deflater, &block, out, &size, &crc) == GATE_OK)
            atomic_fetch_add(&run->out, size);
    }
    free(out);
    gi_deflater_destroy(&deflater);
    return NULL;
}

static double s_time(s_run_t *run, int n_threads) {
    pthread_t threads[S_THREADS_MAX];
    double begun = s_now();
    atomic_store(&run->next, 0);
    atomic_store(&run->out, 0);
    for (int i = 0; i < n_threads; i++)
        if (pthread_create(&threads[i], NULL, s_worker, run))
            exit(1);
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    return s_now() - begun;
}

/* One stream of zlib level 1, as the Python peers do it. */
static double s_plain(gate_bytes_t whole, size_t *out_size) {
    uLong room = compressBound(whole.size);
    Bytef *out = malloc(room);
    double begun = s_now();
    if (!out || compress2(out, &room, whole.data, whole.size, 1) != Z_OK)
        exit(1);
    begun = s_now() - begun;
    *out_size = room;
    free(out);
    return begun;
}

static void s_report(const char *kind, gate_bytes_t whole, bool first) {
    size_t plain_size;
    double mb = (double)whole.size / 1e6, plain = s_plain(whole, &plain_size);
    printf("%s\n  {\"data\": \"%s\", \"plain_zlib_1\": {\"mb_s\": %.0f, "
           "\"ratio\": %.2f}, \"blocks\": [",
           first ? "" : ",", kind, mb / plain,
           (double)whole.size / (double)plain_size);
    const char *comma = "";
    for (int engine = GI_ENGINE_ZLIB; engine <= GI_ENGINE_ISAL; engine++)
        for (int dict = 0; dict < 2 && gi_engine_has((gi_engine_t)engine);
             dict++) {
            s_run_t run = {
                .whole = whole, .engine = (gi_engine_t)engine, .dict = dict};
            double one = s_time(&run, 1), two = s_time(&run, 2);
            printf("%s\n    {\"engine\": \"%s\", \"dictionary\": %s, "
                   "\"ratio\": %.2f, \"mb_s_1\": %.0f, \"mb_s_2\": %.0f, "
                   "\"speedup\": %.2f, \"to_plain\": %.2f}",
                   comma, engine == GI_ENGINE_ISAL ? "isal" : "zlib",
                   dict ? "true" : "false",
                   (double)whole.size / (double)atomic_load(&run.out), mb / one,
                   mb / two, one / two, plain / two);
            comma = ",";
        }
    printf("]}");
}

int main(int argc, char **argv) {
    size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 64) << 20;
    char *json = s_json(size), *hex = s_bytes(size, true),
         *random = s_bytes(size, false);
    if (!size || !json || !hex || !random)
        return 1;
    printf("{\"bench\": \"huge\", \"bytes\": %zu, \"results\": [", size);
    s_report("json", (gate_bytes_t){json, size}, true);
    s_report("hex", (gate_bytes_t){hex, size}, false);
    s_report("random", (gate_bytes_t){random, size}, false);
    printf("]}\n");
    free(json);
    free(hex);
    free(random);
    return 0;
}
