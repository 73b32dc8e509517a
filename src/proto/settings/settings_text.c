/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_text.c -- flat ZPL (ZeroMQ RFC 4, its first level): one
 * `name = value` a line, # comments, values bare or in quotes. Stricter than
 * CZMQ's reader: what is not understood is an error with its line. */
#include "settings/settings_text.h"
#include "base/mem.h"
#include "base/trusted.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { S_FILE_MAX = 1 << 20 };

/* ---- numbers and words --------------------------------------------------- */
bool gi_settings_read_int(const char *text, int64_t *out) {
    char *end;
    if (!isdigit((unsigned char)*text) && *text != '-')
        return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || *end || end == text)
        return false;
    *out = v;
    return true;
}

bool gi_settings_read_f64(const char *text, double *out) {
    char *end;
    if (!isdigit((unsigned char)*text) && !strchr("-.", *text))
        return false;
    if (strpbrk(text, "xX")) /* no hexadecimal, as integers have none */
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc's static */
    double v = strtod_l(text, &end, c);
    freelocale(c);
    if (*end || end == text || !isfinite(v))
        return false;
    *out = v;
    return true;
}

bool gi_settings_read_bool(const char *text, int64_t *out) {
    static const char *const words[] = {"false", "true", "no", "yes",
                                        "off",   "on",   "0",  "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcasecmp(text, words[i])) {
            *out = i & 1;
            return true;
        }
    return false;
}

gate_err_t gi_settings_one_of(const char *name, const char *text, ...) {
    char list[200] = "";
    bool found = false;
    va_list words;
    va_start(words, text);
    for (const char *w; (w = va_arg(words, const char *));) {
        size_t had = strlen(list);
        snprintf(list + had, sizeof list - had, "%s%s", had ? ", " : "", w);
        found = found || !strcmp(w, text);
    }
    va_end(words);
    if (found)
        return GATE_OK;
    return gi_err(GATE_BADARG, "%s: '%.100s' must be one of: %s", name, text,
                  list);
}

gate_err_t gi_settings_check_words(const char *setting, const char *text) {
    if (strcmp(setting, "route") == 0)
        return gi_settings_one_of(setting, text, "auto", "broker", "local",
                                  NULL);
    if (strcmp(setting, "lane") == 0)
        return gi_settings_one_of(setting, text, "auto", "off", "always", NULL);
    if (strcmp(setting, "linger") == 0)
        return gi_settings_one_of(setting, text, "auto", "off", NULL);
    if (strcmp(setting, "huge_policy") == 0)
        return gi_settings_one_of(setting, text, "adaptive", "compress",
                                  "store", NULL);
    return GATE_OK;
}

gate_err_t gi_settings_check_level(const char *name, const char *text,
                                   size_t size) {
    char word[32];
    snprintf(word, sizeof word, "%.*s", (int)(size < 31 ? size : 31), text);
    return gi_settings_one_of(name, word, "debug", "info", "warn", "error",
                              "silent", NULL);
}

gate_err_t gi_settings_check_levels(const char *name, const char *text) {
    while (*text) {
        size_t size = strcspn(text, ",");
        const char *equals = memchr(text, '=', size);
        if (!equals || equals == text)
            return gi_err(GATE_BADARG,
                          "%s: '%.*s' must be part=level, as in "
                          "broker=debug,service.Demo=warn",
                          name, (int)(size < 100 ? size : 100), text);
        gate_err_t e = gi_settings_check_level(
            name, equals + 1, size - (size_t)(equals + 1 - text));
        if (e)
            return e;
        text += size + (text[size] == ',');
    }
    return GATE_OK;
}

/* ---- lines --------------------------------------------------------------- */
static char *s_skip(char *s) { return s + strspn(s, " \t"); }

static void s_trim(char *s) {
    size_t size = strlen(s);
    while (size && strchr(" \t\r", s[size - 1]))
        s[--size] = '\0';
}

/* What stands behind the equals sign, in place; NULL = a fault, in *fault. */
static char *s_value(char *s, const char **fault) {
    s = s_skip(s);
    if (*s == '"' || *s == '\'') {
        char *end = strchr(s + 1, *s);
        if (!end) {
            *fault = "a quote is not closed";
            return NULL;
        }
        *end = '\0';
        char *rest = s_skip(end + 1);
        if (*rest && *rest != '#' && *rest != '\r') {
            *fault = "something follows the closing quote";
            return NULL;
        }
        return s + 1;
    }
    for (char *c = s; (c = strchr(c, '#')); c++)
        if (c == s || c[-1] == ' ' || c[-1] == '\t') {
            *c = '\0';
            break;
        }
    s_trim(s);
    return s;
}

/* Reads one NUL-terminated line, which it cuts up. */
static gate_err_t s_line(char *line, gi_settings_line_fn *fn, void *ctx) {
    const char *fault = NULL;
    char *name = s_skip(line);
    s_trim(name);
    if (!*name || *name == '#')
        return GATE_OK;
    if (name != line)
        return gi_err(GATE_BADDATA, "indented: settings have no levels");
    char *end = name;
    while (isalnum((unsigned char)*end) || *end == '_')
        end++;
    char *equals = s_skip(end);
    if (end == name || *equals != '=')
        return gi_err(GATE_BADDATA, "must be: name = value");
    *end = '\0';
    char *value = s_value(equals + 1, &fault);
    if (!value)
        return gi_err(GATE_BADDATA, "%s: %s", name, fault);
    return fn(ctx, name, value);
}

gate_err_t gi_settings_read_zpl(const char *file, const char *text, size_t size,
                                gi_settings_line_fn *fn, void *ctx) {
    if (memchr(text, '\0', size))
        return gi_err(GATE_BADDATA, "%s: a NUL byte inside", file);
    char *copy = gi_mem_dup(text, size);
    if (!copy)
        return gi_err(GATE_NOMEM, "%s", file);
    gate_err_t e = GATE_OK;
    unsigned number = 0;
    char *text_begins = copy; /* behind what some editors put before it */
    if (size >= 3 && !memcmp(copy, "\xef\xbb\xbf", 3))
        text_begins += 3;
    for (char *at = text_begins, *next; at && !e; at = next) {
        next = strchr(at, '\n');
        if (next)
            *next++ = '\0';
        number++;
        e = s_line(at, fn, ctx);
    }
    gi_mem_free(copy);
    if (!e || e == GATE_NOMEM)
        return e;
    return gi_err(GATE_BADDATA, "%s:%u: %s", file, number, gate_error()->text);
}

gate_err_t gi_settings_read_file(const char *file, unsigned how,
                                 gi_settings_line_fn *fn, void *ctx,
                                 struct stat *st) {
    gi_trusted_t text;
    gate_err_t e = gi_trusted_read("settings file", file, how | GI_TRUST_PIPE,
                                   S_FILE_MAX, &text);
    if (e)
        return e;
    *st = text.st;
    e = gi_settings_read_zpl(file, text.text, text.size, fn, ctx);
    gi_trusted_fini(&text);
    return e;
}
