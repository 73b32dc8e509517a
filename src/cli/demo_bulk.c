/* SPDX-License-Identifier: BSD-3-Clause */
/* demo_bulk.c -- the demo service's methods with much data: deterministic text
 * of any size, and the word count of a file. */
#include "demo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- huge -----------------------------------------------------------------
 */

/* xorshift64*: the same numbers everywhere, for ever. */
static uint64_t s_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static void s_fill_json(char *out, size_t n) {
    uint64_t state = 42;
    for (size_t at = 0, line = 0; at < n; line++) {
        char row[128];
        uint64_t r = s_random(&state);
        int size =
            snprintf(row, sizeof row,
                     "{\"id\": %zu, \"name\": \"user-%04u\", "
                     "\"score\": %u, \"active\": %s}\n",
                     line, (unsigned)(r % 10000), (unsigned)(r >> 40 & 1023),
                     r >> 63 ? "true" : "false");
        size_t take = n - at < (size_t)size ? n - at : (size_t)size;
        memcpy(out + at, row, take);
        at += take;
    }
}

static void s_fill_random(char *out, size_t n) {
    uint64_t state = 42;
    for (size_t at = 0; at < n; at += sizeof state) {
        uint64_t r = s_random(&state);
        memcpy(out + at, &r, n - at < sizeof r ? n - at : sizeof r);
    }
}

static void s_fill_hex(char *out, size_t n) {
    uint64_t state = 42, r = 0;
    for (size_t i = 0; i < n; i++, r >>= 4) {
        if (i % 16 == 0)
            r = s_random(&state);
        out[i] = "0123456789abcdef"[r & 15];
    }
}

static void s_fill_zeros(char *out, size_t n) { memset(out, 0, n); }

static gate_arg_t s_as_str(const char *data, size_t n) {
    return gate_strn(data, n);
}

static gate_arg_t s_as_bin(const char *data, size_t n) {
    return gate_bin(data, n);
}

static const struct {
    const char *name;
    void (*fill)(char *out, size_t n);
    gate_arg_t (*wrap)(const char *data, size_t n);
} s_kinds[] = {
    {"json", s_fill_json, s_as_str},
    {"hex", s_fill_hex, s_as_str},
    {"random", s_fill_random, s_as_bin},
    {"zeros", s_fill_zeros, s_as_bin},
};

gate_err_t gi_demo_huge(gate_call_t *call) {
    int64_t n;
    const char *kind = "json";
    gate_err_t e =
        gate_args(call, gate_named("n", &n), gate_kwopt("kind", &kind));
    if (e)
        return e;
    size_t k = 0, n_kinds = sizeof s_kinds / sizeof *s_kinds;
    while (k < n_kinds && strcmp(kind, s_kinds[k].name))
        k++;
    if (k == n_kinds)
        return gate_raise(call, "ValueError",
                          "kind must be json, hex, random or zeros");
    if (n < 0 || n > UINT32_MAX)
        return gate_raise(call, "ValueError", "n must be 0 .. %u", UINT32_MAX);
    char *data = malloc((size_t)n + 1);
    if (!data)
        return GATE_NOMEM;
    s_kinds[k].fill(data, (size_t)n);
    e = gate_return_(call, s_kinds[k].wrap(data, (size_t)n));
    free(data);
    return e;
}

/* ---- wc -------------------------------------------------------------------
 */

typedef struct s_counts {
    uint64_t lines, words, bytes;
    bool in_word;
} s_counts_t;

/* As `LC_ALL=C wc` does it: white space ends a word, a printable character
 * begins one, anything else does neither. */
static void s_count(s_counts_t *c, const unsigned char *data, size_t n) {
    c->bytes += n;
    for (size_t i = 0; i < n; i++) {
        unsigned char b = data[i];
        c->lines += b == '\n';
        if (b == ' ' || (b >= '\t' && b <= '\r')) {
            c->in_word = false;
        } else if (b > ' ' && b < 0x7f && !c->in_word) {
            c->in_word = true;
            c->words++;
        }
    }
}

static gate_err_t s_wc(gate_call_t *call, int fd, const char *path) {
    unsigned char block[65536];
    s_counts_t c = {0};
    struct stat st;
    ssize_t n;
    if (fstat(fd, &st))
        return gi_demo_oserror(call, errno, path);
    if (!S_ISREG(st.st_mode))
        return gate_raise(call, "ValueError", "'%s' is not a regular file",
                          path);
    while ((n = read(fd, block, sizeof block)) > 0)
        s_count(&c, block, (size_t)n);
    if (n < 0)
        return gi_demo_oserror(call, errno, path);
    return gate_return(call, gate_list(c.lines, c.words, c.bytes));
}

gate_err_t gi_demo_wc(gate_call_t *call) {
    const char *path;
    gate_err_t e = gate_args(call, gate_named("path", &path));
    if (e)
        return e;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return gi_demo_oserror(call, errno, path);
    e = s_wc(call, fd, path);
    close(fd);
    return e;
}
