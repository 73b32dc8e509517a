/* SPDX-License-Identifier: BSD-3-Clause */
/* buf.c -- doubling growth; a failed append keeps what was there. */
#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

enum { S_FIRST_ROOM = 256 };

void gi_buf_fini(gi_buf_t *self) {
    gi_mem_free(self->data);
    *self = (gi_buf_t){0};
}

void gi_buf_reset(gi_buf_t *self, size_t keep_max) {
    self->size = 0;
    self->failed = false;
    if (self->room > keep_max)
        gi_buf_fini(self);
}

bool gi_buf_grow(gi_buf_t *self, size_t n) {
    size_t need = self->size + n;
    if (need < n || need > SIZE_MAX / 2) {
        self->failed = true;
        return false;
    }
    size_t room = self->room ? self->room : S_FIRST_ROOM;
    while (room < need)
        room *= 2;
    unsigned char *data = gi_mem_realloc(self->data, room);
    if (!data) {
        self->failed = true;
        return false;
    }
    self->data = data;
    self->room = room;
    return true;
}

bool gi_buf_append(gi_buf_t *self, const void *data, size_t size) {
    if (!gi_buf_reserve(self, size))
        return false;
    if (size)
        memcpy(self->data + self->size, data, size);
    self->size += size;
    return true;
}

int gi_buf_write(void *self, const char *data, size_t size) {
    return gi_buf_append(self, data, size) ? 0 : -1;
}

unsigned char *gi_buf_take(gi_buf_t *self, size_t *size) {
    unsigned char *data = self->data;
    *size = self->size;
    *self = (gi_buf_t){0};
    return data;
}
