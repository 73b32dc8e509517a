/* SPDX-License-Identifier: BSD-3-Clause */
/* keys.h -- the public certificates in a directory: which keys are let in, and
 * the names behind them. Not CZMQ's zcertstore, which aborts the process when
 * two files hold the same key. Thread: one. Blocks: on the disk; at every look
 * for one stat(), at most once a second for each file's. Law: what cannot be
 * read now leaves what was read before. */
#ifndef GI_KEYS_H
#define GI_KEYS_H

#include <gaterpc/error.h>

typedef struct gi_keys gi_keys_t;

/* GATE_SYSTEM, GATE_BADARG: no such directory, or one that others may write
 * (base/trusted.h has trusts). Files in it that are no certificates are left
 * out; secret halves too, and those that others may write are named in the
 * log. */
gate_err_t gi_keys_new(const char *dir, unsigned trusts,
                       gi_keys_t **out) GATE_MUST;
void gi_keys_destroy(gi_keys_t **self_p);
/* Borrows until the next call: the name in the certificate with that key, or
 * the key itself where it has none; NULL: it is not let in. */
const char *gi_keys_find(gi_keys_t *self, const char *key, int64_t now_ms);

#endif
