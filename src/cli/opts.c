/* SPDX-License-Identifier: BSD-3-Clause */
/* opts.c -- flags by table; see opts.h. */
#include "cli/opts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void s_help(const gi_usage_t *usage, const gi_opt_t *table) {
    printf("usage: gate %s\n", usage->synopsis);
    if (usage->text)
        printf("\n%s\n", usage->text);
    printf("\noptions:\n");
    for (const gi_opt_t *o = table; o->name; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        printf("  %-24s %s\n", left, o->help);
    }
    printf("  %-24s %s\n", "-h, --help", "show this");
}

int gi_opts_fail(const gi_usage_t *usage, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "gate: ");
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nusage: gate %s\n", usage->synopsis);
    return 2;
}

void gi_words_fini(gi_words_t *self) {
    free(self->items);
    *self = (gi_words_t){NULL, 0};
}

static bool s_push(gi_words_t *words, const char *word) {
    const char **grown =
        realloc(words->items, (words->n + 1) * sizeof *words->items);
    if (!grown)
        return false;
    grown[words->n++] = word;
    words->items = grown;
    return true;
}

static bool s_number(const char *text, int64_t *out) {
    char *end = NULL;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < 0)
        return false;
    *out = n;
    return true;
}

static const gi_opt_t *s_find(const gi_opt_t *table, const char *name,
                              size_t size) {
    for (; table->name; table++)
        if (strlen(table->name) == size && !memcmp(table->name, name, size))
            return table;
    return NULL;
}

/* Levenshtein's distance of two words, of 63 bytes at most. */
static size_t s_distance(const char *a, const char *b, size_t b_size) {
    size_t row[64], a_size = strlen(a);
    if (b_size > 63 || a_size > 63)
        return 64;
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            corner = row[j];
            row[j] = change < least ? change : least;
        }
    }
    return row[b_size];
}

bool gi_opts_near(const char *word, size_t size, const char *known,
                  size_t *least) {
    size_t far = s_distance(known, word, size);
    bool like = far < 2 || size > 4 || *known == *word;
    if (far >= *least || far > 2 || far >= size || !like)
        return false;
    *least = far;
    return true;
}

static int s_no_option(const gi_usage_t *usage, const gi_opt_t *table,
                       const char *name, size_t size) {
    const char *near = NULL;
    size_t least = 64;
    for (; table->name; table++)
        if (gi_opts_near(name, size, table->name, &least))
            near = table->name;
    if (near)
        return gi_opts_fail(usage, "no option --%.*s: is --%s meant?",
                            (int)size, name, near);
    return gi_opts_fail(usage, "no option --%.*s", (int)size, name);
}

/* ps shows argv to everybody. */
static bool s_hide(char **to, char *value) {
    char *copy = strdup(value);
    explicit_bzero(value, strlen(value));
    if (*to)
        explicit_bzero(*to, strlen(*to));
    free(*to);
    *to = copy;
    return copy;
}

static bool s_store(const gi_opt_t *o, char *value) {
    switch (o->kind) {
    case GI_OPT_FLAG:
        *(bool *)o->to = true;
        return true;
    case GI_OPT_TEXT:
        *(const char **)o->to = value;
        return true;
    case GI_OPT_NUMBER:
        return s_number(value, o->to);
    case GI_OPT_MANY:
        return s_push(o->to, value);
    case GI_OPT_SECRET:
    case GI_OPT_ASKED:
        return s_hide(o->to, value);
    }
    return false;
}

/* One option at argv[*i], which begins with "--"; -1 or the exit code. */
static int s_option(int argc, char **argv, int *i, const gi_usage_t *usage,
                    const gi_opt_t *table) {
    const char *name = argv[*i] + 2;
    const char *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    if (size == 4 && !memcmp(name, "help", 4)) {
        s_help(usage, table);
        return 0;
    }
    const gi_opt_t *o = s_find(table, name, size);
    if (!o)
        return s_no_option(usage, table, name, size);
    char none[] = "-",
         *value = equals ? argv[*i] + (equals + 1 - argv[*i]) : NULL;
    if (o->kind == GI_OPT_ASKED && !value &&
        (*i + 1 >= argc || !strncmp(argv[*i + 1], "--", 2)))
        value = none;
    if (o->kind == GI_OPT_FLAG && value)
        return gi_opts_fail(usage, "--%s takes no value", o->name);
    if (o->kind != GI_OPT_FLAG && !value) {
        if (*i + 1 >= argc)
            return gi_opts_fail(usage, "--%s needs %s", o->name, o->arg);
        value = argv[++*i];
    }
    if (o->kind == GI_OPT_TEXT && !*value)
        return gi_opts_fail(usage, "--%s: empty: give it %s, or leave it away",
                            o->name, o->arg);
    if (!s_store(o, value))
        return o->kind == GI_OPT_SECRET || o->kind == GI_OPT_ASKED
                   ? gi_opts_fail(usage, "no memory")
                   : gi_opts_fail(usage, "--%s: '%s' is not %s", o->name, value,
                                  o->arg);
    return -1;
}

/* "-x", but neither "-" nor a number. */
static bool s_is_short(const char *word) {
    return word[0] == '-' && ((word[1] >= 'a' && word[1] <= 'z') ||
                              (word[1] >= 'A' && word[1] <= 'Z'));
}

static struct {
    gi_opts_fn *fn;
    void *ctx;
} s_watcher;

void gi_opts_watch(gi_opts_fn *fn, void *ctx) {
    s_watcher.fn = fn;
    s_watcher.ctx = ctx;
}

int gi_opts_parse(int argc, char **argv, const gi_usage_t *usage,
                  const gi_opt_t *table, gi_words_t *words) {
    bool options = true;
    if (s_watcher.fn) {
        s_watcher.fn(s_watcher.ctx, table);
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        if (options && !strcmp(argv[i], "--")) {
            options = false;
        } else if (options && !strncmp(argv[i], "--", 2)) {
            int code = s_option(argc, argv, &i, usage, table);
            if (code >= 0)
                return code;
        } else if (options && !strcmp(argv[i], "-h")) {
            s_help(usage, table);
            return 0;
        } else if (options && s_is_short(argv[i])) {
            return gi_opts_fail(usage,
                                "no option %s: options have two dashes, and "
                                "words that begin with one stand behind --",
                                argv[i]);
        } else if (!words) {
            return gi_opts_fail(usage, "'%s' is one word too many", argv[i]);
        } else if (!s_push(words, argv[i])) {
            return gi_opts_fail(usage, "no memory");
        }
    }
    return -1;
}
