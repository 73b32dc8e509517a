/* SPDX-License-Identifier: BSD-3-Clause */
/* exception.c -- [class, repr, traceback] (wire.md 6): made of a story, and
 * made the thread's story. What goes out is valid UTF-8, since a Python client
 * drops a reply whose str is not and then waits out its timeout. */
#include "wire/exception.h"
#include "value/mp.h"
#include "wire/rpc.h"
#include "value/scan.h"
#include "base/origin.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---- writing ------------------------------------------------------------- */
static void s_text(gi_buf_t *out, const char *s) {
    gi_buf_append(out, s, strlen(s));
}

/* Appends one character of a quoted text; what it consumed. */
static size_t s_quote_one(gi_buf_t *out, const unsigned char *p, size_t left,
                          char quote) {
    static const char letters[] = "\n\r\t\\", names[] = "nrt\\";
    size_t n = gi_utf8_next(p, left);
    const char *at = *p ? strchr(letters, *p) : NULL;
    char code[8];
    if (at)
        snprintf(code, sizeof code, "\\%c", names[at - letters]);
    else if (*p == quote)
        snprintf(code, sizeof code, "\\%c", quote);
    else if (!n || *p < 0x20 || *p == 0x7f)
        snprintf(code, sizeof code, "\\x%02x", *p);
    else if (*p == 0xc2 && p[1] < 0xa0) /* U+0080..U+009F */
        snprintf(code, sizeof code, "\\x%02x", p[1]);
    else {
        gi_buf_append(out, p, n);
        return n;
    }
    s_text(out, code);
    return n ? n : 1;
}

void gi_exception_repr(gi_buf_t *out, const char *cls, const char *text) {
    char quote = strchr(text, '\'') && !strchr(text, '"') ? '"' : '\'';
    const unsigned char *p = (const unsigned char *)text;
    const unsigned char *end = p + strlen(text);
    s_text(out, cls);
    s_text(out, *text ? "(" : "()");
    if (!*text)
        return;
    gi_buf_append(out, &quote, 1);
    while (p < end && !out->failed)
        p += s_quote_one(out, p, (size_t)(end - p), quote);
    gi_buf_append(out, &quote, 1);
    s_text(out, ")");
}

/* A str, with U+FFFD where it is not UTF-8. */
static void s_put_clean(gi_buf_t *out, const char *s) {
    size_t size = strlen(s);
    if (gi_utf8_valid(s, size)) {
        gi_mp_put_str(out, s, size);
        return;
    }
    gi_buf_t clean = {0};
    while (size) {
        size_t n = gi_utf8_next((const unsigned char *)s, size);
        gi_buf_append(&clean, n ? s : "\xef\xbf\xbd", n ? n : 3);
        s += n ? n : 1;
        size -= n ? n : 1;
    }
    gi_mp_put_str(out, clean.data, clean.size);
    out->failed = out->failed || clean.failed;
    gi_buf_fini(&clean);
}

gate_err_t gi_rpc_pack_triple(gi_buf_t *out, const char *cls, const char *text,
                              const char *traceback) {
    gi_buf_t repr = {0};
    size_t start = out->size;
    if (!cls || !*cls)
        cls = gi_err_class(GATE_RAISED);
    gi_exception_repr(&repr, cls, text ? text : "");
    gi_buf_append(&repr, "", 1); /* NUL */
    if (!repr.failed) {
        gi_mp_put_array(out, 3);
        s_put_clean(out, cls);
        s_put_clean(out, (const char *)repr.data);
        s_put_clean(out, traceback ? traceback : "");
    }
    bool failed = repr.failed || out->failed;
    gi_buf_fini(&repr);
    if (!failed)
        return GATE_OK;
    out->size = start;
    return gi_err(GATE_NOMEM, "packing an exception");
}

gate_err_t gi_rpc_pack_exception(gi_buf_t *out, const char *cls,
                                 const char *text, const char *traceback) {
    size_t start = out->size;
    gi_buf_append(out, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
    gi_mp_put_nil(out);
    /* the suffix without its nil: the key alone */
    gi_buf_append(out, gi_rpc_ok_suffix, sizeof gi_rpc_ok_suffix - 1);
    gate_err_t e = gi_rpc_pack_triple(out, cls, text, traceback);
    if (e)
        out->size = start;
    return e;
}

/* ---- reading ------------------------------------------------------------- */
typedef struct s_literal {
    const char *at, *end; /* between the quotes */
} s_literal_t;

/* Cls('...') or Cls("..."), perhaps with the comma of older Pythons. */
static bool s_find_literal(const char *repr, size_t size, s_literal_t *out) {
    const char *end = repr + size, *p = repr;
    while (p < end && (isalnum((unsigned char)*p) || *p == '_' || *p == '.'))
        p++;
    if (p == repr || end - p < 4 || *p++ != '(' || *--end != ')')
        return false;
    if (end[-1] == ',')
        end--;
    char quote = *p++;
    if ((quote != '\'' && quote != '"') || end - p < 1 || *--end != quote)
        return false;
    *out = (s_literal_t){p, end};
    for (; p < end; p++) { /* the quote ends it, unless escaped */
        if (*p == quote)
            return false;
        if (*p == '\\' && ++p == end)
            return false;
    }
    return true;
}

/* \xhh, \uhhhh or \Uhhhhhhhh behind the backslash; false when it is none or
 * stands for NUL. */
static bool s_unescape_code(gi_buf_t *out, s_literal_t *s) {
    size_t digits = *s->at == 'x'   ? 2
                    : *s->at == 'u' ? 4
                    : *s->at == 'U' ? 8
                                    : 0;
    uint32_t code = 0;
    if (!digits || (size_t)(s->end - s->at) <= digits)
        return false;
    for (size_t i = 1; i <= digits; i++) {
        int c = tolower((unsigned char)s->at[i]);
        if (!isxdigit(c))
            return false;
        code = code << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    if (!code)
        return false;
    unsigned char utf8[4];
    gi_buf_append(out, utf8, gi_utf8_put(code, utf8));
    s->at += 1 + digits;
    return true;
}

static void s_unescape_one(gi_buf_t *out, s_literal_t *s) {
    static const char names[] = "nrt\\'\"", letters[] = "\n\r\t\\'\"";
    const char *at = *s->at ? strchr(names, *s->at) : NULL;
    if (at)
        gi_buf_append(out, &letters[at - names], 1);
    else if (s_unescape_code(out, s))
        return;
    else { /* not Python's: as it stands */
        gi_buf_append(out, "\\", 1);
        gi_buf_append(out, s->at, 1);
    }
    s->at++;
}

void gi_exception_text(gi_buf_t *out, const char *repr, size_t size) {
    s_literal_t s;
    if (size >= 2 && !memcmp(repr + size - 2, "()", 2) &&
        memchr(repr, '(', size) == repr + size - 2)
        return; /* Cls(): no text */
    if (!s_find_literal(repr, size, &s)) {
        gi_buf_append(out, repr, size);
        return;
    }
    while (s.at < s.end && !out->failed) {
        if (*s.at++ != '\\')
            gi_buf_append(out, s.at - 1, 1);
        else
            s_unescape_one(out, &s);
    }
}

/* The next of the parts; what is no str counts as an empty one. */
static gate_err_t s_next_str(const unsigned char **p, size_t *left,
                             const gi_limits_t *limits, gate_bytes_t *out) {
    gi_mp_t h;
    size_t used = 0;
    gate_err_t e = gi_scan_one(*p, *left, limits, &used);
    if (e)
        return e;
    size_t head = gi_mp_head(*p, *left, &h);
    *out = (gate_bytes_t){*p + head, h.kind == GI_MP_STR ? h.n : 0};
    *p += used;
    *left -= used;
    return GATE_OK;
}

/* A story of three runs of bytes; without memory its text is the code's. */
static gate_err_t s_publish(gate_bytes_t cls, gate_bytes_t repr,
                            gate_bytes_t traceback) {
    gi_buf_t text = {0};
    gi_buf_append(&text, cls.data, cls.size);
    gi_buf_append(&text, "", 1);
    size_t text_at = text.size;
    gi_exception_text(&text, repr.data, repr.size);
    gi_buf_append(&text, "", 1);
    size_t traceback_at = text.size;
    gi_buf_append(&text, traceback.data, traceback.size);
    gi_buf_append(&text, "", 1);
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(cls.size < 63 ? cls.size : 63),
             (const char *)cls.data);
    const char *at = (const char *)text.data;
    char begins[256]; /* of the traceback, for want of memory */
    snprintf(begins, sizeof begins, "%.*s",
             (int)(traceback.size < 255 ? traceback.size : 255),
             (const char *)traceback.data);
    gate_err_t code =
        gi_origin_code(name, text.failed ? begins : at + traceback_at);
    if (text.failed)
        gi_err_story(code, name, gate_err_text(code), NULL);
    else
        gi_err_story(code, at, at + text_at, at + traceback_at);
    gi_buf_fini(&text);
    return code;
}

gate_err_t gi_rpc_publish_triple(gate_bytes_t packed,
                                 const gate_settings_t *settings) {
    static const char cls_of_str[] = "RuntimeError";
    gi_limits_t limits = gi_scan_limits(settings);
    gate_err_t e = gi_scan(packed.data, packed.size, &limits);
    if (e)
        return gi_err(GATE_BADDATA, "an exception: %s", gate_error()->text);
    gi_mp_t h;
    const unsigned char *p = packed.data;
    size_t head = gi_mp_head(p, packed.size, &h), left = packed.size - head;
    p += head;
    if (h.kind == GI_MP_STR)
        return s_publish((gate_bytes_t){cls_of_str, sizeof cls_of_str - 1},
                         (gate_bytes_t){p, h.n}, (gate_bytes_t){"", 0});
    gate_bytes_t parts[3];
    if (h.kind != GI_MP_ARRAY || h.n != 3)
        return gi_err(GATE_BADDATA, "an exception must have three parts");
    for (int i = 0; i < 3; i++)
        if ((e = s_next_str(&p, &left, &limits, &parts[i])))
            return e;
    if (!parts[0].size)
        return gi_err(GATE_BADDATA, "an exception without a class");
    return s_publish(parts[0], parts[1], parts[2]);
}
