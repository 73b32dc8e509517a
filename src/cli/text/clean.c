/* SPDX-License-Identifier: BSD-3-Clause */
/* clean.c -- see clean.h. */
#include "text/clean.h"
#include "text/json_read.h"

#include <string.h>

/* Bytes of the character at p, 0: it is none. */
static size_t s_char(const char *p, size_t left) {
    for (size_t n = 1; n <= 4 && n <= left; n++)
        if (gi_json_text(p, n))
            return n;
    return 0;
}

/* Of two or three bytes; 0 for others. */
static unsigned s_code(const unsigned char *p, size_t n) {
    if (n == 2)
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    return n == 3 ? (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu)
                  : 0;
}

/* U+0080..9F, and what embeds, overrides or isolates a direction. */
static bool s_is_trick(unsigned code) {
    return (code >= 0x80 && code < 0xa0) || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

void gi_clean_put(FILE *to, const char *text, size_t size, bool lines) {
    for (size_t n; size; text += n, size -= n) {
        n = s_char(text, size);
        unsigned char c = (unsigned char)*text;
        unsigned code = s_code((const unsigned char *)text, n);
        if (n == 0 || (c < ' ' && !(lines && (c == '\n' || c == '\t'))) ||
            c == 0x7f)
            fprintf(to, "\\x%02x", c);
        else if (s_is_trick(code))
            fprintf(to, "\\u%04x", code);
        else
            fwrite(text, 1, n, to);
        n += n == 0;
    }
}
