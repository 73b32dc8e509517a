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

size_t gi_clean_next(const char *text, size_t left, bool *fine) {
    size_t n = s_char(text, left);
    unsigned char c = (unsigned char)*text;
    *fine = n && c >= ' ' && c != 0x7f &&
            !s_is_trick(s_code((const unsigned char *)text, n));
    return n ? n : 1;
}

size_t gi_clean_copy(char *to, size_t room, const char *text, size_t size) {
    size_t used = 0;
    bool fine;
    for (size_t n; size; text += n, size -= n) {
        n = gi_clean_next(text, size, &fine);
        if (used + (fine ? n : 1) >= room)
            break;
        memcpy(to + used, fine ? text : "?", fine ? n : 1);
        used += fine ? n : 1;
    }
    to[used] = 0;
    return used;
}

void gi_clean_put(FILE *to, const char *text, size_t size, bool lines) {
    bool fine;
    for (size_t n; size; text += n, size -= n) {
        n = gi_clean_next(text, size, &fine);
        unsigned char c = (unsigned char)*text;
        if (fine || (lines && (c == '\n' || c == '\t')))
            fwrite(text, 1, n, to);
        else if (n > 1)
            fprintf(to, "\\u%04x", s_code((const unsigned char *)text, n));
        else
            fprintf(to, "\\x%02x", c);
    }
}
