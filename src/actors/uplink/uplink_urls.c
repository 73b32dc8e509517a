/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_urls.c -- see the header. */
#include "uplink/uplink_urls.h"

#include <stdlib.h>
#include <string.h>
#include "base/bytes.h"
#include "base/err.h"
#include "link/carrier.h"

#define S_BETWEEN ", "
#define S_PORT_MAX 65535
#define S_SHOWN_MAX 100 /* bytes of it in an error */

typedef struct s_url {
    gate_bytes_t scheme, host, port;
    bool has_scheme, has_port, bracketed;
} s_url_t;

/* ---- one of them --------------------------------------------------------- */
static bool s_next(const char **at, gate_bytes_t *word) {
    *at += strspn(*at, S_BETWEEN);
    *word = (gate_bytes_t){*at, strcspn(*at, S_BETWEEN)};
    *at += word->size;
    return word->size > 0;
}

/* The first n bytes; *rest is what stands n + skip bytes behind. */
static gate_bytes_t s_cut(gate_bytes_t *rest, size_t n, size_t skip) {
    gate_bytes_t head = {rest->data, n};
    *rest = (gate_bytes_t){(const char *)rest->data + n + skip,
                           rest->size - n - skip};
    return head;
}

/* Where the host ends: a port may follow, and an address of IPv6 has brackets. */
static gate_bytes_t s_host(gate_bytes_t *rest) {
    const char *p = rest->data;
    const char *close = rest->size ? memchr(p, ']', rest->size) : NULL;
    if (close && *p == '[') {
        s_cut(rest, 0, 1);
        return s_cut(rest, (size_t)(close - p) - 1, 1);
    }
    const char *colon = rest->size ? memrchr(p, ':', rest->size) : NULL;
    return s_cut(rest, colon ? (size_t)(colon - p) : rest->size, 0);
}

static void s_split(gate_bytes_t word, s_url_t *url) {
    const char *p = word.data, *slash = memmem(p, word.size, "://", 3);
    *url = (s_url_t){.has_scheme = slash != NULL};
    if (slash)
        url->scheme = s_cut(&word, (size_t)(slash - p), 3);
    url->bracketed = word.size > 0 && *(const char *)word.data == '[';
    url->host = s_host(&word);
    url->has_port = word.size > 0 && *(const char *)word.data == ':';
    if (url->has_port)
        s_cut(&word, 0, 1);
    url->port = word;
}

static bool s_is_of(gate_bytes_t text, const char *letters) {
    const char *p = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (p[i] == 0 || strchr(letters, p[i]) == NULL)
            return false;
    return text.size > 0;
}

static bool s_is_port(gate_bytes_t text) {
    char digits[8];
    if (!s_is_of(text, "0123456789") ||
        !gi_bytes_text(text, digits, sizeof digits))
        return false;
    long port = strtol(digits, NULL, 10);
    return port > 0 && port <= S_PORT_MAX;
}

/* Without a scheme a port makes it an address. */
static bool s_is_valid(const s_url_t *url) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopq"
                                  "rstuvwxyz0123456789-._%:";
    bool known = gi_bytes_is(url->scheme, "nats") ||
                 gi_bytes_is(url->scheme, "tls") ||
                 (!url->has_scheme && url->has_port);
    return known && s_is_of(url->host, letters) &&
           (url->bracketed ||
            memchr(url->host.data, ':', url->host.size) == NULL) &&
           (url->has_port ? s_is_port(url->port) : url->port.size == 0);
}

static bool s_is_here(gate_bytes_t host) {
    char text[64];
    if (!gi_bytes_text(host, text, sizeof text))
        return false;
    bool numbers = text[strspn(text, "0123456789.")] == 0;
    return (numbers && strncmp(text, "127.", 4) == 0) ||
           strcmp(text, "localhost") == 0 || strcmp(text, "::1") == 0;
}

/* ---- all of them --------------------------------------------------------- */
gate_err_t gi_uplink_urls_check(const char *urls) {
    gate_bytes_t word;
    s_url_t url;
    int n = 0;
    for (const char *at = urls; s_next(&at, &word); n++) {
        s_split(word, &url);
        if (!s_is_valid(&url))
            return gi_err(
                GATE_BADARG,
                "uplink: \"%.*s\" is no address of a NATS server: "
                "nats://HOST:PORT or tls://HOST:PORT, comma "
                "separated",
                (int)(word.size < S_SHOWN_MAX ? word.size : S_SHOWN_MAX),
                (const char *)word.data);
    }
    if (n == 0)
        return gi_err(GATE_BADARG, "uplink = \"%s\": no NATS server in it",
                      urls);
    if (n > GI_CARRIER_URLS_MAX || strlen(urls) >= GI_CARRIER_URLS_BYTES)
        return gi_err(GATE_TOOBIG,
                      "uplink: %d NATS servers in %zu bytes: at most %d in %d",
                      n, strlen(urls), GI_CARRIER_URLS_MAX,
                      GI_CARRIER_URLS_BYTES - 1);
    return GATE_OK;
}

bool gi_uplink_urls_secure(const char *urls) {
    gate_bytes_t word;
    s_url_t url;
    while (s_next(&urls, &word)) {
        s_split(word, &url);
        if (gi_bytes_is(url.scheme, "tls"))
            return true;
    }
    return false;
}

gate_bytes_t gi_uplink_urls_away(const char *urls) {
    gate_bytes_t word;
    s_url_t url;
    while (s_next(&urls, &word)) {
        s_split(word, &url);
        if (!s_is_here(url.host))
            return word;
    }
    return (gate_bytes_t){"", 0};
}
