/* SPDX-License-Identifier: BSD-3-Clause */
/* top_reports.c -- what workers tell of themselves, as rows: their pools, their
 * last warnings. A worker may say anything: what is no number counts 0. */
#include "watch/top.h"
#include "text/clean.h"

#include <math.h>
#include <string.h>

static const msgpack_object *s_process(const msgpack_object *entry) {
    return gi_top_look_get(gi_top_look_get(entry, "report"), "process");
}

/* host:pid */
static void s_who(gi_top_cell_t *cell, const msgpack_object *process) {
    gi_top_tables_text(cell, gi_top_look_get(process, "host"));
    size_t n = strlen(cell->text);
    n = n < 48 ? n : 48;
    snprintf(cell->text + n, sizeof cell->text - n, ":%lld",
             (long long)gi_top_look_number(process, "pid"));
}

/* "crash 3, exit 1" */
static void s_restarts(gi_top_cell_t *cell, const msgpack_object *map) {
    char reason[32];
    size_t n = 0;
    cell->key = 0;
    uint32_t all =
        map && map->type == MSGPACK_OBJECT_MAP ? map->via.map.size : 0;
    for (uint32_t i = 0; i < all && n < sizeof cell->text; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type != MSGPACK_OBJECT_STR ||
            kv->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER)
            continue;
        gi_clean_copy(reason, sizeof reason, kv->key.via.str.ptr,
                      kv->key.via.str.size);
        cell->key += (double)kv->val.via.u64;
        n += (size_t)snprintf(cell->text + n, sizeof cell->text - n,
                              "%s%s %llu", n ? ", " : "", reason,
                              (unsigned long long)kv->val.via.u64);
    }
}

static void s_pool(gi_top_table_t *t, const msgpack_object *entry,
                   const msgpack_object *pool) {
    gi_top_row_t *row = gi_top_tables_row(t);
    if (row == NULL)
        return;
    int64_t oldest_ms = gi_top_look_number(pool, "oldest_ms");
    gi_top_tables_text(&row->cell[0], gi_top_look_get(entry, "service"));
    s_who(&row->cell[1], s_process(entry));
    gi_top_tables_text(&row->cell[2], gi_top_look_get(pool, "kind"));
    gi_top_tables_text(&row->cell[3], gi_top_look_get(pool, "state"));
    gi_top_tables_count(&row->cell[4], gi_top_look_number(pool, "workers"));
    gi_top_tables_count(&row->cell[5], gi_top_look_number(pool, "running"));
    gi_top_tables_count(&row->cell[6], gi_top_look_number(pool, "queued"));
    gi_top_tables_us(&row->cell[7], oldest_ms ? 1000 * (double)oldest_ms : -1);
    gi_top_tables_count(&row->cell[8], gi_top_look_number(pool, "done"));
    gi_top_tables_count(&row->cell[9], gi_top_look_number(pool, "failed"));
    s_restarts(&row->cell[10], gi_top_look_get(pool, "restarts"));
    row->bad = strcmp(row->cell[3].text, "running") != 0;
}

void gi_top_reports_pools(gi_top_table_t *t) {
    const msgpack_object *entry;
    for (uint32_t i = 0; (entry = gi_top_look_report(t->now, i)); i++) {
        const msgpack_object *pools =
            gi_top_look_get(gi_top_look_get(entry, "report"), "pools");
        for (uint32_t k = 0; k < gi_top_look_size(pools); k++)
            s_pool(t, entry, &pools->via.array.ptr[k]);
    }
}

/* The services of one process tell the same log. */
static bool s_told_before(const gi_top_table_t *t, uint32_t n,
                          const gi_top_cell_t *who) {
    gi_top_cell_t other;
    for (uint32_t i = 0; i < n; i++) {
        s_who(&other, s_process(gi_top_look_report(t->now, i)));
        if (strcmp(other.text, who->text) == 0)
            return true;
    }
    return false;
}

static void s_line(gi_top_table_t *t, const gi_top_cell_t *who,
                   const msgpack_object *line) {
    if (gi_top_look_size(line) != 4)
        return;
    const msgpack_object *part = line->via.array.ptr;
    gi_top_row_t *row = gi_top_tables_row(t);
    if (row == NULL)
        return;
    int64_t ago_ms = part->type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
                             part->via.u64 < INT64_MAX
                         ? part->via.i64
                         : 0;
    gi_top_tables_us(&row->cell[0], 1000 * (double)ago_ms);
    gi_top_tables_text(&row->cell[1], &part[1]);
    row->cell[2] = *who;
    gi_top_tables_text(&row->cell[3], &part[2]);
    gi_top_tables_text(&row->cell[4], &part[3]);
    row->bad = strcasecmp(row->cell[1].text, "error") == 0;
}

void gi_top_reports_log(gi_top_table_t *t) {
    const msgpack_object *entry;
    gi_top_cell_t who;
    for (uint32_t i = 0; (entry = gi_top_look_report(t->now, i)); i++) {
        const msgpack_object *log =
            gi_top_look_get(gi_top_look_get(entry, "report"), "log");
        s_who(&who, s_process(entry));
        if (s_told_before(t, i, &who))
            continue;
        for (uint32_t k = 0; k < gi_top_look_size(log); k++)
            s_line(t, &who, &log->via.array.ptr[k]);
    }
}
