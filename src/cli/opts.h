/* SPDX-License-Identifier: BSD-3-Clause */
/* opts.h -- the flags of a verb as a table: parser, --help and man page agree
 * because there is only the table. Long options alone, anywhere among the
 * words, "--name VALUE" or "--name=VALUE"; "--" ends them, -h is --help. A word
 * like -3 is a number, not an option (that is why getopt is not used); one like
 * -x is refused.
 * Thread: main. */
#ifndef GI_OPTS_H
#define GI_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum gi_opt_kind {
    GI_OPT_FLAG,   /* to: bool */
    GI_OPT_TEXT,   /* to: const char * */
    GI_OPT_NUMBER, /* to: int64_t; not negative */
    GI_OPT_MANY,   /* to: gi_words_t; may be repeated */
    GI_OPT_SECRET, /* to: char *, malloc'ed; wiped in argv */
    GI_OPT_ASKED   /* the same; the value may be left away: "-" */
} gi_opt_kind_t;

/* Words borrowed from argv; items is malloc'ed. */
typedef struct gi_words {
    const char **items;
    size_t n;
} gi_words_t;

typedef struct gi_opt {
    const char *name; /* without the dashes; NULL ends the table */
    gi_opt_kind_t kind;
    void *to;
    const char *arg; /* what the value is: "EP", "FILE"; NULL for a flag */
    const char *help;
} gi_opt_t;

#define GI_OPT_END \
    { .name = NULL }

/* What --help prints before the table, and the first line of usage errors. */
typedef struct gi_usage {
    const char *synopsis; /* "call [OPTION]... SERVICE.METHOD [ARG]..." */
    const char *text;     /* a paragraph; may be NULL */
} gi_usage_t;

/* Stores options by the table and the rest in words (may be NULL: none may
 * come). Returns -1 to go on, else the exit code: 0 after --help, 2 after an
 * error, which has been said. */
int gi_opts_parse(int argc, char **argv, const gi_usage_t *usage,
                  const gi_opt_t *table, gi_words_t *words);
/* From now on gi_opts_parse hands its table to fn and returns 0: for completion.
 * NULL: not any more. */
typedef void gi_opts_fn(void *ctx, const gi_opt_t *table);
void gi_opts_watch(gi_opts_fn *fn, void *ctx);
/* Says what is wrong and how it should be called; returns 2. */
int gi_opts_fail(const gi_usage_t *usage, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Whether word may be a slip for known, and nearer to it than *least (64 at
 * first), which it then is. */
bool gi_opts_near(const char *word, size_t size, const char *known,
                  size_t *least);
void gi_words_fini(gi_words_t *self);

#endif
