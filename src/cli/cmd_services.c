/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_services.c -- gate services. */
#include "cli/cli.h"
#include "text/clean.h"
#include "text/json_arg.h"
#include "text/rows.h"
#include "cli/opts.h"
#include "cli/peer.h"

#include <stdio.h>

static const gi_usage_t s_usage = {
    "services [OPTION]...",
    "Prints the names of a broker's services, one a line. With --stats also\n"
    "workers, credit, queued, oldest (ms), calls, errors, and how many of the\n"
    "workers are here and how many at other brokers;\n"
    "with --workers a line for each worker: service, id (for 'gate drain'),\n"
    "calls in flight, the most it takes, ms since it spoke, "
    "state.\n" GI_ROWS_SAYS};

enum { S_STATS_MS = 5000 };

static int s_names(gate_client_t *client) {
    GATE_OWN(gate_value) names = NULL;
    gate_err_t e = gate_client_services(client, &names);
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *list = gate_value_object(names);
    if (list->type != MSGPACK_OBJECT_ARRAY) {
        fprintf(stderr, "ValueError: the broker's list of names is none\n");
        return GI_EXIT_REMOTE;
    }
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object *name = &list->via.array.ptr[i];
        if (name->type != MSGPACK_OBJECT_STR)
            continue;
        gi_clean_put(stdout, name->via.str.ptr, name->via.str.size, false);
        putchar('\n');
    }
    return GI_EXIT_OK;
}

static bool s_number(const msgpack_object *v) {
    return v && (v->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
                 v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER);
}

static int64_t s_of(const msgpack_object *map, const char *name) {
    const msgpack_object *v = gi_json_get(map, name);
    return s_number(v) ? v->via.i64 : 0;
}

static const gi_column_t s_stats_columns[] = {
    {"SERVICE", false}, {"WORKERS", true},   {"CREDIT", true},
    {"QUEUED", true},   {"OLDEST ms", true}, {"CALLS", true},
    {"ERRORS", true},   {"LOCAL", true},     {"FAR", true}};

static void s_print_stats(gi_rows_t *table, const msgpack_object *name,
                          const msgpack_object *numbers) {
    static const char *const columns[] = {"workers",   "credit", "queued",
                                          "oldest_ms", "calls",  "errors"};
    gi_rows_object(table, name);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        if (s_number(gi_json_get(numbers, columns[i])))
            gi_rows_number(table, s_of(numbers, columns[i]));
        else
            gi_rows_text(table, "-");
    }
    int64_t far = s_of(numbers, "far");
    gi_rows_number(table, s_of(numbers, "workers") - far);
    gi_rows_number(table, far);
}

static int s_stats(gate_client_t *client) {
    GATE_OWN(gate_value) stats = NULL;
    gate_err_t e = gate_client_call(client, "Gate.stats", &stats,
                                    gate_timeout_ms(S_STATS_MS));
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *services =
        gi_json_get(gate_value_object(stats), "services");
    if (!services || services->type != MSGPACK_OBJECT_MAP) {
        fprintf(stderr, "ValueError: the broker's statistics are none\n");
        return GI_EXIT_REMOTE;
    }
    gi_rows_t table;
    gi_rows_begin(&table, s_stats_columns,
                  sizeof s_stats_columns / sizeof *s_stats_columns);
    for (uint32_t i = 0; i < services->via.map.size; i++)
        if (services->via.map.ptr[i].key.type == MSGPACK_OBJECT_STR)
            s_print_stats(&table, &services->via.map.ptr[i].key,
                          &services->via.map.ptr[i].val);
    gi_rows_end(&table);
    return GI_EXIT_OK;
}

static bool s_flag(const msgpack_object *map, const char *name) {
    const msgpack_object *v = gi_json_get(map, name);
    return v && v->type == MSGPACK_OBJECT_BOOLEAN && v->via.boolean;
}

static const gi_column_t s_workers_columns[] = {
    {"SERVICE", false}, {"WORKER", false},   {"IN FLIGHT", true},
    {"MAX", true},      {"SILENT ms", true}, {"STATE", false}};

static void s_print_worker(gi_rows_t *table, const char *service,
                           const msgpack_object_kv *w) {
    gi_rows_text(table, service);
    gi_rows_object(table, &w->key);
    gi_rows_number(table, s_of(&w->val, "in_flight"));
    gi_rows_number(table, s_of(&w->val, "max"));
    gi_rows_number(table, s_of(&w->val, "silent_ms"));
    gi_rows_text(table, s_flag(&w->val, "draining") ? "draining"
                        : s_flag(&w->val, "ext")    ? "up"
                                                    : "up (plain)");
}

static int s_workers_of(gate_client_t *client, const char *service,
                        gi_rows_t *table) {
    GATE_OWN(gate_value) workers = NULL;
    gate_err_t e = gate_client_call(client, "Gate.workers", &workers, service,
                                    gate_timeout_ms(S_STATS_MS));
    if (e == GATE_NOSERVICE) /* the broker's own, or just gone */
        return GI_EXIT_OK;
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *map = gate_value_object(workers);
    for (uint32_t i = 0;
         map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++)
        if (map->via.map.ptr[i].key.type == MSGPACK_OBJECT_STR)
            s_print_worker(table, service, &map->via.map.ptr[i]);
    return GI_EXIT_OK;
}

static int s_workers(gate_client_t *client) {
    GATE_OWN(gate_value) names = NULL;
    char service[256];
    int code = GI_EXIT_OK;
    gate_err_t e = gate_client_services(client, &names);
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *list = gate_value_object(names);
    gi_rows_t table;
    gi_rows_begin(&table, s_workers_columns,
                  sizeof s_workers_columns / sizeof *s_workers_columns);
    for (uint32_t i = 0; list->type == MSGPACK_OBJECT_ARRAY &&
                         i < list->via.array.size && !code;
         i++) {
        const msgpack_object *name = &list->via.array.ptr[i];
        if (name->type != MSGPACK_OBJECT_STR ||
            name->via.str.size >= sizeof service)
            continue;
        snprintf(service, sizeof service, "%.*s", (int)name->via.str.size,
                 name->via.str.ptr);
        code = s_workers_of(client, service, &table);
    }
    gi_rows_end(&table);
    return code;
}

static int s_json(gate_client_t *client, bool stats, bool workers) {
    GATE_OWN(gate_value) all = NULL;
    gate_err_t e = stats     ? gate_client_call(client, "Gate.stats", &all,
                                                gate_timeout_ms(S_STATS_MS))
                   : workers ? gate_client_call(client, "Gate.observe", &all,
                                                gate_list("workers"),
                                                gate_timeout_ms(S_STATS_MS))
                             : gate_client_services(client, &all);
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *part = gate_value_object(all);
    if (stats || workers)
        part = gi_json_get(part, stats ? "services" : "workers");
    return part && gi_json_print(part) ? GI_EXIT_OK : GI_EXIT_REMOTE;
}

int gi_services_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    bool stats = false, workers = false, json = false;
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        {"stats", GI_OPT_FLAG, &stats, NULL, "with numbers"},
        {"workers", GI_OPT_FLAG, &workers, NULL, "each worker"},
        {"json", GI_OPT_FLAG, &json, NULL, "as one line of JSON"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0)
        code = stats && workers
                   ? gi_opts_fail(&s_usage, "--stats or --workers, not both")
                   : gi_peer_check(&peer, &s_usage);
    if (code < 0) {
        code = gi_peer_open(&peer);
        if (!code)
            code = json      ? s_json(peer.client, stats, workers)
                   : stats   ? s_stats(peer.client)
                   : workers ? s_workers(peer.client)
                             : s_names(peer.client);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    return code;
}
