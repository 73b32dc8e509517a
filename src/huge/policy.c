/* SPDX-License-Identifier: BSD-3-Clause */
/* policy.c -- compressing and sending overlap, so the slower of the two
 * decides: compressed, a byte costs max(1 / compressor, ratio / link), stored 1
 * / link. A tenth of difference is needed to change sides. */
#include "huge/policy.h"
#include <string.h>

#define S_MEMORY 2e6 /* bytes; as much again halves what was before */
#define S_MARGIN 1.1

gi_policy_mode_t gi_policy_mode(const char *name) {
    if (name && !strcmp(name, "compress"))
        return GI_POLICY_COMPRESS;
    if (name && !strcmp(name, "store"))
        return GI_POLICY_STORE;
    return GI_POLICY_ADAPTIVE;
}

void gi_policy_init(gi_policy_t *self, gi_policy_mode_t mode, int workers) {
    memset(self, 0, sizeof *self);
    self->mode = mode;
    self->workers = workers > 0 ? workers : 1;
}

static void s_rate_add(gi_rate_t *self, uint64_t bytes, uint64_t ns) {
    self->bytes += (double)bytes;
    self->ns += (double)ns;
    if (self->bytes > S_MEMORY) {
        self->bytes /= 2;
        self->ns /= 2;
    }
}

void gi_policy_compressed(gi_policy_t *self, uint64_t in, uint64_t out,
                          uint64_t ns) {
    s_rate_add(&self->compress, in, ns);
    self->in += (double)in;
    self->out += (double)out;
    if (self->in > S_MEMORY) {
        self->in /= 2;
        self->out /= 2;
    }
}

void gi_policy_sent(gi_policy_t *self, uint64_t bytes, uint64_t ns) {
    s_rate_add(&self->link, bytes, ns);
}

/* Decides anew; without measurements it compresses. */
static bool s_decide(const gi_policy_t *self) {
    if (self->in <= 0 || self->link.bytes <= 0 || self->compress.bytes <= 0)
        return false;
    double link = self->link.ns / self->link.bytes; /* ns a byte */
    double make =
        self->compress.ns / self->compress.bytes / (double)self->workers;
    double send = link * self->out / self->in;
    double compressed = make > send ? make : send;
    return self->storing ? link < compressed * S_MARGIN
                         : link * S_MARGIN < compressed;
}

bool gi_policy_store(gi_policy_t *self) {
    if (self->mode != GI_POLICY_ADAPTIVE)
        return self->mode == GI_POLICY_STORE;
    self->storing = s_decide(self);
    if (!self->storing || ++self->since_probe >= GI_POLICY_PROBE) {
        self->since_probe = 0;
        return false;
    }
    return true;
}
