/* SPDX-License-Identifier: BSD-3-Clause */
/* zap_judge.c -- who is let in: lists first, then users by domain, then the
 * program's own function.
 *
 * Every no costs the same hashes, so names cannot be found out by the clock. */
#include "security/zap_impl.h"

#include <gaterpc/log.h>
#include <arpa/inet.h>
#include <crypt.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

#define S_KINDS_MAX 8 /* of hashes in one file */

/* ---- users and lists ----------------------------------------------------- */
gate_err_t gi_zap_judge_user(gi_zap_judge_t *self, const char *domain,
                             const char *name, const char *password) {
    return gi_zap_users_add(&self->users, domain, name, password, false);
}

/* What a peer can have: an IP address, libzmq's text for one of ipc, or bytes.
 * Anything else would let nobody in, or keep nobody out. */
static bool s_is_place(const char *text) {
    struct in6_addr ip;
    size_t n = strlen(text);
    return inet_pton(AF_INET, text, &ip) == 1 ||
           inet_pton(AF_INET6, text, &ip) == 1 ||
           !strncmp(text, "localhost:", 10) ||
           (n % 2 == 0 && strspn(text, "0123456789abcdefABCDEF") == n);
}

gate_err_t gi_zap_judge_list(gi_zap_entry_t **list, const char *text) {
    if (!s_is_place(text))
        return gi_err(GATE_BADARG,
                      "'%s' is no address (as 10.0.0.1 or ::1) and no "
                      "identity (hex)",
                      text);
    gi_zap_entry_t *entry = gi_mem_calloc(1, sizeof *entry);
    if (!entry || !(entry->text = gi_mem_strdup(text))) {
        gi_mem_free(entry);
        return gi_err(GATE_NOMEM, "no memory for a list");
    }
    entry->next = *list;
    *list = entry;
    return GATE_OK;
}

static void s_free_list(gi_zap_entry_t **list) {
    while (*list) {
        gi_zap_entry_t *entry = *list;
        *list = entry->next;
        gi_mem_free(entry->text);
        gi_mem_free(entry);
    }
}

void gi_zap_judge_fini(gi_zap_judge_t *self) {
    gi_zap_users_free(&self->users);
    gi_zap_users_free(&self->of_file);
    s_free_list(&self->allowed);
    s_free_list(&self->denied);
    gi_mem_free(self->file);
}

/* ---- judging ------------------------------------------------------------- */
static bool s_is_hex(const char *text, gate_bytes_t bytes) {
    const unsigned char *p = bytes.data;
    if (strlen(text) != 2 * bytes.size)
        return false;
    for (size_t i = 0; i < bytes.size; i++) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", p[i]);
        if (strncasecmp(hex, text + 2 * i, 2) != 0)
            return false;
    }
    return true;
}

static bool s_listed(const gi_zap_entry_t *list,
                     const gate_zap_request_t *request) {
    for (; list; list = list->next)
        if ((strlen(list->text) == request->address.size &&
             !memcmp(list->text, request->address.data,
                     request->address.size)) ||
            s_is_hex(list->text, request->address) ||
            s_is_hex(list->text, request->identity))
            return true;
    return false;
}

/* As long for every wrong password of that length. */
static bool s_equal(const char *a, const char *b) {
    size_t n = strlen(a);
    unsigned char differ = 0;
    if (strlen(b) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned char)(a[i] ^ b[i]);
    return !differ;
}

static bool s_fits(const gi_zap_user_t *user, const char *password) {
    struct crypt_data data = {0};
    if (!user->hashed)
        return s_equal(user->secret, password);
    const char *hash = crypt_r(password, user->secret, &data);
    bool fits = hash && *hash != '*' && s_equal(user->secret, hash);
    explicit_bzero(&data, sizeof data);
    return fits;
}

typedef enum s_found { S_YES, S_PASSWORD, S_USER, S_DOMAIN } s_found_t;

/* *tried: whose password was looked at last. */
static s_found_t s_look(const gi_zap_user_t *user,
                        const gate_zap_request_t *request, s_found_t found,
                        const gi_zap_user_t **tried) {
    for (; user && found != S_YES; user = user->next) {
        if (strcmp(user->domain, "*") && strcmp(user->domain, request->domain))
            continue;
        if (found == S_DOMAIN)
            found = S_USER;
        if (strcmp(user->name, request->user))
            continue;
        *tried = user;
        found = s_fits(user, request->password) ? S_YES : S_PASSWORD;
    }
    return found;
}

/* "$y$" of "$y$j9T$..."; of the oldest kinds, which have none, all are one. */
static size_t s_kind(const char *hash) {
    const char *end = *hash == '$' ? strchr(hash + 1, '$') : NULL;
    return end ? (size_t)(end - hash) : 0;
}

static bool s_same_kind(const gi_zap_user_t *a, const gi_zap_user_t *b) {
    size_t n = s_kind(a->secret);
    return a->hashed && b->hashed && n == s_kind(b->secret) &&
           memcmp(a->secret, b->secret, n) == 0;
}

/* Every no costs one hash of each kind that the file has, whoever was meant and
 * whether there is such a user: a fast one among slow ones would tell. */
static void s_level(const gi_zap_judge_t *self,
                    const gate_zap_request_t *request,
                    const gi_zap_user_t *tried) {
    const gi_zap_user_t *kinds[S_KINDS_MAX];
    size_t n = 0, i;
    for (const gi_zap_user_t *u = self->of_file; u && n < S_KINDS_MAX;
         u = u->next) {
        for (i = 0; i < n && !s_same_kind(u, kinds[i]); i++)
            continue;
        if (i == n)
            kinds[n++] = u;
    }
    for (i = 0; i < n; i++)
        if ((!tried || !s_same_kind(tried, kinds[i])) &&
            s_fits(kinds[i], request->password))
            continue; /* it was another's */
}

static const char *s_check(const gi_zap_judge_t *self,
                           const gate_zap_request_t *request,
                           const char **why) {
    switch (self->check(self->ctx, request)) {
    case GATE_OK:
        *why = "OK";
        return "200";
    case GATE_REFUSED:
        *why = "Refused";
        return "400";
    default:
        *why = "Internal error";
        return "500";
    }
}

const char *gi_zap_judge_ask(gi_zap_judge_t *self,
                             const gate_zap_request_t *request,
                             const char **why) {
    static const char *const texts[] = {[S_YES] = "OK",
                                        [S_PASSWORD] = "Invalid password",
                                        [S_USER] = "Invalid username",
                                        [S_DOMAIN] = "Invalid domain"};
    if (gi_zap_judge_read(self))
        gate_log(GATE_ERROR, "zap", "%s; the users read before hold",
                 gate_error()->text);
    if (s_listed(self->denied, request) ||
        (self->allowed && !s_listed(self->allowed, request))) {
        *why = "Address not allowed";
        return "400";
    }
    const gi_zap_user_t *tried = NULL;
    s_found_t found = s_look(self->users, request, S_DOMAIN, &tried);
    found = s_look(self->of_file, request, found, &tried);
    if ((found == S_USER || found == S_DOMAIN) && self->check)
        return s_check(self, request, why);
    if (found != S_YES)
        s_level(self, request, tried);
    *why = texts[found];
    return found == S_YES ? "200" : "400";
}
