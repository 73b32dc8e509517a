/* SPDX-License-Identifier: BSD-3-Clause */
/* dict.h -- the bounded dictionary: set waits for room, get waits for the key.
 * Thread: any. Blocks: set and get, up to their timeout. */
#ifndef GATERPC_DICT_H
#define GATERPC_DICT_H

#include <gaterpc/error.h>

GATE_BEGIN_DECLS

/* free_value (may be NULL) is called for values that the dictionary still holds
 * when replaced or destroyed. Capacity 0 is 1. NULL: no memory. */
GATE_API gate_dict_t *gate_dict_new(size_t capacity,
                                    void (*free_value)(void *value));
/* In a child of fork() a dictionary of the parent's is let go of by destroy; get
 * and set are GATE_CLOSED, it has nothing.
 * Everyone who waits inside gets GATE_CLOSED first, and has left before this
 * returns; the values go to free_value. */
GATE_API void gate_dict_destroy(gate_dict_t **self_p);
/* Copies the key, takes the value on GATE_OK only. A key that is there is
 * replaced at once. Waits up to timeout_ms (0: not, -1: for ever) for room,
 * then GATE_BUSY; GATE_CLOSED when destroyed meanwhile. */
GATE_API gate_err_t gate_dict_set(gate_dict_t *self, gate_bytes_t key,
                                  void *value, int64_t timeout_ms) GATE_MUST;
/* Waits up to timeout_ms for the key, then GATE_TIMEOUT; removes it and gives
 * its value. */
GATE_API gate_err_t gate_dict_get(gate_dict_t *self, gate_bytes_t key,
                                  void **value, int64_t timeout_ms) GATE_MUST;
/* True when the key is there, now. */
GATE_API bool gate_dict_has(gate_dict_t *self, gate_bytes_t key);
/* How many values it holds, now. */
GATE_API size_t gate_dict_size(gate_dict_t *self);
/* How many it can hold. */
GATE_API size_t gate_dict_capacity(const gate_dict_t *self);

GATE_END_DECLS

#endif
