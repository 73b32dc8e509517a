/* SPDX-License-Identifier: BSD-3-Clause */
/* secret.c -- credentials that are kept: compared in a time that does
 * not depend on where they differ, wiped when they are forgotten. */
#include "rules/secret.h"

#include <string.h>
#include "base/mem.h"

static bool s_equal(const unsigned char *a, const void *b, size_t n) {
    const unsigned char *c = b;
    unsigned char differ = 0;
    for (size_t i = 0; i < n; i++)
        differ |= a[i] ^ c[i];
    return differ == 0;
}

bool gi_secret_is(const gi_secret_t *self, gate_bytes_t user,
                  gate_bytes_t password) {
    return self->data && self->user_size == user.size &&
           self->size == user.size + 1 + password.size &&
           s_equal(self->data, user.data, user.size) &&
           s_equal(self->data + user.size + 1, password.data, password.size);
}

bool gi_secret_equal(const gi_secret_t *a, const gi_secret_t *b) {
    return a->data && b->data && a->size == b->size &&
           a->user_size == b->user_size && s_equal(a->data, b->data, a->size);
}

void gi_secret_forget(gi_secret_t *self) {
    if (self->data)
        explicit_bzero(self->data, self->size);
    gi_mem_free(self->data);
    *self = (gi_secret_t){0};
}

bool gi_secret_set(gi_secret_t *self, gate_bytes_t user,
                   gate_bytes_t password) {
    gi_secret_forget(self);
    self->data = gi_mem_alloc(user.size + 1 + password.size);
    if (self->data == NULL)
        return false;
    self->user_size = user.size;
    self->size = user.size + 1 + password.size;
    memcpy(self->data, user.data, user.size);
    self->data[user.size] = 0;
    memcpy(self->data + user.size + 1, password.data, password.size);
    return true;
}
