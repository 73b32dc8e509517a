/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_read.c -- settings by name, for docs, and those whose default is
 * another's. */
#include "settings/settings_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/err.h"

/* ---- reading ------------------------------------------------------------- */
static gate_err_t s_get_int(int64_t i, const gate_slot_t *to, bool *fits) {
    *fits = true;
    switch ((int)to->type) {
    case GATE_S_I64:
        *(int64_t *)to->to = i;
        return GATE_OK;
    case GATE_S_U64: /* no setting is negative */
        *(uint64_t *)to->to = (uint64_t)i;
        return GATE_OK;
    case GATE_S_INT:
        if (i > INT32_MAX)
            return gi_err(GATE_BADARG, "%" PRId64 " does not fit an int", i);
        *(int *)to->to = (int)i;
        return GATE_OK;
    case GATE_S_F64:
        *(double *)to->to = (double)i;
        return GATE_OK;
    default:
        *fits = false;
        return GATE_OK;
    }
}

static gate_err_t s_get(const gate_settings_t *self, const gi_setting_t *row,
                        const gate_slot_t *to, bool *fits) {
    const void *field = gi_settings_field(self, row);
    *fits = true;
    if (row->type == GI_SETTING_INT)
        return s_get_int(*(const int64_t *)field, to, fits);
    if (row->type == GI_SETTING_F64 && to->type == GATE_S_F64)
        *(double *)to->to = *(const double *)field;
    else if (row->type == GI_SETTING_BOOL && to->type == GATE_S_BOOL)
        *(bool *)to->to = *(const bool *)field;
    else if (row->type == GI_SETTING_STR && to->type == GATE_S_STR)
        *(const char **)to->to = gi_settings_str(self, row);
    else if (row->type == GI_SETTING_STR && to->type == GATE_S_DUP) {
        const char *s = gi_settings_str(self, row);
        char *copy = s ? strdup(s) : NULL; /* malloc: the user frees it */
        if (s && !copy)
            return gi_err(GATE_NOMEM, "%s", row->name);
        *(char **)to->to = copy;
    } else
        *fits = false;
    return GATE_OK;
}

gate_err_t gate_settings_get_(const gate_settings_t *self, const char *name,
                              gate_slot_t to) {
    if (gi_err_null(self, "gate_settings_get_"))
        return GATE_BADARG;
    if (gi_err_null(name, "gate_settings_get_: the name"))
        return GATE_BADARG;
    if (gi_err_null(to.to, "gate_settings_get_: where the value goes"))
        return GATE_BADARG;
    static const char *const types[] = {"int64_t", "double", "bool",
                                        "const char *"};
    const gi_setting_t *row = gi_settings_find(name);
    bool fits;
    if (!row)
        return gi_settings_unknown(name);
    gate_err_t e = s_get(self, row, &to, &fits);
    return fits ? e
                : gi_err(GATE_BADARG, "%s: is read into a %s", name,
                         types[row->type]);
}

/* Its type, with unit and bounds, and its value; number holds that of one. */
static const char *s_show(const gate_settings_t *self, const gi_setting_t *row,
                          char type[120], char number[64]) {
    const void *field = gi_settings_field(self, row);
    switch (row->type) {
    case GI_SETTING_INT:
        snprintf(type, 120, "integer, %s, %" PRId64 " to %" PRId64, row->unit,
                 row->i_min, row->i_max);
        snprintf(number, 64, "%" PRId64, *(const int64_t *)field);
        return number;
    case GI_SETTING_F64:
        snprintf(type, 120, "number, %s, %g to %g", row->unit, row->d_min,
                 row->d_max);
        snprintf(number, 64, "%g", *(const double *)field);
        return number;
    case GI_SETTING_BOOL:
        snprintf(type, 120, "bool");
        return *(const bool *)field ? "true" : "false";
    case GI_SETTING_STR:
        break;
    }
    snprintf(type, 120, "string");
    return gi_settings_str(self, row) ? gi_settings_str(self, row) : "";
}

void gate_settings_each(const gate_settings_t *self,
                        void (*fn)(void *ctx, const char *name,
                                   const char *type, const char *value,
                                   const char *doc),
                        void *ctx) {
    if (gi_err_null(self, "gate_settings_each"))
        return;
    if (!fn) {
        gi_err_null_say("gate_settings_each: the function");
        return;
    }
    for (size_t i = 0; i < GI_SETTINGS_COUNT; i++) {
        const gi_setting_t *row = &gi_settings_table[i];
        char type[120], number[64];
        const char *value = s_show(self, row, type, number);
        fn(ctx, row->name, type, value, row->doc);
    }
}

void gate_settings_list(const gate_settings_t *self,
                        void (*fn)(void *ctx, const gate_setting_t *setting),
                        void *ctx) {
    if (gi_err_null(self, "gate_settings_list"))
        return;
    if (!fn) {
        gi_err_null_say("gate_settings_list: the function");
        return;
    }
    static const char *const sources[] = {"default", "file", "environment",
                                          "code"};
    for (size_t i = 0; i < GI_SETTINGS_COUNT; i++) {
        const gi_setting_t *row = &gi_settings_table[i];
        char type[120], number[64], usual[64];
        gate_setting_t one = {
            .name = row->name,
            .type = type,
            .value = s_show(self, row, type, number),
            .usual = s_show(gi_settings_defaults(), row, type, usual),
            .source = sources[self->origin[i]],
            .doc = row->doc,
            .secret = i == GI_IS_plain_password ||
                      i == GI_IS_zap_plain_default_password};
        one.changed = strcmp(one.value, one.usual) != 0;
        if (one.secret && *one.value)
            one.value = "***";
        fn(ctx, &one);
    }
}

/* ---- settings whose default is another's --------------------------------- */
int64_t gi_settings_ms(double seconds) {
    double ms = ceil(seconds * 1000.0 - 1e-6);
    if (!(ms > 0))
        return 0;
    return ms < 9e15 ? (int64_t)ms : (int64_t)9e15;
}

int64_t gi_settings_heartbeat_ms(const gate_settings_t *self) {
    return self->mdp_heartbeat_interval ? self->mdp_heartbeat_interval
                                        : self->heartbeat;
}

int64_t gi_settings_reply_timeout_ms(const gate_settings_t *self) {
    int64_t ms = gi_settings_ms(self->reply_timeout > 0 ? self->reply_timeout
                                                        : 2 * self->timeout);
    return ms > 0 ? ms : 1;
}

const char *gi_settings_internal(const gate_settings_t *self) {
    const char *older = self->mdp_internal_service_prefix;
    if (!self->origin[GI_IS_mdp_internal_service] && older && *older)
        return older;
    return self->mdp_internal_service;
}

int64_t gi_settings_huge_threshold(const gate_settings_t *self) {
    if (self->origin[GI_IS_huge_threshold])
        return self->huge_threshold;
    return self->origin[GI_IS_huge_data_sizeof] ? self->huge_data_sizeof : 0;
}

bool gi_settings_is_set(const gate_settings_t *self, const char *name) {
    const gi_setting_t *row = gi_settings_find(name);
    return row && self->origin[row - gi_settings_table];
}

#define S_HUGE_HEADS 1024

int64_t gi_settings_huge_packed_max(const gate_settings_t *self) {
    return self->huge_max_bytes + S_HUGE_HEADS;
}
