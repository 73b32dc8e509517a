/* SPDX-License-Identifier: BSD-3-Clause */
/* settings.h -- a value: defaults < ZPL file < GATE_* environment < code.
 * Whatever is made from settings copies them. Names, units, bounds and
 * defaults: docs/settings.md. Thread: one at a time. */
#ifndef GATERPC_SETTINGS_H
#define GATERPC_SETTINGS_H

#include <gaterpc/value.h>

GATE_BEGIN_DECLS

/* Holds the defaults, and the environment's GATE_* above them. NULL only for
 * lack of memory; bad values in the environment stick and come out of
 * gate_settings_check or gate_runtime_start. */
GATE_API gate_settings_t *gate_settings_new(void);
/* Gives a copy. NULL: no memory. */
GATE_API gate_settings_t *gate_settings_dup(const gate_settings_t *self);
/* Frees; a runtime has a copy of its own. */
GATE_API void gate_settings_destroy(gate_settings_t **self_p);
/* Reads a flat ZPL file (name = value). GATE_SYSTEM when it cannot be read,
 * GATE_BADDATA naming the line otherwise; nothing is changed then. What the
 * environment and code have set stays above the file. */
GATE_API gate_err_t gate_settings_load(gate_settings_t *self,
                                       const char *zpl_file) GATE_MUST;
/* Sets one by name; an unknown name, wrong type or bound sticks. */
GATE_API void gate_settings_set_(gate_settings_t *self, const char *name,
                                 gate_arg_t v);
/* Sets one from text, as the file and the environment do; sticks. */
GATE_API void gate_settings_parse(gate_settings_t *self, const char *name,
                                  const char *text);
/* Reads one by name: int64_t, double, bool or const char * (borrows). */
GATE_API gate_err_t gate_settings_get_(const gate_settings_t *self,
                                       const char *name,
                                       gate_slot_t to) GATE_MUST;
/* What is asked when values are packed and decoded (value.h). Keeps its ctx. */
GATE_API void gate_settings_hooks(gate_settings_t *self, gate_hooks_t hooks);
/* The first error that stuck, or GATE_OK. */
GATE_API gate_err_t gate_settings_check(const gate_settings_t *self) GATE_MUST;
/* Calls fn for each setting in the table's order: for help texts and docs. */
GATE_API void gate_settings_each(const gate_settings_t *self,
                                 void (*fn)(void *ctx, const char *name,
                                            const char *type, const char *value,
                                            const char *doc),
                                 void *ctx);

/* One setting as it stands; all borrowed. */
typedef struct gate_setting {
    const char *name, *type; /* type: with unit and bounds */
    const char *value;       /* "" also for none */
    const char *usual;       /* its default */
    const char *source;      /* "default", "file", "environment", "code" */
    const char *doc;
    bool changed; /* the value is not the default */
    bool secret;  /* not for others' eyes; value is "***" when it has one */
} gate_setting_t;
/* The same with default and source of each. */
GATE_API void gate_settings_list(const gate_settings_t *self,
                                 void (*fn)(void *ctx,
                                            const gate_setting_t *setting),
                                 void *ctx);

GATE_END_DECLS

#ifndef __cplusplus
/* gate_settings_set(s, "timeout", 3000) */
#define gate_settings_set(s, name, v) gate_settings_set_(s, name, GATE_ARG(v))
/* gate_settings_get(s, "timeout", &ms) */
#define gate_settings_get(s, name, p) gate_settings_get_(s, name, GATE_SLOT(p))
#endif

#endif
