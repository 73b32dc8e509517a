/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.h -- a user's name and password that are kept to be compared: in a
 * time that does not depend on where they differ; wiped when they are forgotten.
 * Thread: one. Owns: its bytes. */
#ifndef GI_SECRET_H
#define GI_SECRET_H

#include "base/bytes.h"

/* user, NUL, password; wiped when forgotten. */
typedef struct gi_secret {
    size_t size, user_size;
    unsigned char *data; /* NULL: none */
} gi_secret_t;

bool gi_secret_is(const gi_secret_t *self, gate_bytes_t user,
                  gate_bytes_t password);
bool gi_secret_equal(const gi_secret_t *a, const gi_secret_t *b);
/* Replaces what was there; false: no memory, it is empty. */
bool gi_secret_set(gi_secret_t *self, gate_bytes_t user, gate_bytes_t password);
void gi_secret_forget(gi_secret_t *self);

#endif
