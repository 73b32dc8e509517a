/* SPDX-License-Identifier: BSD-3-Clause */
/* registry.c -- tables under one lock. Callers keep what they found until the
 * version changes; it is read without the lock: what a thread has been told of
 * has happened before, and of the rest no order is promised. */
#include "runtime/registry.h"

#include <string.h>
#include "base/err.h"
#include "sync/gauge.h"
#include "sync/lock.h"
#include "base/mem.h"
#include <msgpack.h>

typedef struct s_endpoint {
    struct s_endpoint *next;
    const void *owner;
    char text[];
} s_endpoint_t;

typedef struct s_entry {
    struct s_entry *next; /* of all */
    struct s_entry *same; /* of those with the same hash */
    gi_registered_t is;
    size_t name_size;
    char name[];
} s_entry_t;

#define S_BUCKETS 256 /* power of two */

struct gi_registry {
    gi_lock_t lock;
    gi_gauge_t version; /* only grows; changed under the lock */
    s_endpoint_t *endpoints;
    s_entry_t *services; /* in order of registration, as in each bucket */
    s_entry_t *buckets[S_BUCKETS];
};

gi_registry_t *gi_registry_new(void) {
    gi_registry_t *self = gi_mem_calloc(1, sizeof *self);
    if (self)
        gi_lock_init(&self->lock);
    return self;
}

void gi_registry_destroy(gi_registry_t **self_p) {
    gi_registry_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    while (self->endpoints) {
        s_endpoint_t *e = self->endpoints;
        self->endpoints = e->next;
        gi_mem_free(e);
    }
    while (self->services) {
        s_entry_t *e = self->services;
        self->services = e->next;
        gi_mem_free(e);
    }
    gi_lock_fini(&self->lock);
    gi_mem_free(self);
}

static void s_changed(gi_registry_t *self) { gi_gauge_add(&self->version); }

gate_err_t gi_registry_endpoint(gi_registry_t *self, const char *endpoint,
                                const void *owner) {
    size_t size = strlen(endpoint) + 1;
    s_endpoint_t *e = gi_mem_alloc(sizeof *e + size);
    if (!e)
        return gi_err(GATE_NOMEM, "no memory to register %s", endpoint);
    memcpy(e->text, endpoint, size);
    e->owner = owner;
    gi_lock(&self->lock);
    e->next = self->endpoints;
    self->endpoints = e;
    s_changed(self);
    gi_unlock(&self->lock);
    return GATE_OK;
}

void gi_registry_endpoints_gone(gi_registry_t *self, const void *owner) {
    gi_lock(&self->lock);
    for (s_endpoint_t **p = &self->endpoints; *p;) {
        s_endpoint_t *e = *p;
        if (e->owner != owner) {
            p = &e->next;
            continue;
        }
        *p = e->next;
        gi_mem_free(e);
        s_changed(self);
    }
    gi_unlock(&self->lock);
}

const void *gi_registry_owner(gi_registry_t *self, const char *endpoint) {
    const void *owner = NULL;
    gi_lock(&self->lock);
    for (s_endpoint_t *e = self->endpoints; e && !owner; e = e->next)
        if (strcmp(e->text, endpoint) == 0)
            owner = e->owner;
    gi_unlock(&self->lock);
    return owner;
}

static s_entry_t **s_bucket(gi_registry_t *self, gate_bytes_t name) {
    const unsigned char *p = name.data;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < name.size; i++)
        h = (h ^ p[i]) * 16777619u;
    return &self->buckets[h % S_BUCKETS];
}

static s_entry_t **s_bucket_of(gi_registry_t *self, const s_entry_t *e) {
    return s_bucket(self, (gate_bytes_t){e->name, e->name_size});
}

gate_err_t gi_registry_service(gi_registry_t *self,
                               const gi_registered_t *what) {
    size_t size = strlen(what->name);
    s_entry_t *e = gi_mem_calloc(1, sizeof *e + size + 1);
    if (!e)
        return gi_err(GATE_NOMEM, "no memory to register a service");
    e->is = *what;
    e->is.name = e->name;
    e->name_size = size;
    memcpy(e->name, what->name, size);
    gi_lock(&self->lock);
    s_entry_t **p = &self->services, **q = s_bucket_of(self, e);
    while (*p)
        p = &(*p)->next;
    while (*q)
        q = &(*q)->same;
    *p = *q = e;
    s_changed(self);
    gi_unlock(&self->lock);
    return GATE_OK;
}

void gi_registry_service_gone(gi_registry_t *self, gate_service_t *service) {
    gi_lock(&self->lock);
    s_entry_t **p = &self->services;
    while (*p && (*p)->is.service != service)
        p = &(*p)->next;
    s_entry_t *e = *p;
    if (e) {
        s_entry_t **q = s_bucket_of(self, e);
        while (*q != e)
            q = &(*q)->same;
        *q = e->same;
        *p = e->next;
        gi_mem_free(e);
        s_changed(self);
    }
    gi_unlock(&self->lock);
}

gate_service_t *gi_registry_find(gi_registry_t *self, gate_bytes_t name,
                                 const void *broker) {
    gate_service_t *found = NULL;
    gi_lock(&self->lock);
    for (s_entry_t *e = *s_bucket(self, name); e && !found; e = e->same)
        if (e->is.broker == broker && e->name_size == name.size &&
            memcmp(e->name, name.data, name.size) == 0)
            found = e->is.share(e->is.service);
    gi_unlock(&self->lock);
    return found;
}

bool gi_registry_names(gi_registry_t *self, const void *broker, gi_buf_t *out) {
    msgpack_packer packer;
    size_t n = 0;
    int failed = 0;
    msgpack_packer_init(&packer, out, gi_buf_write);
    gi_lock(&self->lock);
    for (const s_entry_t *e = self->services; e; e = e->next)
        n += e->is.broker == broker;
    failed |= msgpack_pack_array(&packer, n);
    for (const s_entry_t *e = self->services; e; e = e->next)
        if (e->is.broker == broker)
            failed |=
                msgpack_pack_str_with_body(&packer, e->name, e->name_size);
    gi_unlock(&self->lock);
    return !failed;
}

uint64_t gi_registry_version(const gi_registry_t *self) {
    return (uint64_t)gi_gauge_read(&self->version);
}
