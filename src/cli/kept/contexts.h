/* SPDX-License-Identifier: BSD-3-Clause */
/* contexts.h -- what the user keeps: brokers by name, each with an endpoint and
 * who to be there, and which of them is meant when nothing is said. One JSON
 * file, gate/contexts.json in $XDG_CONFIG_HOME or ~/.config, mode 0600; no
 * password is in it, only the name of a file that has one.
 * Thread: main. Blocks: on the disk. Owns: what get gives, until close.
 * Survives: a crash while it is saved (a new file is renamed). */
#ifndef GI_CONTEXTS_H
#define GI_CONTEXTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct gi_contexts gi_contexts_t;

/* The fields of one, by the names of the options that they stand for. */
#define GI_CONTEXT_FIELDS 8
extern const char *const gi_context_fields[GI_CONTEXT_FIELDS];

/* What is kept, which may be nothing. NULL after saying why: a file that is
 * none of ours, that others may write, or no memory. write: nobody else changes
 * it before close. */
gi_contexts_t *gi_contexts_open(bool write);
void gi_contexts_close(gi_contexts_t **self_p);
/* The one in use, or NULL. */
const char *gi_contexts_used(const gi_contexts_t *self);
bool gi_contexts_has(const gi_contexts_t *self, const char *name);
/* A field of one; NULL when it has none. */
const char *gi_contexts_get(const gi_contexts_t *self, const char *name,
                            const char *field);
/* Each name in turn, by the alphabet. */
void gi_contexts_each(const gi_contexts_t *self,
                      void (*fn)(void *ctx, const char *name), void *ctx);
/* Puts one in the place of what had that name: values by gi_context_fields,
 * NULL for none. False: no memory. */
bool gi_contexts_put(gi_contexts_t *self, const char *name,
                     const char *const values[GI_CONTEXT_FIELDS]);
void gi_contexts_remove(gi_contexts_t *self, const char *name);
/* NULL: none is in use from now on. False: no memory. */
bool gi_contexts_use(gi_contexts_t *self, const char *name);
/* False after saying why; the file is as it was then. */
bool gi_contexts_save(const gi_contexts_t *self);
/* Letters, digits, and . _ - after the first one; 64 at most. */
bool gi_contexts_name(const char *name);

#endif
