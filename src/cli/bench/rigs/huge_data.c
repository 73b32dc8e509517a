/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_data.c -- bytes of three kinds: text that shrinks well, hex digits that
 * halve, random that does not. Made once and kept. */
#include "bench/rigs/gate_rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t s_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    return *seed ^= *seed << 5;
}

static void s_json(char *to, size_t size, uint32_t *seed) {
    char line[200];
    for (size_t at = 0; at < size;) {
        int n = snprintf(line, sizeof line,
                         "{\"id\": %u, \"name\": \"user-%u\", \"email\": "
                         "\"user%u@example.org\", \"score\": %u.%02u},\n",
                         s_random(seed) % 1000000, s_random(seed) % 5000,
                         s_random(seed) % 5000, s_random(seed) % 1000,
                         s_random(seed) % 100);
        size_t part = (size_t)n < size - at ? (size_t)n : size - at;
        memcpy(to + at, line, part);
        at += part;
    }
}

static void *s_make(const char *kind, size_t size) {
    uint32_t seed = 1;
    char *data = malloc(size + 1);
    if (!data)
        return NULL;
    if (!strcmp(kind, "json"))
        s_json(data, size, &seed);
    else
        for (size_t i = 0; i < size; i++)
            data[i] = !strcmp(kind, "hex")
                          ? "0123456789abcdef"[s_random(&seed) & 15]
                          : (char)s_random(&seed);
    return data;
}

gate_bytes_t gi_huge_data(const char *kind, size_t size) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        char kind[16];
        gate_bytes_t data;
    } kept;
    pthread_mutex_lock(&lock);
    if (strcmp(kept.kind, kind) != 0 || kept.data.size != size) {
        /* What was handed out before may be in use: it is not freed. */
        kept.data = (gate_bytes_t){s_make(kind, size), size};
        snprintf(kept.kind, sizeof kept.kind, "%s", kind);
    }
    gate_bytes_t data = kept.data;
    pthread_mutex_unlock(&lock);
    return data;
}
