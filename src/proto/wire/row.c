/* SPDX-License-Identifier: BSD-3-Clause */
/* row.c -- rows of small items, written and read. */
#include "wire/row.h"

#include <string.h>

bool gi_row_put(gi_row_t *self, const void *item, size_t size) {
    if (!size || size > GI_ROW_ITEM || self->n == GI_ROW_ITEMS ||
        self->size + GI_ROW_LENGTH + size > GI_ROW_BYTES)
        return false;
    unsigned char *to = self->data + self->size;
    to[0] = (unsigned char)(size >> 8);
    to[1] = (unsigned char)size;
    memcpy(to + GI_ROW_LENGTH, item, size);
    self->size += GI_ROW_LENGTH + size;
    self->n++;
    return true;
}

bool gi_row_next(gate_bytes_t *row, gate_bytes_t *item) {
    const unsigned char *at = row->data;
    if (row->size <= GI_ROW_LENGTH)
        return false;
    size_t size = (size_t)at[0] << 8 | at[1];
    if (!size || size > row->size - GI_ROW_LENGTH)
        return false;
    *item = (gate_bytes_t){at + GI_ROW_LENGTH, size};
    *row = (gate_bytes_t){at + GI_ROW_LENGTH + size,
                          row->size - GI_ROW_LENGTH - size};
    return true;
}

unsigned gi_row_count(gate_bytes_t row) {
    gate_bytes_t item;
    unsigned n = 0;
    while (n < GI_ROW_ITEMS && gi_row_next(&row, &item))
        n++;
    return row.size ? 0 : n;
}
