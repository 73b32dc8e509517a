/* SPDX-License-Identifier: BSD-3-Clause */
/* top.h -- gate top in parts: two looks at a broker (look), what lies between
 * them as tables (tables), and a screen (screen). Thread: main. */
#ifndef GI_TOP_H
#define GI_TOP_H

#include <gaterpc.h>
#include <stdio.h>

/* ---- top_look.c: snapshots and what lies between two ----------------------- */
#define GI_TOP_SLOTS 210 /* of a histogram: docs/observe.md */

typedef struct gi_top_look {
    gate_value_t *value; /* NULL: none yet */
    const msgpack_object *broker, *services;
    int64_t at_ms, start_ms;
    bool limited; /* a broker that tells names alone */
} gi_top_look_t;

/* Gate.observe with all parts that are shown. What workers report begins with
 * the first look: first waits for it a while. */
gate_err_t gi_top_look_ask(gate_client_t *client, bool first,
                           gate_value_t **out) GATE_MUST;
/* Takes *value. */
void gi_top_look_set(gi_top_look_t *self, gate_value_t **value);
void gi_top_look_fini(gi_top_look_t *self);
const msgpack_object *gi_top_look_get(const msgpack_object *map,
                                      const char *key);
int64_t gi_top_look_number(const msgpack_object *map, const char *key);
/* The n-th report, a map; NULL: there are no more. */
const msgpack_object *gi_top_look_report(const gi_top_look_t *look, uint32_t n);
/* The items of a list; 0: it is none. */
uint32_t gi_top_look_size(const msgpack_object *list);
/* The entry of a list of maps with that "name" (or id), as item has it. */
const msgpack_object *gi_top_look_same(const msgpack_object *list,
                                       const msgpack_object *item,
                                       const char *key);
/* What ended, and what of it otherwise than well. */
int64_t gi_top_look_ended(const msgpack_object *item, int64_t *bad);
/* Adds a histogram's counts, sign -1: takes them off. */
void gi_top_look_add(const msgpack_object *lat, double sign,
                     double slot[GI_TOP_SLOTS]);
/* us, that share of all stay below; -1: there are none. */
double gi_top_look_share(const double slot[GI_TOP_SLOTS], double share);
/* us, of what came between two histograms; -1: nothing did. */
double gi_top_look_quantile(const msgpack_object *now,
                            const msgpack_object *before, double share);

/* ---- top_tables.c: views --------------------------------------------------- */
#define GI_TOP_COLUMNS 12
#define GI_TOP_TEXT 64

typedef struct gi_top_cell {
    char text[GI_TOP_TEXT];
    double key; /* to sort by; NAN: the text */
} gi_top_cell_t;

typedef struct gi_top_row {
    gi_top_cell_t cell[GI_TOP_COLUMNS];
    bool bad; /* marked */
} gi_top_row_t;

typedef struct gi_top_table {
    const struct gi_top_view *view;
    gi_top_row_t *rows;
    size_t n, room;
    const gi_top_look_t *now, *before; /* before->value NULL: no rates yet */
    double seconds;                    /* between them */
} gi_top_table_t;

typedef struct gi_top_view {
    const char *name;
    void (*fill)(gi_top_table_t *table);
    unsigned n, sort; /* columns; which one, the largest first */
    struct {
        const char *title;
        int width; /* negative: from the left */
    } column[GI_TOP_COLUMNS];
} gi_top_view_t;

extern const gi_top_view_t gi_top_tables_views[];
#define GI_TOP_VIEWS 8
/* Rows of a view, with filter in some text, sorted; false: no memory. */
bool gi_top_tables_fill(gi_top_table_t *self, const char *filter, unsigned sort,
                        bool reverse);
/* calls/s, errors/s, share of errors, p50 and p99 (us) of everything; -1: not
 * known, there is one look yet. */
void gi_top_tables_sum(const gi_top_look_t *now, const gi_top_look_t *before,
                       double sum[5]);
/* A row more, empty; NULL: no memory. */
gi_top_row_t *gi_top_tables_row(gi_top_table_t *t);
/* A peer's text; a number; a time (us, -1: none). */
void gi_top_tables_text(gi_top_cell_t *cell, const msgpack_object *text);
void gi_top_tables_count(gi_top_cell_t *cell, int64_t n);
void gi_top_tables_us(gi_top_cell_t *cell, double us);
/* "19.5k", "504us", "0.04"; below 0: "-". */
void gi_top_tables_rate(char to[GI_TOP_TEXT], double rate);
void gi_top_tables_time(char to[GI_TOP_TEXT], double us);

/* ---- top_reports.c: what workers tell of themselves ------------------------ */
void gi_top_reports_pools(gi_top_table_t *t);
void gi_top_reports_log(gi_top_table_t *t);

/* ---- top_screen.c ----------------------------------------------------------- */
typedef struct gi_top_screen {
    int rows, columns;
    bool colour;
    char *text;
    size_t size, room;
} gi_top_screen_t;

typedef struct gi_top_state {
    unsigned view, sort;
    size_t cursor, first;
    bool reverse, paused, help, typing;
    char filter[64];
    double interval_s;
    int64_t silent_ms; /* since the last answer */
    bool restarted;
} gi_top_state_t;

/* Raw mode and the other screen, until end. False: it is no terminal. */
bool gi_top_screen_begin(gi_top_screen_t *self);
void gi_top_screen_end(gi_top_screen_t *self);
void gi_top_screen_measure(gi_top_screen_t *self);
/* One frame, in one write. */
void gi_top_screen_draw(gi_top_screen_t *self, const gi_top_table_t *table,
                        gi_top_state_t *state);

#endif
