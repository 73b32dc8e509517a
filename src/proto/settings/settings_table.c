/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_table.c -- the table and the defaults, both made of settings.def. */
#include "settings/settings_table.h"

#include <string.h>

#define S_AT(name) offsetof(gate_settings_t, name)
const gi_setting_t gi_settings_table[] = {
#define GI_S_INT(name, unit, dflt, min, max, doc)                   \
    {#name, unit, doc, NULL, GI_SETTING_INT, S_AT(name), dflt, min, \
     max,   0,    0,   0},
#define GI_S_F64(name, unit, dflt, min, max, doc)              \
    {#name, unit, doc, NULL, GI_SETTING_F64, S_AT(name), 0, 0, \
     0,     dflt, min, max},
#define GI_S_BOOL(name, dflt, doc) \
    {#name, "", doc, NULL, GI_SETTING_BOOL, S_AT(name), dflt, 0, 1, 0, 0, 0},
#define GI_S_STR(name, dflt, doc) \
    {#name, "", doc, dflt, GI_SETTING_STR, S_AT(name), 0, 0, 0, 0, 0, 0},
#include "settings/settings.def"
#undef GI_S_INT
#undef GI_S_F64
#undef GI_S_BOOL
#undef GI_S_STR
};
static unsigned char s_no_origin[GI_SETTINGS_COUNT];
/* The one object whose strings are all literals; the field is not const. */
#define S_LITERAL(s) ((char *)(uintptr_t)(s))
static const gate_settings_t s_defaults = {
#define GI_S_INT(name, unit, dflt, min, max, doc) .name = (dflt),
#define GI_S_F64(name, unit, dflt, min, max, doc) .name = (dflt),
#define GI_S_BOOL(name, dflt, doc) .name = (dflt),
#define GI_S_STR(name, dflt, doc) .name = S_LITERAL(dflt),
#include "settings/settings.def"
#undef GI_S_INT
#undef GI_S_F64
#undef GI_S_BOOL
#undef GI_S_STR
    .origin = s_no_origin,
    .stuck = {.story = {GATE_OK, "", "", ""}},
};

const gate_settings_t *gi_settings_defaults(void) { return &s_defaults; }

const gi_setting_t *gi_settings_find(const char *name) {
    for (size_t i = 0; name && i < GI_SETTINGS_COUNT; i++)
        if (!strcmp(gi_settings_table[i].name, name))
            return &gi_settings_table[i];
    return NULL;
}

/* ---- slips --------------------------------------------------------------- */
#define S_NAME_MAX 64

/* Levenshtein's distance of two names. */
static size_t s_distance(const char *a, const char *b) {
    size_t row[S_NAME_MAX + 1], n = strlen(b);
    if (n > S_NAME_MAX || strlen(a) > S_NAME_MAX)
        return S_NAME_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t change = corner + (a[i - 1] != b[j - 1]);
            size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            corner = row[j];
            row[j] = change < least ? change : least;
        }
    }
    return row[n];
}

/* "plain_users" means "broker_plain_users". */
static bool s_ends_so(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return m >= 4 && n > m && name[n - m - 1] == '_' &&
           !strcmp(name + n - m, end);
}

/* "monitor_token" means "monitor_token_file"; one word is no name. */
static bool s_begins_so(const char *name, const char *begin) {
    size_t n = strlen(begin);
    return strchr(begin, '_') && !strncmp(name, begin, n) && name[n] == '_';
}

const char *gi_settings_nearest(const char *name) {
    size_t least = strlen(name) < 6 ? 2 : 3;
    const char *found = NULL;
    for (size_t i = 0; i < GI_SETTINGS_COUNT; i++) {
        const char *one = gi_settings_table[i].name;
        size_t far = s_ends_so(one, name) || s_begins_so(one, name)
                         ? 0
                         : s_distance(name, one);
        if (far < least) {
            least = far;
            found = one;
        }
    }
    return found;
}

/* What Kubernetes and Docker make of the name of a service of others. */
static bool s_is_clusters(const char *name) {
    static const char *const ends[] = {"_service_host", "_service_port",
                                       "_port"};
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n > m && !strcmp(name + n - m, ends[i]))
            return true;
    }
    return strstr(name, "_service_port_") || strstr(name, "_tcp_addr") ||
           strstr(name, "_tcp_port") || strstr(name, "_tcp_proto") ||
           (strstr(name, "_port_") && n > 4 && !strcmp(name + n - 4, "_tcp"));
}

static bool s_has_word(const char *name) {
    static const char *const words[] = {
        "access",    "curve",      "plain",      "zap",       "passw",
        "secret",    "cert",       "allow",      "deny",      "auth",
        "user",      "trust",      "acl",        "token",     "cred",
        "login",     "permi",      "forbid",     "tls",       "secure",
        "rules",     "rate_limit", "connection", "ratelimit", "whitelist",
        "blacklist", "ssl",        "monitor_",   "uplink_"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

bool gi_settings_opens(const char *name) {
    const char *near = gi_settings_nearest(name);
    if (near && s_has_word(near))
        return true;
    return s_has_word(name) && !s_is_clusters(name);
}

static const char *const s_others[] = {"GATE_LIBRARY", "GATE_BROKER",
                                       "GATE_CONTEXT", "GATE_COMPLETE_MS"};
#define S_N_OTHERS (sizeof s_others / sizeof *s_others)

bool gi_settings_others(const char *var, size_t size) {
    for (size_t i = 0; i < S_N_OTHERS; i++)
        if (strlen(s_others[i]) == size && !memcmp(s_others[i], var, size))
            return true;
    return false;
}

const char *gi_settings_other_near(const char *var) {
    for (size_t i = 0; i < S_N_OTHERS; i++)
        if (s_distance(var, s_others[i]) < 3)
            return s_others[i];
    return NULL;
}

gate_err_t gi_settings_unknown(const char *name) {
    if (gi_err_null(name, "a setting's name"))
        return GATE_BADARG;
    const char *near = gi_settings_nearest(name);
    if (near)
        return gi_err(GATE_BADARG, "%.100s: no such setting: is %s meant?",
                      name, near);
    return gi_err(GATE_BADARG, "%.100s: no such setting", name);
}
