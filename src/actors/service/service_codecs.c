/* SPDX-License-Identifier: BSD-3-Clause */
/* service_codecs.c -- which callers said that they read huge results, and
 * which codecs (docs/extensions.md, huge results). They say so now and then, so
 * it is remembered: in a table of fixed size, where the newer takes the older's
 * place. One that was forgotten gets plain replies, and huge ones in the codec
 * of the setting. */
#include "service/service_own.h"
#include "service/service_call.h"

#include <string.h>
#include "base/mem.h"

#define S_READERS 1024 /* power of two */
#define S_PROBES 4
#define S_ID_MAX 64

typedef struct s_reader {
    const gi_link_t *link; /* NULL: free */
    unsigned epoch;
    uint64_t used; /* when it was noted last */
    size_t id_size;
    unsigned char id[S_ID_MAX];
    char codecs[128];
} s_reader_t;

struct gi_readers {
    uint64_t clock;
    s_reader_t table[S_READERS];
};

static bool s_is(const s_reader_t *r, const gi_link_t *link, unsigned epoch,
                 gate_bytes_t client) {
    return r->link == link && r->epoch == epoch && r->id_size == client.size &&
           memcmp(r->id, client.data, client.size) == 0;
}

static size_t s_first(const gi_link_t *link, gate_bytes_t client) {
    const unsigned char *p = client.data;
    uint64_t hash = 1469598103934665603u ^ (uintptr_t)link;
    for (size_t i = 0; i < client.size; i++)
        hash = (hash ^ p[i]) * 1099511628211u;
    return (size_t)(hash >> 20);
}

/* The caller's entry; else the one to be overwritten when vacant is wanted. */
static s_reader_t *s_find(gi_readers_t *self, const gi_link_t *link,
                          unsigned epoch, gate_bytes_t client, bool vacant) {
    size_t first = s_first(link, client);
    s_reader_t *oldest = &self->table[first & (S_READERS - 1)];
    for (size_t i = 0; i < S_PROBES; i++) {
        s_reader_t *r = &self->table[(first + i) & (S_READERS - 1)];
        if (s_is(r, link, epoch, client))
            return r;
        if (r->used < oldest->used)
            oldest = r;
    }
    return vacant ? oldest : NULL;
}

void gi_readers_note(gate_service_t *self, const gi_link_t *link,
                     gate_bytes_t client, gate_bytes_t codecs) {
    if (client.size > S_ID_MAX)
        return;
    if (!self->own->readers)
        self->own->readers = gi_mem_calloc(1, sizeof *self->own->readers);
    if (!self->own->readers)
        return; /* it is as if nothing had been said */
    s_reader_t *r = s_find(self->own->readers, link, link->epoch, client, true);
    size_t size = codecs.size < sizeof r->codecs ? codecs.size : 0;
    r->link = link;
    r->epoch = link->epoch;
    r->used = ++self->own->readers->clock;
    r->id_size = client.size;
    memcpy(r->id, client.data, client.size);
    if (size)
        memcpy(r->codecs, codecs.data, size);
    r->codecs[size] = 0;
}

const char *gi_readers_codecs(const gi_scall_t *c) {
    gi_readers_t *readers = c->service->own->readers;
    if (!c->link || !readers || c->call.client.size > S_ID_MAX)
        return NULL;
    s_reader_t *r = s_find(readers, c->link, c->epoch, c->call.client, false);
    return r ? r->codecs : NULL;
}

void gi_readers_free(gate_service_t *self) {
    gi_mem_free(self->own->readers);
    self->own->readers = NULL;
}
