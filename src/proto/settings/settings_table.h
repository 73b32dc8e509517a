/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_table.h -- settings.def as a table, for settings.c (writing) and
 * settings_read.c. */
#ifndef GI_SETTINGS_TABLE_H
#define GI_SETTINGS_TABLE_H

#include "settings/settings.h"

typedef enum gi_setting_type {
    GI_SETTING_INT,
    GI_SETTING_F64,
    GI_SETTING_BOOL,
    GI_SETTING_STR
} gi_setting_type_t;

typedef struct gi_setting {
    const char *name, *unit, *doc, *str;
    gi_setting_type_t type;
    size_t offset;
    int64_t i, i_min, i_max; /* default and bounds; also of a bool */
    double d, d_min, d_max;
} gi_setting_t;

extern const gi_setting_t gi_settings_table[];

/* The place of a setting in the table. */
enum {
#define GI_S_INT(name, ...) GI_IS_##name,
#define GI_S_F64 GI_S_INT
#define GI_S_BOOL GI_S_INT
#define GI_S_STR GI_S_INT
#include "settings/settings.def"
#undef GI_S_INT
#undef GI_S_F64
#undef GI_S_BOOL
#undef GI_S_STR
    GI_SETTINGS_COUNT
};

/* The setting of that name, or NULL. */
const gi_setting_t *gi_settings_find(const char *name);
/* GATE_X in the environment that is about no setting: the command's, and
 * python/gate's. */
bool gi_settings_others(const char *var, size_t size);
/* One of those, when var may be a slip for it; else NULL. */
const char *gi_settings_other_near(const char *var);
gate_err_t gi_settings_unknown(const char *name); /* GATE_BADARG */
/* The setting that may be meant by a name (in lower case) that is none; or NULL.
 */
const char *gi_settings_nearest(const char *name);
/* A slip for one that decides who gets in: to go on would leave a door open. */
bool gi_settings_opens(const char *name);

/* Where a setting lies in its object. */
static inline const void *gi_settings_field(const gate_settings_t *self,
                                            const gi_setting_t *row) {
    return (const char *)self + row->offset;
}

static inline const char *gi_settings_str(const gate_settings_t *self,
                                          const gi_setting_t *row) {
    return *(char *const *)gi_settings_field(self, row);
}

#endif
