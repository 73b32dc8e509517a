/* SPDX-License-Identifier: BSD-3-Clause */
/* rows.c -- see rows.h. */
#include "text/rows.h"
#include "text/clean.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- a field --------------------------------------------------------------- */
/* Characters of UTF-8, which most terminals give a column each. */
static size_t s_width(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void s_widen(gi_rows_t *self, size_t column, const char *text) {
    size_t width = s_width(text);
    if (width > self->width[column])
        self->width[column] = width;
}

static void s_field_end(gi_rows_t *self) {
    bool last = self->at + 1 == self->n;
    if (self->to == stdout) {
        putchar(last ? '\n' : '\t');
    } else {
        putc('\0', self->to);
        fflush(self->to);
        if (self->kept)
            s_widen(self, self->at, self->kept + self->begin);
        self->begin = self->size;
    }
    self->at = last ? 0 : self->at + 1;
}

static void s_field(gi_rows_t *self, const char *text, size_t size) {
    gi_clean_put(self->to, text, size, false);
    s_field_end(self);
}

void gi_rows_text(gi_rows_t *self, const char *text) {
    s_field(self, text, strlen(text));
}

void gi_rows_object(gi_rows_t *self, const msgpack_object *text) {
    if (!text || text->type != MSGPACK_OBJECT_STR || !text->via.str.size)
        gi_rows_text(self, "-");
    else
        s_field(self, text->via.str.ptr, text->via.str.size);
}

void gi_rows_number(gi_rows_t *self, int64_t number) {
    fprintf(self->to, "%" PRId64, number);
    s_field_end(self);
}

void gi_rows_real(gi_rows_t *self, double number) {
    fprintf(self->to, "%.3f", number);
    s_field_end(self);
}

/* ---- the table ------------------------------------------------------------- */
void gi_rows_begin(gi_rows_t *self, const gi_column_t *columns, size_t n) {
    *self = (gi_rows_t){.columns = columns, .n = n, .to = stdout};
    if (!isatty(STDOUT_FILENO))
        return;
    FILE *to = open_memstream(&self->kept, &self->size);
    if (!to)
        return; /* no memory: lines with tabs then */
    self->to = to;
    for (size_t i = 0; i < n; i++)
        s_widen(self, i, columns[i].head);
}

/* Nothing stands behind the last field of a row. */
static void s_put(const gi_rows_t *self, size_t i, const char *text) {
    int pad = (int)(self->width[i] - s_width(text));
    bool last = i + 1 == self->n, right = self->columns[i].right;
    printf("%*s%s%*s", right ? pad : 0, "", text, right || last ? 0 : pad, "");
    fputs(last ? "\n" : "  ", stdout);
}

void gi_rows_end(gi_rows_t *self) {
    if (self->to == stdout)
        return;
    fclose(self->to);
    for (size_t i = 0; i < self->n; i++)
        s_put(self, i, self->columns[i].head);
    const char *text = self->kept, *end = text ? text + self->begin : text;
    for (size_t i = 0; text < end; text += strlen(text) + 1)
        s_put(self, i++ % self->n, text);
    free(self->kept);
    *self = (gi_rows_t){.to = stdout};
}
