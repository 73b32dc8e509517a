/* SPDX-License-Identifier: BSD-3-Clause */
/* demo_bulk.c -- the demo service's methods with much data: deterministic text
 * of any size, a file's content and its word count. */
#include "demo/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- huge ---------------------------------------------------------------- */

/* xorshift64*: the same numbers everywhere, for ever. */
static uint64_t s_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

/* A text in the making: the next bytes are where the last ended. */
typedef struct s_text {
    uint64_t state; /* of the random numbers */
    size_t line;    /* json: the next */
    char row[128];  /* json: what was begun */
    size_t at, size;
} s_text_t;

static void s_json_row(s_text_t *t) {
    uint64_t r = s_random(&t->state);
    t->at = 0;
    t->size = (size_t)snprintf(t->row, sizeof t->row,
                               "{\"id\": %zu, \"name\": \"user-%04u\", "
                               "\"score\": %u, \"active\": %s}\n",
                               t->line++, (unsigned)(r % 10000),
                               (unsigned)(r >> 40 & 1023),
                               r >> 63 ? "true" : "false");
}

static void s_fill_json(s_text_t *t, char *out, size_t n) {
    for (size_t take; n; out += take, n -= take) {
        if (t->at == t->size)
            s_json_row(t);
        take = t->size - t->at < n ? t->size - t->at : n;
        memcpy(out, t->row + t->at, take);
        t->at += take;
    }
}

/* These two want n to be a multiple of 16, but for the last time. */
static void s_fill_random(s_text_t *t, char *out, size_t n) {
    for (size_t at = 0; at < n; at += sizeof t->state) {
        uint64_t r = s_random(&t->state);
        memcpy(out + at, &r, n - at < sizeof r ? n - at : sizeof r);
    }
}

static void s_fill_hex(s_text_t *t, char *out, size_t n) {
    uint64_t r = 0;
    for (size_t i = 0; i < n; i++, r >>= 4) {
        if (i % 16 == 0)
            r = s_random(&t->state);
        out[i] = "0123456789abcdef"[r & 15];
    }
}

static void s_fill_zeros(s_text_t *t, char *out, size_t n) {
    (void)t;
    memset(out, 0, n);
}

typedef struct s_kind {
    const char *name;
    void (*fill)(s_text_t *t, char *out, size_t n);
    bool str;
} s_kind_t;

static const s_kind_t s_kinds[] = {{"json", s_fill_json, true},
                                   {"hex", s_fill_hex, true},
                                   {"random", s_fill_random, false},
                                   {"zeros", s_fill_zeros, false}};

/* Whole: how it travels is the library's choice. */
static gate_err_t s_small(gate_call_t *call, const s_kind_t *kind, size_t n) {
    s_text_t text = {.state = 42};
    char *data = malloc(n + 1);
    if (!data)
        return GATE_NOMEM;
    kind->fill(&text, data, n);
    gate_err_t e =
        gate_return_(call, kind->str ? gate_strn(data, n) : gate_bin(data, n));
    free(data);
    return e;
}

/* While it is made, in memory that does not depend on n. */
static gate_err_t s_large(gate_call_t *call, const s_kind_t *kind, size_t n) {
    static const size_t step = 1 << 17;
    gate_huge_options_t options = {
        .kind = kind->str ? GATE_HUGE_STR : GATE_HUGE_BIN, .size = n};
    s_text_t text = {.state = 42};
    char *data = malloc(step);
    GATE_OWN(gate_huge) huge = data ? gate_huge_new(call, &options) : NULL;
    gate_err_t e = huge ? GATE_OK : data ? gate_error()->code : GATE_NOMEM;
    while (n && !e) {
        size_t size = n < step ? n : step;
        kind->fill(&text, data, size);
        e = gate_huge_put(huge, data, size);
        n -= size;
    }
    free(data);
    return e ? e : gate_huge_end(&huge);
}

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
    return n > 16 << 20 ? s_large(call, &s_kinds[k], (size_t)n)
                        : s_small(call, &s_kinds[k], (size_t)n);
}

/* ---- file ---------------------------------------------------------------- */

gate_err_t gi_demo_file(gate_call_t *call) {
    const char *path;
    struct stat st;
    gate_err_t e = gate_args(call, gate_named("path", &path));
    if (e)
        return e;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return gi_demo_oserror(call, errno, path);
    if (!fstat(fd, &st) && S_ISREG(st.st_mode))
        return gate_huge_fd(call, fd, NULL);
    close(fd);
    return gate_raise(call, "ValueError", "'%s' is not a regular file", path);
}

/* ---- wc ------------------------------------------------------------------ */

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
