/* SPDX-License-Identifier: BSD-3-Clause */
/* settings.h (private) -- the values by field, for the library itself. */
#ifndef GI_SETTINGS_H
#define GI_SETTINGS_H

#include <gaterpc/settings.h>
#include "base/err.h"

/* settings.def: GI_S_INT(name, unit, default, min, max, doc), GI_S_F64(same),
 * GI_S_BOOL(name, default, doc), GI_S_STR(name, default or NULL, doc). */
struct gate_settings {
#define GI_S_INT(name, unit, dflt, min, max, doc) int64_t name;
#define GI_S_F64(name, unit, dflt, min, max, doc) double name;
#define GI_S_BOOL(name, dflt, doc) bool name;
#define GI_S_STR(name, dflt, doc) char *name;
#include "settings/settings.def"
#undef GI_S_INT
#undef GI_S_F64
#undef GI_S_BOOL
#undef GI_S_STR
    gate_hooks_t hooks;
    unsigned char *origin; /* one byte a setting: default, file, env, code */
    gi_error_t stuck;      /* the first error */
    char *files;           /* that were loaded, a line each; NULL: none */
    char *warning;         /* what the runtime logs at its start; NULL = none */
};

/* Seconds as a double setting -> ms. */
int64_t gi_settings_ms(double seconds);
/* Settings whose default is another's: resolved here. ms; never 0. */
int64_t gi_settings_heartbeat_ms(const gate_settings_t *self);
int64_t gi_settings_reply_timeout_ms(const gate_settings_t *self);
/* The internal service's name: mdp_internal_service, or the older prefix form.
 */
const char *gi_settings_internal(const gate_settings_t *self);
/* What was accepted but will not do what it says (unknown GATE_* in the
 * environment, gate clusters), joined by "; "; "" when there is nothing. */
const char *gi_settings_warning(const gate_settings_t *self);
/* 0 when neither huge_threshold nor huge_data_sizeof was set. */
int64_t gi_settings_huge_threshold(const gate_settings_t *self);
/* Gives: the same with its files read again; what stands in them no more has its
 * default. Environment and code stand above them as before. */
gate_err_t gi_settings_again(const gate_settings_t *self,
                             gate_settings_t **out) GATE_MUST;
/* By file, environment or code. */
bool gi_settings_is_set(const gate_settings_t *self, const char *name);
/* The defaults alone, never NULL, shared by all: for code without a runtime. */
const gate_settings_t *gi_settings_defaults(void);

/* ---- settings_check.c ------------------------------------------------------ */
/* Those of names (NULL at the end) that self was given and other has not the
 * same of, as "a, b"; "": none. */
void gi_settings_differ(const gate_settings_t *self,
                        const gate_settings_t *other, const char *const *names,
                        char *out, size_t room);
/* All that the two have not the same of, without those of but. */
void gi_settings_changed(const gate_settings_t *self,
                         const gate_settings_t *other, const char *const *but,
                         char *out, size_t room);

/* ---- settings_read.c ------------------------------------------------------- */
/* The most bytes that a huge value packs to: huge_max_bytes of what it carries,
 * and what msgpack says in front of its parts. */
int64_t gi_settings_huge_packed_max(const gate_settings_t *self);

#endif
