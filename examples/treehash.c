/* SPDX-License-Identifier: BSD-3-Clause */
/* treehash.c -- SHA-256 and word count of many files: first on one core, here,
 * then the same function on a pool of worker processes, without any RPC.
 *   treehash [WORKERS] < NUL-separated-paths
 * stdout: lines, words, bytes, and the digest of the list of digests. Exit code
 * 1 unless both ways agree. */
#include <gaterpc.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 16, HEX = 65 }; /* files a job; digest and line end */

typedef struct total {
    uint64_t lines, words, bytes;
    char hex[BATCH * HEX]; /* one line a file, as sha256sum's first column */
    size_t n_hex;
} total_t;

static void count(total_t *t, const unsigned char *data, size_t n, bool *in) {
    t->bytes += n;
    for (size_t i = 0; i < n; i++) {
        unsigned char b = data[i];
        t->lines += b == '\n';
        if (b == ' ' || (b >= '\t' && b <= '\r')) {
            *in = false;
        } else if (b > ' ' && b < 0x7f && !*in) {
            *in = true;
            t->words++;
        }
    }
}

static bool add_file(total_t *t, const char *path) {
    unsigned char block[65536], digest[EVP_MAX_MD_SIZE];
    bool in = false;
    size_t n;
    FILE *f = fopen(path, "rbe");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = f && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    while (ok && (n = fread(block, 1, sizeof block, f))) {
        ok = EVP_DigestUpdate(ctx, block, n);
        count(t, block, n, &in);
    }
    ok = ok && !ferror(f) && EVP_DigestFinal_ex(ctx, digest, NULL);
    for (int i = 0; i < 32 && ok; i++, t->n_hex += 2)
        snprintf(t->hex + t->n_hex, 3, "%02x", digest[i]);
    t->hex[t->n_hex++] = '\n';
    EVP_MD_CTX_free(ctx);
    if (f)
        fclose(f);
    return ok;
}

/* The job: paths in, [lines, words, bytes, digests] out. */
static gate_err_t batch(gate_call_t *call) {
    const msgpack_object_array paths = gate_call_raw_args(call)->via.array;
    total_t t = {0};
    for (uint32_t i = 0; i < paths.size && i < BATCH; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%.*s", (int)paths.ptr[i].via.str.size,
                 paths.ptr[i].via.str.ptr);
        if (!add_file(&t, path))
            return gate_raise(call, "OSError", "cannot read %s", path);
    }
    return gate_return(
        call, gate_list(t.lines, t.words, t.bytes, gate_strn(t.hex, t.n_hex)));
}

/* ---- the list ------------------------------------------------------------ */

static gate_arg_t *read_paths(size_t *n) {
    gate_arg_t *paths = NULL;
    char *path = NULL;
    size_t room = 0;
    for (*n = 0; getdelim(&path, &room, 0, stdin) > 0; path = NULL, room = 0) {
        paths = realloc(paths, (*n + 1) * sizeof *paths);
        if (!paths)
            abort();
        paths[(*n)++] = gate_str(path);
    }
    free(path);
    return paths;
}

static double now_s(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* ---- two ways ------------------------------------------------------------ */

typedef struct sum {
    uint64_t lines, words, bytes;
    EVP_MD_CTX *digests;
} sum_t;

static void add(sum_t *s, uint64_t lines, uint64_t words, uint64_t bytes,
                const void *hex, size_t n_hex) {
    s->lines += lines;
    s->words += words;
    s->bytes += bytes;
    EVP_DigestUpdate(s->digests, hex, n_hex);
}

static bool on_one_core(const gate_arg_t *paths, size_t n, sum_t *sum) {
    for (size_t i = 0; i < n; i++) {
        total_t t = {0};
        if (!add_file(&t, paths[i].as.p))
            return false;
        add(sum, t.lines, t.words, t.bytes, t.hex, t.n_hex);
    }
    return true;
}

static bool on_pool(gate_pool_t *pool, const gate_arg_t *paths, size_t n,
                    sum_t *sum) {
    size_t n_jobs = (n + BATCH - 1) / BATCH;
    gate_arg_t *jobs = calloc(n_jobs + 1, sizeof *jobs);
    GATE_OWN(gate_stream) results = NULL;
    for (size_t i = 0; i < n_jobs && jobs; i++)
        jobs[i] = gate_list_(paths + i * BATCH,
                             n - i * BATCH < BATCH ? n - i * BATCH : BATCH);
    gate_err_t e = gate_pool_map(pool, batch, jobs, n_jobs, true, &results);
    while (!e) {
        GATE_OWN(gate_value) v = NULL;
        uint64_t l, w, b;
        gate_bytes_t hex;
        if (!(e = gate_stream_next(results, &v)) &&
            !(e = gate_value_read(v, "0", &l)) &&
            !(e = gate_value_read(v, "1", &w)) &&
            !(e = gate_value_read(v, "2", &b)) &&
            !(e = gate_value_read(v, "3", &hex)))
            add(sum, l, w, b, hex.data, hex.size);
    }
    free(jobs);
    return e == GATE_EOS;
}

static void text(sum_t *sum, char out[256]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(sum->digests, digest, NULL);
    int at = snprintf(out, 256, "%" PRIu64 " %" PRIu64 " %" PRIu64 " ",
                      sum->lines, sum->words, sum->bytes);
    for (int i = 0; i < 32; i++)
        at += snprintf(out + at, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(sum->digests);
}

static void begin(sum_t *sum) {
    *sum = (sum_t){.digests = EVP_MD_CTX_new()};
    EVP_DigestInit_ex(sum->digests, EVP_sha256(), NULL);
}

int main(int argc, char **argv) {
    if (gate_process_init())
        return gate_perror("process_init");
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    gate_pool_options_t options = {.workers = argc > 1 ? atoi(argv[1]) : 0};
    GATE_OWN(gate_pool) pool = gate_procs_new(rt, &options);
    if (!pool)
        return gate_perror("pool");
    char one_core[256], pooled[256];
    sum_t sum;
    size_t n;
    gate_arg_t *paths = read_paths(&n);

    begin(&sum); /* once unmeasured: both ways find the files in memory */
    bool ok = on_one_core(paths, n, &sum);
    text(&sum, one_core);
    double t0 = now_s();
    begin(&sum);
    ok = ok && on_one_core(paths, n, &sum);
    text(&sum, one_core);
    double t1 = now_s();
    begin(&sum);
    if (ok && !on_pool(pool, paths, n, &sum)) {
        gate_perror("map");
        ok = false;
    }
    text(&sum, pooled);
    double t2 = now_s();

    printf("%s\n", pooled);
    fprintf(stderr, "one core %.2f s, pool %.2f s: %.2f times as fast, %s\n",
            t1 - t0, t2 - t1, (t1 - t0) / (t2 - t1),
            strcmp(one_core, pooled) ? "but NOT the same" : "the same results");
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)paths[i].as.p);
    free(paths);
    return !ok || strcmp(one_core, pooled);
}
