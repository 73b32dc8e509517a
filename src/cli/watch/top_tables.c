/* SPDX-License-Identifier: BSD-3-Clause */
/* top_tables.c -- each view is a row of a const table: its columns, and how one
 * look and the one before become lines. What peers said is text: what could move
 * a cursor was taken out by the broker, and is again here. */
#include "watch/top.h"
#include "text/clean.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- cells --------------------------------------------------------------- */
void gi_top_tables_rate(char to[GI_TOP_TEXT], double rate) {
    if (rate < 0)
        strcpy(to, "-");
    else if (rate >= 1e6)
        snprintf(to, GI_TOP_TEXT, "%.1fM", rate / 1e6);
    else if (rate >= 1e4)
        snprintf(to, GI_TOP_TEXT, "%.1fk", rate / 1e3);
    else
        snprintf(to, GI_TOP_TEXT, rate < 10 && rate > 0 ? "%.1f" : "%.0f",
                 rate);
}

void gi_top_tables_time(char to[GI_TOP_TEXT], double us) {
    if (us < 0)
        strcpy(to, "-");
    else if (us < 1000)
        snprintf(to, GI_TOP_TEXT, "%.0fus", us);
    else if (us < 1e6)
        snprintf(to, GI_TOP_TEXT, us < 1e4 ? "%.1fms" : "%.0fms", us / 1e3);
    else
        snprintf(to, GI_TOP_TEXT, "%.1fs", us / 1e6);
}

void gi_top_tables_text(gi_top_cell_t *cell, const msgpack_object *text) {
    bool is = text && text->type == MSGPACK_OBJECT_STR;
    gi_clean_copy(cell->text, sizeof cell->text, is ? text->via.str.ptr : "",
                  is ? text->via.str.size : 0);
    cell->key = NAN;
}

static void s_rate(gi_top_cell_t *cell, const gi_top_table_t *t, int64_t now,
                   int64_t before) {
    bool known = t->before->value && t->seconds > 0;
    cell->key = known ? (double)(now - before) / t->seconds : -1;
    if (known)
        gi_top_tables_rate(cell->text, cell->key > 0 ? cell->key : 0);
    else
        strcpy(cell->text, "-");
}

void gi_top_tables_count(gi_top_cell_t *cell, int64_t n) {
    cell->key = (double)n;
    snprintf(cell->text, GI_TOP_TEXT, "%lld", (long long)n);
}

static void s_share(gi_top_cell_t *cell, int64_t bad, int64_t all) {
    cell->key = all > 0 ? 100 * (double)bad / (double)all : -1;
    if (all > 0)
        snprintf(cell->text, GI_TOP_TEXT, "%.2f", cell->key);
    else
        strcpy(cell->text, "-");
}

void gi_top_tables_us(gi_top_cell_t *cell, double us) {
    cell->key = us;
    gi_top_tables_time(cell->text, us);
}

gi_top_row_t *gi_top_tables_row(gi_top_table_t *t) {
    if (t->n == t->room) {
        size_t room = t->room ? 2 * t->room : 64;
        gi_top_row_t *rows = realloc(t->rows, room * sizeof *rows);
        if (rows == NULL)
            return NULL;
        t->rows = rows;
        t->room = room;
    }
    memset(&t->rows[t->n], 0, sizeof *t->rows);
    return &t->rows[t->n++];
}

static const msgpack_object *s_list(const gi_top_look_t *look,
                                    const char *name) {
    return look->value ? gi_top_look_get(gate_value_object(look->value), name)
                       : NULL;
}

/* ---- views --------------------------------------------------------------- */
/* CALL/S, ERR% and three times, from column at on. */
static void s_traffic(gi_top_table_t *t, gi_top_row_t *row, unsigned at,
                      const msgpack_object *now, const msgpack_object *before) {
    int64_t bad, bad_before = 0, all_before = 0;
    int64_t all = gi_top_look_ended(now, &bad);
    if (before)
        all_before = gi_top_look_ended(before, &bad_before);
    s_rate(&row->cell[at], t, all, all_before);
    s_share(&row->cell[at + 1], bad - bad_before, all - all_before);
    row->bad |= row->cell[at + 1].key > 1;
}

static void s_times(gi_top_row_t *row, unsigned at, const msgpack_object *now,
                    const msgpack_object *before) {
    static const double shares[] = {.5, .9, .99};
    for (unsigned i = 0; i < 3; i++)
        gi_top_tables_us(&row->cell[at + i],
                         gi_top_look_quantile(now, before, shares[i]));
}

static void s_services(gi_top_table_t *t) {
    for (uint32_t i = 0; i < gi_top_look_size(t->now->services); i++) {
        const msgpack_object *s = &t->now->services->via.array.ptr[i];
        const msgpack_object *was =
            gi_top_look_same(t->before->services, s, "name");
        gi_top_row_t *row = gi_top_tables_row(t);
        if (row == NULL)
            return;
        gi_top_tables_text(&row->cell[0], gi_top_look_get(s, "name"));
        gi_top_tables_count(&row->cell[1], gi_top_look_number(s, "workers"));
        s_traffic(t, row, 2, s, was);
        gi_top_tables_count(&row->cell[4], gi_top_look_number(s, "in_flight"));
        gi_top_tables_count(&row->cell[5], gi_top_look_number(s, "queued"));
        int64_t oldest_ms = gi_top_look_number(s, "oldest_ms");
        gi_top_tables_us(&row->cell[6],
                         oldest_ms ? 1000 * (double)oldest_ms : -1);
        s_times(row, 7, gi_top_look_get(s, "total"),
                gi_top_look_get(was, "total"));
    }
}

static void s_methods_of(gi_top_table_t *t, const msgpack_object *s,
                         const msgpack_object *was) {
    const msgpack_object *methods = gi_top_look_get(s, "methods");
    for (uint32_t i = 0; i < gi_top_look_size(methods); i++) {
        const msgpack_object *m = &methods->via.array.ptr[i];
        const msgpack_object *before =
            gi_top_look_same(gi_top_look_get(was, "methods"), m, "name");
        gi_top_row_t *row = gi_top_tables_row(t);
        if (row == NULL)
            return;
        gi_top_tables_text(&row->cell[0], gi_top_look_get(s, "name"));
        gi_top_tables_text(&row->cell[1], gi_top_look_get(m, "name"));
        s_traffic(t, row, 2, m, before);
        s_times(row, 4, gi_top_look_get(m, "run"),
                gi_top_look_get(before, "run"));
        int64_t bad, all = gi_top_look_ended(m, &bad);
        gi_top_tables_count(&row->cell[7], all);
        gi_top_tables_count(&row->cell[8], bad);
    }
}

static void s_methods(gi_top_table_t *t) {
    for (uint32_t i = 0; i < gi_top_look_size(t->now->services); i++) {
        const msgpack_object *s = &t->now->services->via.array.ptr[i];
        s_methods_of(t, s, gi_top_look_same(t->before->services, s, "name"));
    }
}

static bool s_flag(const msgpack_object *map, const char *key) {
    const msgpack_object *v = gi_top_look_get(map, key);
    return v && v->type == MSGPACK_OBJECT_BOOLEAN && v->via.boolean;
}

static void s_worker(gi_top_table_t *t, const msgpack_object *service,
                     const msgpack_object_kv *w) {
    gi_top_row_t *row = gi_top_tables_row(t);
    if (row == NULL)
        return;
    gi_top_tables_text(&row->cell[0], service);
    gi_top_tables_text(&row->cell[1], &w->key);
    row->cell[1].text[8] = 0;
    strcpy(row->cell[2].text, s_flag(&w->val, "draining") ? "drain"
                              : s_flag(&w->val, "ext")    ? "up"
                                                          : "plain");
    row->cell[2].key = NAN;
    gi_top_tables_count(&row->cell[3],
                        gi_top_look_number(&w->val, "in_flight"));
    gi_top_tables_count(&row->cell[4], gi_top_look_number(&w->val, "max"));
    gi_top_tables_us(&row->cell[5],
                     1000 * (double)gi_top_look_number(&w->val, "silent_ms"));
    gi_top_tables_text(&row->cell[6], gi_top_look_get(&w->val, "user"));
    gi_top_tables_text(&row->cell[7], gi_top_look_get(&w->val, "address"));
}

static void s_workers(gi_top_table_t *t) {
    const msgpack_object *list = s_list(t->now, "workers");
    for (uint32_t i = 0; i < gi_top_look_size(list); i++) {
        const msgpack_object *pair = &list->via.array.ptr[i];
        if (gi_top_look_size(pair) != 2 ||
            pair->via.array.ptr[1].type != MSGPACK_OBJECT_MAP)
            continue;
        const msgpack_object_map *of = &pair->via.array.ptr[1].via.map;
        for (uint32_t k = 0; k < of->size; k++)
            s_worker(t, &pair->via.array.ptr[0], &of->ptr[k]);
    }
}

static void s_clients(gi_top_table_t *t) {
    const msgpack_object *list =
        gi_top_look_get(s_list(t->now, "clients"), "clients");
    const msgpack_object *before =
        gi_top_look_get(s_list(t->before, "clients"), "clients");
    for (uint32_t i = 0; i < gi_top_look_size(list); i++) {
        const msgpack_object *c = &list->via.array.ptr[i];
        const msgpack_object *was = gi_top_look_same(before, c, "id");
        gi_top_row_t *row = gi_top_tables_row(t);
        if (row == NULL)
            return;
        gi_top_tables_text(&row->cell[0], gi_top_look_get(c, "user"));
        gi_top_tables_text(&row->cell[1], gi_top_look_get(c, "address"));
        gi_top_tables_text(&row->cell[2], gi_top_look_get(c, "id"));
        row->cell[2].text[8] = 0;
        int64_t calls = gi_top_look_number(c, "calls");
        s_rate(&row->cell[3], t, calls,
               was ? gi_top_look_number(was, "calls") : calls);
        gi_top_tables_count(&row->cell[4], calls);
        gi_top_tables_count(&row->cell[5], gi_top_look_number(c, "in_flight"));
        gi_top_tables_count(&row->cell[6],
                            gi_top_look_number(c, "queued_bytes"));
        gi_top_tables_us(&row->cell[7],
                         1000 * (double)gi_top_look_number(c, "since_ms"));
        row->bad = row->cell[6].key > 0;
    }
}

static void s_errors(gi_top_table_t *t) {
    for (uint32_t i = 0; i < gi_top_look_size(t->now->services); i++) {
        const msgpack_object *s = &t->now->services->via.array.ptr[i];
        const msgpack_object *was =
            gi_top_look_same(t->before->services, s, "name");
        const msgpack_object *classes = gi_top_look_get(s, "classes");
        for (uint32_t k = 0; k < gi_top_look_size(classes); k++) {
            const msgpack_object *c = &classes->via.array.ptr[k];
            const msgpack_object *before =
                gi_top_look_same(gi_top_look_get(was, "classes"), c, "name");
            gi_top_row_t *row = gi_top_tables_row(t);
            if (row == NULL)
                return;
            gi_top_tables_text(&row->cell[0], gi_top_look_get(c, "name"));
            gi_top_tables_text(&row->cell[1], gi_top_look_get(s, "name"));
            s_rate(&row->cell[2], t, gi_top_look_number(c, "n"),
                   gi_top_look_number(before, "n"));
            gi_top_tables_count(&row->cell[3], gi_top_look_number(c, "n"));
            gi_top_tables_us(&row->cell[4],
                             1000 * (double)gi_top_look_number(c, "ago_ms"));
            gi_top_tables_text(&row->cell[5], gi_top_look_get(c, "text"));
        }
    }
}

static void s_slow(gi_top_table_t *t) {
    const msgpack_object *list = s_list(t->now, "slow");
    for (uint32_t i = 0; i < gi_top_look_size(list); i++) {
        const msgpack_object *c = &list->via.array.ptr[i];
        gi_top_row_t *row = gi_top_tables_row(t);
        if (row == NULL)
            return;
        gi_top_tables_text(&row->cell[0], gi_top_look_get(c, "service"));
        gi_top_tables_text(&row->cell[1], gi_top_look_get(c, "method"));
        gi_top_tables_text(&row->cell[2], gi_top_look_get(c, "user"));
        gi_top_tables_us(&row->cell[3],
                         (double)gi_top_look_number(c, "total_us"));
        gi_top_tables_us(&row->cell[4],
                         (double)gi_top_look_number(c, "queue_us"));
        gi_top_tables_us(&row->cell[5],
                         row->cell[3].key - row->cell[4].key -
                             (double)gi_top_look_number(c, "stood_us"));
        gi_top_tables_text(&row->cell[6], gi_top_look_get(c, "outcome"));
        gi_top_tables_us(&row->cell[7],
                         1000 * (double)gi_top_look_number(c, "ago_ms"));
    }
}

const gi_top_view_t gi_top_tables_views[GI_TOP_VIEWS] = {
    {"services",
     s_services,
     10,
     2,
     {{"SERVICE", -16},
      {"WRK", 4},
      {"CALL/S", 8},
      {"ERR%", 7},
      {"UNDER", 6},
      {"WAIT", 6},
      {"OLDEST", 7},
      {"P50", 7},
      {"P90", 7},
      {"P99", 7}}},
    {"methods",
     s_methods,
     9,
     2,
     {{"SERVICE", -14},
      {"METHOD", -16},
      {"CALL/S", 8},
      {"ERR%", 7},
      {"P50", 7},
      {"P90", 7},
      {"P99", 7},
      {"CALLS", 9},
      {"ERRORS", 8}}},
    {"workers",
     s_workers,
     8,
     3,
     {{"SERVICE", -16},
      {"WORKER", -8},
      {"STATE", -5},
      {"UNDER", 6},
      {"MAX", 8},
      {"SILENT", 7},
      {"USER", -10},
      {"ADDRESS", -22}}},
    {"clients",
     s_clients,
     8,
     3,
     {{"USER", -10},
      {"ADDRESS", -22},
      {"ID", -8},
      {"CALL/S", 8},
      {"CALLS", 9},
      {"UNDER", 6},
      {"QUEUED", 8},
      {"SINCE", 7}}},
    {"errors",
     s_errors,
     6,
     3,
     {{"CLASS", -22},
      {"SERVICE", -14},
      {"/S", 7},
      {"TOTAL", 9},
      {"AGO", 7},
      {"TEXT", -60}}},
    {"slow",
     s_slow,
     8,
     3,
     {{"SERVICE", -14},
      {"METHOD", -14},
      {"USER", -8},
      {"TOTAL", 8},
      {"QUEUE", 8},
      {"REST", 8},
      {"END", -9},
      {"AGO", 7}}},
    {"pools",
     gi_top_reports_pools,
     11,
     6,
     {{"SERVICE", -14},
      {"PROCESS", -16},
      {"KIND", -9},
      {"STATE", -8},
      {"WRK", 5},
      {"RUN", 5},
      {"QUEUED", 7},
      {"OLDEST", 7},
      {"DONE", 9},
      {"FAILED", 7},
      {"RESTARTS", -30}}},
    {"log",
     gi_top_reports_log,
     5,
     0,
     {{"AGO", 7},
      {"LEVEL", -5},
      {"PROCESS", -16},
      {"PART", -12},
      {"TEXT", -60}}},
};

/* ---- filling ------------------------------------------------------------- */
static struct {
    unsigned column;
    int sign;
} s_order; /* of the sort that runs: qsort has no context */

static int s_compare(const void *a, const void *b) {
    const gi_top_cell_t *x = &((const gi_top_row_t *)a)->cell[s_order.column];
    const gi_top_cell_t *y = &((const gi_top_row_t *)b)->cell[s_order.column];
    int is = isnan(x->key) || isnan(y->key)
                 ? -strcmp(x->text, y->text)
                 : (x->key > y->key) - (x->key < y->key);
    if (is == 0)
        return strcmp(((const gi_top_row_t *)a)->cell[0].text,
                      ((const gi_top_row_t *)b)->cell[0].text);
    return -is * s_order.sign;
}

static bool s_passes(const gi_top_row_t *row, unsigned n, const char *filter) {
    for (unsigned i = 0; i < n; i++)
        if (strcasestr(row->cell[i].text, filter))
            return true;
    return false;
}

bool gi_top_tables_fill(gi_top_table_t *self, const char *filter, unsigned sort,
                        bool reverse) {
    size_t n = 0;
    self->n = 0;
    self->view->fill(self);
    for (size_t i = 0; i < self->n; i++)
        if (!*filter || s_passes(&self->rows[i], self->view->n, filter))
            self->rows[n++] = self->rows[i];
    self->n = n;
    s_order.column = sort < self->view->n ? sort : self->view->sort;
    s_order.sign = reverse ? -1 : 1;
    if (n)
        qsort(self->rows, n, sizeof *self->rows, s_compare);
    return self->rows != NULL || n == 0;
}

void gi_top_tables_sum(const gi_top_look_t *now, const gi_top_look_t *before,
                       double sum[5]) {
    double seconds = (double)(now->at_ms - before->at_ms) / 1000;
    double slot[GI_TOP_SLOTS] = {0};
    int64_t all = 0, bad = 0;
    bool known = before->value && seconds > 0;
    for (uint32_t i = 0; i < gi_top_look_size(now->services); i++) {
        const msgpack_object *s = &now->services->via.array.ptr[i];
        const msgpack_object *was =
            gi_top_look_same(before->services, s, "name");
        int64_t now_bad, was_bad = 0;
        all += gi_top_look_ended(s, &now_bad);
        all -= was ? gi_top_look_ended(was, &was_bad) : 0;
        bad += now_bad - was_bad;
        gi_top_look_add(gi_top_look_get(s, "total"), 1, slot);
        gi_top_look_add(gi_top_look_get(was, "total"), -1, slot);
    }
    sum[0] = known ? (double)all / seconds : -1;
    sum[1] = known ? (double)bad / seconds : -1;
    sum[2] = all > 0 ? 100 * (double)bad / (double)all : 0;
    sum[3] = gi_top_look_share(slot, .5);
    sum[4] = gi_top_look_share(slot, .99);
}
