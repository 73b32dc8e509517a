/* SPDX-License-Identifier: BSD-3-Clause */
/* rows.h -- rows on stdout. At a terminal they are kept until the last one is
 * known, and stand under heads in columns as wide as they need; anywhere else a row
 * is a line at once, its fields by tabs, without heads: for programs.
 * Law: what peers say is cleaned (clean.h), so neither tab nor line end is in a
 * field. */
#ifndef GI_ROWS_H
#define GI_ROWS_H

#include <msgpack.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct gi_column {
    const char *head; /* with its unit, if it has one */
    bool right;       /* numbers stand at the right */
} gi_column_t;

/* For --help of a verb that prints one. */
#define GI_ROWS_SAYS                                                        \
    "At a terminal the columns have heads; elsewhere fields are separated " \
    "by\n"                                                                  \
    "tabs. With --json all of it is one line of JSON."

enum { GI_ROWS_COLUMNS = 16 };

typedef struct gi_rows {
    const gi_column_t *columns; /* borrowed until end */
    size_t n, at;               /* columns; the next one's index */
    FILE *to;                   /* stdout, or a stream into kept */
    char *kept;                 /* the fields, each with its NUL */
    size_t size, begin;         /* bytes of kept; where the field begins */
    size_t width[GI_ROWS_COLUMNS];
} gi_rows_t;

void gi_rows_begin(gi_rows_t *self, const gi_column_t *columns, size_t n);
/* The next field of the row; behind the last column's a new row begins. */
void gi_rows_text(gi_rows_t *self, const char *text);
/* A str that is not empty, or "-". */
void gi_rows_object(gi_rows_t *self, const msgpack_object *text);
void gi_rows_number(gi_rows_t *self, int64_t number);
void gi_rows_real(gi_rows_t *self, double number); /* of 3 digits behind . */
/* Prints what was kept. */
void gi_rows_end(gi_rows_t *self);

#endif
