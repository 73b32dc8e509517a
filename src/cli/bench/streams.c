/* SPDX-License-Identifier: BSD-3-Clause */
/* streams.c -- `gate bench stream` and `huge`: one long answer, against the same
 * bytes in the same frames through zmq_proxy. */
#include "bench/session.h"

#include <string.h>

/* One system and its reference over each transport asked for; the registry has
 * none. before (may be NULL) completes our specification. */
static void s_each(gi_session_t *self, const gi_kind_t *ours,
                   const gi_kind_t *reference, const char *data,
                   gi_cell_t *cell, const gi_numbers_t *sizes) {
    static const char *const transports[] = {"registry", "inproc", "ipc",
                                             "tcp"};
    gi_numbers_t pins;
    gi_numbers_parse(self->args->pins, &pins);
    for (int p = 0; p < pins.n; p++)
        for (size_t t = 0; t < sizeof transports / sizeof *transports; t++) {
            int pin = (int)pins.items[p], n = t ? 2 : 1;
            gi_spec_t specs[2] = {
                gi_session_spec(self, ours, transports[t], pin),
                gi_session_spec(self, reference, transports[t], pin)};
            specs[0].data = data;
            if (self->failed || !gi_word_in(self->transports, transports[t]) ||
                !gi_session_open(self, cell, specs, n))
                continue;
            for (int s = 0; s < sizes->n && !self->failed; s++) {
                cell->load = gi_session_load(self, 1, sizes->items[s]);
                cell->load.rate = 0;
                if (!strcmp(cell->unit, "MB/s"))
                    cell->per_unit = (double)sizes->items[s] / 1e6;
                gi_session_measure(self, cell);
            }
            gi_session_close(cell);
        }
}

void gi_stream(gi_session_t *self) {
    gi_cell_t cell = {.unit = "items/s"};
    gi_numbers_t sizes;
    gi_numbers_parse(self->sizes, &sizes);
    s_each(self, &gi_kind_stream, &gi_kind_items, NULL, &cell, &sizes);
}

void gi_huge(gi_session_t *self) {
    static const char *const kinds[] = {"json", "hex", "random"};
    gi_numbers_t sizes;
    gi_numbers_parse(self->sizes, &sizes);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds && !self->failed; k++) {
        gi_cell_t cell = {.unit = "MB/s", .label = kinds[k]};
        s_each(self, &gi_kind_huge, &gi_kind_chunks, kinds[k], &cell, &sizes);
    }
}
