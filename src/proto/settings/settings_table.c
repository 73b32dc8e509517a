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
    for (size_t i = 0; i < GI_SETTINGS_COUNT; i++)
        if (!strcmp(gi_settings_table[i].name, name))
            return &gi_settings_table[i];
    return NULL;
}

gate_err_t gi_settings_unknown(const char *name) {
    return gi_err(GATE_BADARG, "%.100s: no such setting", name);
}
