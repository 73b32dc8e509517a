/* SPDX-License-Identifier: BSD-3-Clause */
/* dict.c -- chained hash table of a fixed number of buckets under one mutex.
 * Whoever waits for a key stands in a list with a condition of its own, so that
 * a set wakes exactly those that wait for its key; who waits for room shares
 * one condition. Law: size <= capacity; after destroy began nobody enters, and
 * it ends when the last one inside has left. */
#include <gaterpc/dict.h>

#include <pthread.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "sync/actor_thread.h"
#include "sync/wait.h"

typedef struct s_entry {
    struct s_entry *next;
    void *value;
    uint64_t hash;
    size_t size;
    unsigned char key[];
} s_entry_t;

typedef struct s_waiter {
    struct s_waiter *next;
    gate_bytes_t key;
    uint64_t hash;
    pthread_cond_t come;
} s_waiter_t;

struct gate_dict {
    pthread_mutex_t mutex;
    pthread_cond_t room; /* an entry was removed */
    pthread_cond_t left; /* the last one inside has gone */
    void (*free_value)(void *value);
    uint32_t born; /* gi_born_now() of who made it */
    size_t capacity, size;
    size_t inside; /* threads in set or get */
    bool closed;
    s_waiter_t *waiters;
    size_t mask;
    s_entry_t **buckets;
};

static uint64_t s_hash(gate_bytes_t key) {
    const unsigned char *at = key.data;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    size_t i;

    for (i = 0; i < key.size; i++)
        hash = (hash ^ at[i]) * 1099511628211u;
    return hash ^ hash >> 32;
}

static bool s_same(gate_bytes_t a, const void *data, size_t size) {
    return a.size == size && (size == 0 || memcmp(a.data, data, size) == 0);
}

/* In a child of fork() it is a copy: who sets and gets is in the parent, and so
 * are those inside, with their locks. */
static bool s_foreign(const gate_dict_t *self) {
    return self->born != gi_born_now();
}

static gate_err_t s_check(const gate_dict_t *self, const char *what) {
    if (gi_err_null(self, what))
        return GATE_BADARG;
    return s_foreign(self) ? gi_err(GATE_CLOSED,
                                    "%s: this dictionary was made before "
                                    "fork(): it is the parent's",
                                    what)
                           : GATE_OK;
}

/* ---- life ---------------------------------------------------------------- */
gate_dict_t *gate_dict_new(size_t capacity, void (*free_value)(void *value)) {
    gate_dict_t *self = gi_mem_calloc(1, sizeof *self);
    size_t buckets = 16;

    if (!self)
        return NULL;
    while (buckets < capacity && buckets < (size_t)1 << 20)
        buckets *= 2;
    self->buckets = gi_mem_calloc(buckets, sizeof *self->buckets);
    if (!self->buckets) {
        gi_mem_free(self);
        return NULL;
    }
    self->mask = buckets - 1;
    self->capacity = capacity ? capacity : 1;
    self->free_value = free_value;
    self->born = gi_born_now();
    pthread_mutex_init(&self->mutex, NULL);
    gi_wait_cond_init(&self->room);
    gi_wait_cond_init(&self->left);
    return self;
}

static void s_free_value(const gate_dict_t *self, void *value) {
    if (self->free_value && value)
        self->free_value(value);
}

static void s_free_entries(gate_dict_t *self) {
    s_entry_t *entry, *next;
    size_t i;

    for (i = 0; i <= self->mask; i++) {
        for (entry = self->buckets[i]; entry; entry = next) {
            next = entry->next;
            s_free_value(self, entry->value);
            gi_mem_free(entry);
        }
    }
}

void gate_dict_destroy(gate_dict_t **self_p) {
    gate_dict_t *self = self_p ? *self_p : NULL;
    s_waiter_t *waiter;

    if (!self)
        return;
    *self_p = NULL;
    if (s_foreign(self))
        return;
    pthread_mutex_lock(&self->mutex);
    self->closed = true;
    for (waiter = self->waiters; waiter; waiter = waiter->next)
        pthread_cond_signal(&waiter->come);
    pthread_cond_broadcast(&self->room);
    while (self->inside)
        pthread_cond_wait(&self->left, &self->mutex);
    pthread_mutex_unlock(&self->mutex);
    s_free_entries(self);
    pthread_cond_destroy(&self->left);
    pthread_cond_destroy(&self->room);
    pthread_mutex_destroy(&self->mutex);
    gi_mem_free(self->buckets);
    gi_mem_free(self);
}

/* ---- with the mutex held ------------------------------------------------- */
static void s_leave(gate_dict_t *self) {
    if (--self->inside == 0 && self->closed)
        pthread_cond_broadcast(&self->left);
}

/* Where the entry of key hangs, or the end of its bucket. */
static s_entry_t **s_find(gate_dict_t *self, gate_bytes_t key, uint64_t hash) {
    s_entry_t **at = &self->buckets[hash & self->mask];

    while (*at &&
           !((*at)->hash == hash && s_same(key, (*at)->key, (*at)->size)))
        at = &(*at)->next;
    return at;
}

static void s_wake_waiters(gate_dict_t *self, gate_bytes_t key, uint64_t hash) {
    s_waiter_t *waiter;

    for (waiter = self->waiters; waiter; waiter = waiter->next)
        if (waiter->hash == hash &&
            s_same(key, waiter->key.data, waiter->key.size))
            pthread_cond_signal(&waiter->come);
}

static void s_remove_waiter(gate_dict_t *self, s_waiter_t *waiter) {
    s_waiter_t **at = &self->waiters;

    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
}

/* Waits until key is there or there is room for it. */
static gate_err_t s_await_room(gate_dict_t *self, gate_bytes_t key,
                               uint64_t hash, int64_t deadline_ns) {
    bool in_time = true;

    for (;;) {
        if (self->closed)
            return GATE_CLOSED;
        if (self->size < self->capacity || *s_find(self, key, hash))
            return GATE_OK;
        if (!in_time)
            return GATE_BUSY;
        in_time = gi_wait_cond(&self->room, &self->mutex, deadline_ns);
    }
}

/* ---- verbs --------------------------------------------------------------- */
static gate_err_t s_set(gate_dict_t *self, s_entry_t **entry_p,
                        int64_t deadline_ns, void **old) {
    s_entry_t *entry = *entry_p, **at;
    gate_bytes_t key = {entry->key, entry->size};
    gate_err_t e = s_await_room(self, key, entry->hash, deadline_ns);

    if (e != GATE_OK)
        return e;
    at = s_find(self, key, entry->hash);
    if (*at) {
        *old = (*at)->value;
        (*at)->value = entry->value;
    } else {
        entry->next = NULL;
        *at = entry;
        *entry_p = NULL;
        self->size++;
    }
    s_wake_waiters(self, key, entry->hash);
    return GATE_OK;
}

gate_err_t gate_dict_set(gate_dict_t *self, gate_bytes_t key, void *value,
                         int64_t timeout_ms) {
    gate_err_t e = s_check(self, "gate_dict_set");
    if (e)
        return e;
    if (key.size && gi_err_null(key.data, "gate_dict_set: the key"))
        return GATE_BADARG;
    s_entry_t *entry = gi_mem_alloc(sizeof *entry + key.size);
    void *old = NULL;

    if (!entry)
        return gi_err(GATE_NOMEM, "an entry of a dictionary");
    entry->value = value;
    entry->hash = s_hash(key);
    entry->size = key.size;
    if (key.size)
        memcpy(entry->key, key.data, key.size);
    pthread_mutex_lock(&self->mutex);
    self->inside++;
    e = s_set(self, &entry, gi_wait_deadline(timeout_ms), &old);
    if (old) { /* the user's function, without the mutex but still inside */
        pthread_mutex_unlock(&self->mutex);
        s_free_value(self, old);
        pthread_mutex_lock(&self->mutex);
    }
    s_leave(self);
    pthread_mutex_unlock(&self->mutex);
    gi_mem_free(entry);
    if (e == GATE_BUSY)
        return gi_err(e, "the dictionary is full");
    return e == GATE_CLOSED ? gi_err(e, "the dictionary is destroyed") : e;
}

/* Stands in the list until key is there. */
static void s_await_key(gate_dict_t *self, gate_bytes_t key, uint64_t hash,
                        int64_t deadline_ns) {
    s_waiter_t waiter = {.key = key, .hash = hash, .next = self->waiters};
    bool in_time = true;

    gi_wait_cond_init(&waiter.come);
    self->waiters = &waiter;
    while (!*s_find(self, key, hash) && !self->closed && in_time)
        in_time = gi_wait_cond(&waiter.come, &self->mutex, deadline_ns);
    s_remove_waiter(self, &waiter);
    pthread_cond_destroy(&waiter.come);
}

static gate_err_t s_get(gate_dict_t *self, gate_bytes_t key, int64_t timeout_ms,
                        s_entry_t **out) {
    uint64_t hash = s_hash(key);
    s_entry_t **at;

    if (timeout_ms != 0 && !*s_find(self, key, hash))
        s_await_key(self, key, hash, gi_wait_deadline(timeout_ms));
    if (self->closed)
        return GATE_CLOSED;
    at = s_find(self, key, hash);
    if (!*at)
        return GATE_TIMEOUT;
    *out = *at;
    *at = (*at)->next;
    self->size--;
    pthread_cond_broadcast(&self->room);
    return GATE_OK;
}

gate_err_t gate_dict_get(gate_dict_t *self, gate_bytes_t key, void **value,
                         int64_t timeout_ms) {
    gate_err_t e = s_check(self, "gate_dict_get");
    if (e)
        return e;
    if (gi_err_null(value, "gate_dict_get: where the value goes"))
        return GATE_BADARG;
    s_entry_t *entry = NULL;

    pthread_mutex_lock(&self->mutex);
    self->inside++;
    e = s_get(self, key, timeout_ms, &entry);
    s_leave(self);
    pthread_mutex_unlock(&self->mutex);
    if (e == GATE_TIMEOUT)
        return gi_err(e, "no such key within %lld ms", (long long)timeout_ms);
    if (e != GATE_OK)
        return gi_err(e, "the dictionary is destroyed");
    *value = entry->value;
    gi_mem_free(entry);
    return GATE_OK;
}

bool gate_dict_has(gate_dict_t *self, gate_bytes_t key) {
    if (s_check(self, "gate_dict_has"))
        return false;
    bool found;

    pthread_mutex_lock(&self->mutex);
    found = *s_find(self, key, s_hash(key));
    pthread_mutex_unlock(&self->mutex);
    return found;
}

size_t gate_dict_size(gate_dict_t *self) {
    if (s_check(self, "gate_dict_size"))
        return 0;
    size_t size;

    pthread_mutex_lock(&self->mutex);
    size = self->size;
    pthread_mutex_unlock(&self->mutex);
    return size;
}

size_t gate_dict_capacity(const gate_dict_t *self) {
    if (gi_err_null(self, "gate_dict_capacity"))
        return 0;
    return self->capacity;
}
