/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_check.c -- settings together: what each may be by itself, and is
 * wrong beside another. Looked at when something starts. */
#include "settings/settings_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"

#define S_BEAT_MIN 10 /* ms, as the setting heartbeat has it */
#define S_NAME_MAX 255

/* Halves of pairs: the other half would be nothing, or nobody's. */
static gate_err_t s_check_pairs(const gate_settings_t *self) {
    const struct {
        const char *a, *b;
        const char *a_value, *b_value;
    } pairs[] = {
        {"zap_plain_default_user", "zap_plain_default_password",
         self->zap_plain_default_user, self->zap_plain_default_password},
        {"plain_user", "plain_password", self->plain_user,
         self->plain_password},
        {"curve_cert", "curve_server", self->curve_cert, self->curve_server},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (!pairs[i].a_value != !pairs[i].b_value)
            return gi_err(GATE_BADARG, "%s and %s go together: %s is missing",
                          pairs[i].a, pairs[i].b,
                          pairs[i].a_value ? pairs[i].b : pairs[i].a);
    if (self->curve_cert && self->plain_user)
        return gi_err(GATE_BADARG, "curve_cert and plain_user: a connection "
                                   "speaks CURVE or PLAIN, not both");
    return GATE_OK;
}

static gate_err_t s_check_times(const gate_settings_t *self) {
    if (self->mdp_heartbeat_interval &&
        self->mdp_heartbeat_interval < S_BEAT_MIN)
        return gi_err(GATE_BADARG,
                      "mdp_heartbeat_interval = %lld: 0 (as heartbeat), or %d "
                      "ms and more",
                      (long long)self->mdp_heartbeat_interval, S_BEAT_MIN);
    if (gi_settings_is_set(self, "supervise_backoff_ms") &&
        self->supervise_backoff_ms > self->supervise_backoff_max_ms)
        return gi_err(GATE_BADARG,
                      "supervise_backoff_ms = %lld is above "
                      "supervise_backoff_max_ms = %lld, the longest of these "
                      "waits",
                      (long long)self->supervise_backoff_ms,
                      (long long)self->supervise_backoff_max_ms);
    return GATE_OK;
}

/* Names of services: none can register by another. */
static gate_err_t s_check_names(const gate_settings_t *self) {
    const char *names[][2] = {
        {"mdp_internal_service", self->mdp_internal_service},
        {"mdp_internal_service_prefix", self->mdp_internal_service_prefix},
        {"service_default_name", self->service_default_name}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i][1] &&
            (strchr(names[i][1], ':') || strlen(names[i][1]) > S_NAME_MAX))
            return gi_err(GATE_BADARG,
                          "%s: a service's name has no ':' and at most %d "
                          "bytes",
                          names[i][0], S_NAME_MAX);
    return GATE_OK;
}

/* An empty directory is the root's. */
static gate_err_t s_check_paths(const gate_settings_t *self) {
    const char *paths[][2] = {{"base_path", self->base_path},
                              {"run_path", self->run_path},
                              {"log_path", self->log_path}};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i][1] && !*paths[i][1])
            return gi_err(GATE_BADARG,
                          "%s: empty: name a directory, or leave it away",
                          paths[i][0]);
    return GATE_OK;
}

/* CZMQ aborts at what libzmq does not take, and where sockets are short. What
 * else stands there is looked at where it is used. */
static gate_err_t s_check_context(const gate_settings_t *self) {
    static const struct {
        const char *name;
        long min, max;
    } known[] = {{"io_threads", 1, 64}, {"max_sockets", 1024, 1048576}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *at = strstr(self->zmq_context, known[i].name);
        size_t size = strlen(known[i].name);
        char *end;
        if (!at || at[size] != '=')
            continue;
        long n = strtol(at + size + 1, &end, 10);
        if (end == at + size + 1 || (*end && *end != ',' && *end != ' ') ||
            n < known[i].min || n > known[i].max)
            return gi_err(GATE_BADARG,
                          "zmq_context: %.100s: %s is a number from %ld to %ld",
                          self->zmq_context, known[i].name, known[i].min,
                          known[i].max);
    }
    return GATE_OK;
}

gate_err_t gate_settings_check(const gate_settings_t *self) {
    if (gi_err_null(self, "gate_settings_check"))
        return GATE_BADARG;
    if (self->stuck.story.code)
        return gi_error_publish(&self->stuck);
    gate_err_t e = s_check_pairs(self);
    if (!e)
        e = s_check_times(self);
    if (!e)
        e = s_check_names(self);
    if (!e)
        e = s_check_context(self);
    return e ? e : s_check_paths(self);
}

/* ---- beside another's ---------------------------------------------------- */
static bool s_same(const gate_settings_t *a, const gate_settings_t *b,
                   const gi_setting_t *row) {
    static const size_t sizes[] = {sizeof(int64_t), sizeof(double),
                                   sizeof(bool)};
    if (row->type != GI_SETTING_STR)
        return !memcmp(gi_settings_field(a, row), gi_settings_field(b, row),
                       sizes[row->type]);
    const char *s = gi_settings_str(a, row), *t = gi_settings_str(b, row);
    return s == t || (s && t && !strcmp(s, t));
}

void gi_settings_differ(const gate_settings_t *self,
                        const gate_settings_t *other, const char *const *names,
                        char *out, size_t room) {
    size_t at = 0;
    *out = 0;
    for (; *names && at < room; names++) {
        const gi_setting_t *row = gi_settings_find(*names);
        if (row && self->origin[row - gi_settings_table] &&
            !s_same(self, other, row))
            at += (size_t)snprintf(out + at, room - at, "%s%s", at ? ", " : "",
                                   *names);
    }
}

static bool s_among(const char *name, const char *const *names) {
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

void gi_settings_changed(const gate_settings_t *self,
                         const gate_settings_t *other, const char *const *but,
                         char *out, size_t room) {
    size_t at = 0;
    *out = 0;
    for (size_t i = 0; i < GI_SETTINGS_COUNT && at < room; i++) {
        const gi_setting_t *row = &gi_settings_table[i];
        if (!s_among(row->name, but) && !s_same(self, other, row))
            at += (size_t)snprintf(out + at, room - at, "%s%s", at ? ", " : "",
                                   row->name);
    }
}
