/* SPDX-License-Identifier: BSD-3-Clause */
#include "tally/lat.h"

void gi_lat_fold(gi_lat_t *self, const gi_lat_t *from) {
    self->n += from->n;
    self->sum_ns += from->sum_ns;
    for (unsigned i = 0; i < GI_LAT_SLOTS + 2; i++)
        self->slot[i] += from->slot[i];
}

uint64_t gi_lat_edge(unsigned slot) {
    return (uint64_t)(8 + slot % 8) * 125 << slot / 8;
}

uint64_t gi_lat_below(const gi_lat_t *self, unsigned octave) {
    uint64_t n = self->slot[GI_LAT_UNDER];
    for (unsigned i = 0; i < octave * 8 && i < GI_LAT_SLOTS; i++)
        n += self->slot[i];
    return n;
}

double gi_lat_quantile_ns(const gi_lat_t *self, double share) {
    double want = share * (double)self->n;
    double before = (double)self->slot[GI_LAT_UNDER];
    if (self->n == 0)
        return 0;
    if (want <= before)
        return 1000 * want / before;
    for (unsigned i = 0; i < GI_LAT_SLOTS; i++) {
        if (self->slot[i] == 0)
            continue; /* as most are */
        double n = (double)self->slot[i], low = (double)gi_lat_edge(i);
        if (want <= before + n)
            return low +
                   ((double)gi_lat_edge(i + 1) - low) * (want - before) / n;
        before += n;
    }
    return (double)gi_lat_edge(GI_LAT_SLOTS);
}
