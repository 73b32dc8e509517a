/* SPDX-License-Identifier: BSD-3-Clause */
/* access.c -- rules as a list that is walked: there are few of them, and only
 * services that have some pay. */
#include "rules/access.h"

#include <string.h>
#include "base/err.h"
#include "base/mem.h"

typedef struct s_rule {
    struct s_rule *next;
    bool allow;
    char *user, *service, *method;
} s_rule_t;

struct gi_access {
    s_rule_t *rules; /* in order */
};

/* ---- patterns ------------------------------------------------------------ */
/* Goes back to the last star alone, so it takes at most pattern x text. */
static bool s_fits(const char *pattern, gate_bytes_t text) {
    const char *t = text.data, *end = t + text.size;
    const char *star = NULL, *from = NULL;
    while (t < end) {
        if (*pattern == '*') {
            star = pattern++;
            from = t;
        } else if (*pattern && *pattern == *t) {
            pattern++;
            t++;
        } else if (star) {
            pattern = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

static bool s_fits_user(const char *pattern, const char *user) {
    if (!strcmp(pattern, "-"))
        return !*user;
    return s_fits(pattern, (gate_bytes_t){user, strlen(user)});
}

/* ---- reading ------------------------------------------------------------- */
static void s_free_rule(s_rule_t *rule) {
    gi_mem_free(rule->user);
    gi_mem_free(rule->service);
    gi_mem_free(rule->method);
    gi_mem_free(rule);
}

static gate_err_t s_make(bool allow, const char *user, char *target,
                         s_rule_t **out) {
    char *dot = strrchr(target, '.');
    s_rule_t *rule = gi_mem_calloc(1, sizeof *rule);
    if (!rule)
        return gi_err(GATE_NOMEM, "no memory for access rules");
    if (dot)
        *dot = 0;
    rule->allow = allow;
    rule->user = gi_mem_strdup(user);
    rule->service = gi_mem_strdup(target);
    rule->method = gi_mem_strdup(dot ? dot + 1 : "*");
    if (!rule->user || !rule->service || !rule->method) {
        s_free_rule(rule);
        return gi_err(GATE_NOMEM, "no memory for access rules");
    }
    *out = rule;
    return GATE_OK;
}

/* Lists and patterns elsewhere; here they would be letters of names that nobody
 * has, and a denial would be none. */
static const char s_no_pattern[] = "?[]{}|,";

/* text is cut up. */
static gate_err_t s_parse_rule(char *text, s_rule_t **out) {
    static const char space[] = " \t\r\n";
    char *save, *verb = strtok_r(text, space, &save);
    *out = NULL;
    if (!verb)
        return GATE_OK; /* nothing between two semicolons */
    char *user = strtok_r(NULL, space, &save);
    char *target = user ? strtok_r(NULL, space, &save) : NULL;
    bool allow = !strcmp(verb, "allow");
    if ((!allow && strcmp(verb, "deny")) || !target ||
        strtok_r(NULL, space, &save))
        return gi_err(GATE_BADARG,
                      "access: '%s %s %s': allow or deny, USER, "
                      "SERVICE.METHOD expected",
                      verb, user ? user : "", target ? target : "");
    if (strpbrk(user, s_no_pattern) || strpbrk(target, s_no_pattern))
        return gi_err(GATE_BADARG,
                      "access: '%s %s %s': one user and one SERVICE.METHOD a "
                      "rule, in which * alone stands for others",
                      verb, user, target);
    return s_make(allow, user, target, out);
}

static gate_err_t s_parse_all(gi_access_t *self, char *text) {
    s_rule_t **at = &self->rules;
    gate_err_t e = GATE_OK;
    while (text && !e) {
        char *rule = strsep(&text, ";");
        e = s_parse_rule(rule, at);
        if (!e && *at)
            at = &(*at)->next;
    }
    return e;
}

gate_err_t gi_access_parse(const char *text, gi_access_t **out) {
    gi_access_t *self = gi_mem_calloc(1, sizeof *self);
    char *copy = gi_mem_strdup(text);
    gate_err_t e = self && copy
                       ? s_parse_all(self, copy)
                       : gi_err(GATE_NOMEM, "no memory for access rules");
    gi_mem_free(copy);
    if (!e && *text && !self->rules)
        e = gi_err(GATE_BADARG,
                   "access: '%.40s': no rule in it: allow or deny, USER, "
                   "SERVICE.METHOD expected, or nothing",
                   text);
    if (e || !self->rules)
        gi_access_destroy(&self);
    if (!e)
        *out = self;
    return e;
}

void gi_access_destroy(gi_access_t **self_p) {
    gi_access_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    while (self->rules) {
        s_rule_t *next = self->rules->next;
        s_free_rule(self->rules);
        self->rules = next;
    }
    gi_mem_free(self);
}

/* ---- asking -------------------------------------------------------------- */
bool gi_access_concerns(const gi_access_t *self, gate_bytes_t service) {
    const s_rule_t *r = self ? self->rules : NULL;
    while (r && !s_fits(r->service, service))
        r = r->next;
    return r != NULL;
}

bool gi_access_says(const gi_access_t *self, const char *user,
                    gate_bytes_t service, gate_bytes_t method, bool *allow) {
    const s_rule_t *r = self ? self->rules : NULL;
    while (r && !(s_fits(r->service, service) && s_fits(r->method, method) &&
                  s_fits_user(r->user, user)))
        r = r->next;
    if (r)
        *allow = r->allow;
    return r != NULL;
}

bool gi_access_allows(const gi_access_t *self, const char *user,
                      gate_bytes_t service, gate_bytes_t method) {
    bool allow = true;
    if (gi_access_says(self, user, service, method, &allow))
        return allow;
    for (const s_rule_t *r = self ? self->rules : NULL; r && allow; r = r->next)
        allow = !(r->allow && s_fits(r->service, service));
    return allow;
}
