/* SPDX-License-Identifier: BSD-3-Clause */
/* guess.c -- see guess.h. A table of sets of a few buckets: the hash, which
 * nobody outside can compute, names the set and stands for the key. */
#include "rules/guess.h"

#include <string.h>
#include "rules/bucket.h"
#include "base/identity.h"
#include "base/mem.h"
#include "base/table.h"

#define S_SETS 1024 /* power of two */
#define S_WAYS 4

typedef struct s_entry {
    uint64_t hash; /* 0: free */
    gi_bucket_t bucket;
} s_entry_t;

struct gi_guess {
    double per_s, burst;
    uint64_t seed;
    s_entry_t sets[S_SETS][S_WAYS];
};

gi_guess_t *gi_guess_new(double per_s, double burst) {
    gi_guess_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self)
        return NULL;
    self->per_s = per_s;
    self->burst = burst;
    gi_random(&self->seed, sizeof self->seed);
    return self;
}

void gi_guess_destroy(gi_guess_t **self_p) {
    gi_mem_free(*self_p);
    *self_p = NULL;
}

static uint64_t s_hash(const gi_guess_t *self, const void *key, size_t size) {
    const unsigned char *p = key;
    uint64_t h = self->seed;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ p[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 29;
    }
    return h ? h : 1;
}

static s_entry_t *s_find(gi_guess_t *self, uint64_t hash) {
    s_entry_t *set = self->sets[hash & (S_SETS - 1)];
    for (unsigned i = 0; i < S_WAYS; i++)
        if (set[i].hash == hash)
            return &set[i];
    return NULL;
}

/* Free, or the one that loses least. */
static s_entry_t *s_make(gi_guess_t *self, uint64_t hash, int64_t now_ms) {
    s_entry_t *set = self->sets[hash & (S_SETS - 1)], *least = &set[0];
    for (unsigned i = 0; i < S_WAYS; i++) {
        gi_bucket_grow(&set[i].bucket, self->per_s, now_ms); /* free: 0 used */
        if (set[i].bucket.used < least->bucket.used)
            least = &set[i];
    }
    *least = (s_entry_t){.hash = hash};
    return least;
}

bool gi_guess_may(gi_guess_t *self, const void *key, size_t size,
                  int64_t now_ms) {
    s_entry_t *entry = s_find(self, s_hash(self, key, size));
    return !entry ||
           gi_bucket_has(&entry->bucket, self->per_s, self->burst, now_ms);
}

void gi_guess_wrong(gi_guess_t *self, const void *key, size_t size,
                    int64_t now_ms) {
    uint64_t hash = s_hash(self, key, size);
    s_entry_t *entry = s_find(self, hash);
    if (!entry)
        entry = s_make(self, hash, now_ms);
    gi_bucket_take(&entry->bucket, self->per_s, self->burst, now_ms);
}

/* ---- passwords ----------------------------------------------------------- */
#define ADDRESS_PER_S 20.0
#define ADDRESS_BURST 100.0
#define TEXT_MAX 255

#define RIGHT_MAX 1024
#define RIGHT_MS (15 * 60 * 1000)

/* Which are kept: the last ones, each at its place. */
typedef struct s_right {
    uint64_t hash; /* 0: none */
    int64_t at_ms;
} s_right_t;

struct gi_guesses {
    gi_guess_t *by_address, *by_user;
    uint64_t seed;
    s_right_t right[RIGHT_MAX];
};

typedef struct s_tried {
    char text[2 * TEXT_MAX + 2]; /* address NUL user NUL */
    size_t address, size;
} s_tried_t;

static size_t s_put(char *out, gate_bytes_t text) {
    size_t n = text.size < TEXT_MAX ? text.size : TEXT_MAX;
    if (n > 0)
        memcpy(out, text.data, n);
    out[n] = 0;
    return n;
}

static s_tried_t s_tried(gate_bytes_t address, gate_bytes_t user) {
    s_tried_t t;
    t.address = s_put(t.text, address);
    t.size = t.address + 1 + s_put(t.text + t.address + 1, user);
    return t;
}

gi_guesses_t *gi_guesses_new(void) {
    gi_guesses_t *self = gi_mem_calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->by_address = gi_guess_new(ADDRESS_PER_S, ADDRESS_BURST);
    self->by_user = gi_guess_new(GI_GUESS_PER_S, GI_GUESS_BURST);
    gi_random(&self->seed, sizeof self->seed);
    if (self->by_address == NULL || self->by_user == NULL)
        gi_guesses_destroy(&self);
    return self;
}

void gi_guesses_destroy(gi_guesses_t **self_p) {
    gi_guesses_t *self = *self_p;
    *self_p = NULL;
    if (self == NULL)
        return;
    gi_guess_destroy(&self->by_address);
    gi_guess_destroy(&self->by_user);
    gi_mem_free(self);
}

bool gi_guesses_may(gi_guesses_t *self, gate_bytes_t address, gate_bytes_t user,
                    int64_t now_ms) {
    s_tried_t t = s_tried(address, user);
    return gi_guess_may(self->by_address, t.text, t.address, now_ms) &&
           gi_guess_may(self->by_user, t.text, t.size, now_ms);
}

void gi_guesses_wrong(gi_guesses_t *self, gate_bytes_t address,
                      gate_bytes_t user, int64_t now_ms) {
    s_tried_t t = s_tried(address, user);
    gi_guess_wrong(self->by_address, t.text, t.address, now_ms);
    gi_guess_wrong(self->by_user, t.text, t.size, now_ms);
}

static uint64_t s_hash_right(const gi_guesses_t *self, gate_bytes_t address,
                             gate_bytes_t user, gate_bytes_t password) {
    s_tried_t t = s_tried(address, user);
    uint64_t seed = gi_table_hash(self->seed, t.text, t.size);
    uint64_t hash = gi_table_hash(seed, password.data, password.size);
    return hash ? hash : 1;
}

void gi_guess_right(gi_guesses_t *self, gate_bytes_t address, gate_bytes_t user,
                    gate_bytes_t password, int64_t now_ms) {
    uint64_t hash = s_hash_right(self, address, user, password);
    self->right[hash % RIGHT_MAX] = (s_right_t){hash, now_ms};
}

bool gi_guess_was_right(gi_guesses_t *self, gate_bytes_t address,
                        gate_bytes_t user, gate_bytes_t password,
                        int64_t now_ms) {
    s_tried_t t = s_tried(address, user);
    if (!gi_guess_may(self->by_address, t.text, t.address, now_ms))
        return false;
    uint64_t hash = s_hash_right(self, address, user, password);
    const s_right_t *right = &self->right[hash % RIGHT_MAX];
    if (right->hash == hash && now_ms - right->at_ms < RIGHT_MS)
        return true;
    gi_guess_wrong(self->by_address, t.text, t.address, now_ms);
    return false;
}
