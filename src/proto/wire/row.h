/* SPDX-License-Identifier: BSD-3-Clause */
/* row.h -- small items of one stream that go in one message
 * (docs/extensions.md, rows of items). Pure: views in, bytes out, and back. */
#ifndef GI_ROW_H
#define GI_ROW_H

#include <gaterpc/error.h>

#include <stdbool.h>

#define GI_ROW_TAG "\xc1GXI" /* the frame before it; never valid msgpack */
#define GI_ROW_TAG_SIZE 4
#define GI_ROW_ITEMS 64   /* of one row, at most */
#define GI_ROW_LENGTH 2   /* bytes before each: its size, the high one first */
#define GI_ROW_ITEM 1024  /* a larger one gains little: it goes alone */
#define GI_ROW_BYTES 7000 /* that a writer puts into one, lengths included */

/* ---- writing ------------------------------------------------------------- */
typedef struct gi_row {
    unsigned n;
    size_t size;
    unsigned char data[GI_ROW_BYTES];
} gi_row_t;

/* False: there is no room, or it is no item of a row; nothing has changed. */
bool gi_row_put(gi_row_t *self, const void *item, size_t size);

/* ---- reading ------------------------------------------------------------- */
/* Items in it; 0: it is no row. */
unsigned gi_row_count(gate_bytes_t row);
/* Takes the first item off a row that was counted; false: there is none left. */
bool gi_row_next(gate_bytes_t *row, gate_bytes_t *item);

#endif
