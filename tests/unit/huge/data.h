/* SPDX-License-Identifier: BSD-3-Clause */
/* data.h -- what the tests of this room compress. */
#ifndef T_DATA_H
#define T_DATA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T_JSON, T_HEX, T_RANDOM, T_ZEROS, T_KINDS };

static inline uint32_t t_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static inline size_t t_record(char *out, size_t room, uint32_t *seed) {
    int n = snprintf(out, room,
                     "{\"id\": %u, \"name\": \"user-%u\", \"score\": %u.%02u},",
                     t_random(seed) % 100000, t_random(seed) % 5000,
                     t_random(seed) % 100, t_random(seed) % 100);
    return (size_t)n;
}

/* malloc'ed, never NULL; the same for the same arguments. */
static inline unsigned char *t_data(int kind, size_t size, uint32_t seed) {
    unsigned char *data = calloc(1, size + 128);
    seed = seed * 2654435761u + 1;
    for (size_t i = 0; i < size;) {
        if (kind == T_JSON)
            i += t_record((char *)data + i, 128, &seed);
        else if (kind == T_HEX)
            data[i++] = (unsigned char)"0123456789abcdef"[t_random(&seed) & 15];
        else if (kind == T_RANDOM)
            data[i++] = (unsigned char)(t_random(&seed) >> 8);
        else
            i = size;
    }
    return data;
}

/* A growing run of bytes. */
typedef struct t_bytes {
    unsigned char *data;
    size_t size, room;
} t_bytes_t;

static inline void t_append(t_bytes_t *self, const void *data, size_t size) {
    if (self->size + size >= self->room) { /* ASan's realloc always copies */
        self->room = 2 * (self->size + size + 1);
        self->data = realloc(self->data, self->room);
    }
    if (size)
        memcpy(self->data + self->size, data, size);
    self->size += size;
}

#endif
