/* SPDX-License-Identifier: BSD-3-Clause */
/* page.c -- page.html in the program, and the policy that holds it to what it
 * is: its own script and style by their hashes, and nothing else. */
#include "monitor/monitor.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

__asm__(".section .rodata\n"
        ".global gi_page_begin\n.hidden gi_page_begin\n"
        "gi_page_begin:\n.incbin \"" GI_PAGE_FILE "\"\n"
        ".global gi_page_end\n.hidden gi_page_end\n"
        "gi_page_end:\n.byte 0\n"
        ".previous\n");
extern const char gi_page_begin[], gi_page_end[];

#define S_HASH 32
#define S_BASE64 48

const char *gi_page_html(size_t *size) {
    *size = (size_t)((uintptr_t)gi_page_end - (uintptr_t)gi_page_begin);
    return gi_page_begin;
}

static bool s_hash(const char *begin, const char *end, char to[S_BASE64]) {
    unsigned char hash[S_HASH];
    if (!EVP_Digest(begin, (size_t)(end - begin), hash, NULL, EVP_sha256(),
                    NULL))
        return false;
    EVP_EncodeBlock((unsigned char *)to, hash, sizeof hash);
    return true;
}

static bool s_between(const char *open, const char *close, char to[S_BASE64]) {
    const char *begin = strstr(gi_page_begin, open);
    const char *end = begin ? strstr(begin, close) : NULL;
    return end && s_hash(begin + strlen(open), end, to);
}

bool gi_page_policy(char csp[GI_PAGE_CSP_MAX], char etag[GI_PAGE_ETAG_MAX]) {
    char script[S_BASE64], style[S_BASE64], all[S_BASE64];
    size_t size;
    const char *page = gi_page_html(&size);
    if (!s_between("<script>", "</script>", script) ||
        !s_between("<style>", "</style>", style) ||
        !s_hash(page, page + size, all))
        return false;
    snprintf(csp, GI_PAGE_CSP_MAX,
             "default-src 'none'; script-src 'sha256-%s'; style-src "
             "'sha256-%s'; connect-src 'self'; img-src data:; "
             "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
             script, style);
    snprintf(etag, GI_PAGE_ETAG_MAX, "\"%s\"", all);
    return true;
}
