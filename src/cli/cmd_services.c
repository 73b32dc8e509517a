/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_services.c -- gate services. */
#include "cli/cli.h"
#include "text/clean.h"
#include "text/json_arg.h"
#include "cli/opts.h"
#include "cli/peer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "services [OPTION]...",
    "Prints the names of a broker's services, one a line. With --stats also\n"
    "workers, credit, queued, oldest (ms), calls, errors, and how many of the\n"
    "workers are here and how many at other brokers, tab-separated;\n"
    "with --workers a line for each worker: service, id (for 'gate drain'),\n"
    "calls in flight, the most it takes, ms since it spoke, state. With "
    "--json\n"
    "all of it as one line of JSON."};

enum { S_STATS_MS = 5000 };

/* One a line, and fields by tabs: neither is in a name that is printed. */
static void s_name(const msgpack_object_str *name, char end) {
    gi_clean_put(stdout, name->ptr, name->size, false);
    putchar(end);
}

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
        if (name->type == MSGPACK_OBJECT_STR)
            s_name(&name->via.str, '\n');
    }
    return GI_EXIT_OK;
}

static int64_t s_of(const msgpack_object *map, const char *name) {
    const msgpack_object *v = gi_json_get(map, name);
    return v && (v->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
                 v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
               ? v->via.i64
               : 0;
}

static void s_print_stats(const msgpack_object *name,
                          const msgpack_object *numbers) {
    static const char *const columns[] = {"workers",   "credit", "queued",
                                          "oldest_ms", "calls",  "errors"};
    gi_clean_put(stdout, name->via.str.ptr, name->via.str.size, false);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        const msgpack_object *v = gi_json_get(numbers, columns[i]);
        if (v && v->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
            printf("\t%" PRIu64, v->via.u64);
        else if (v && v->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
            printf("\t%" PRId64, v->via.i64);
        else
            printf("\t-");
    }
    int64_t far = s_of(numbers, "far");
    printf("\t%" PRId64 "\t%" PRId64 "\n", s_of(numbers, "workers") - far, far);
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
    if (isatty(STDOUT_FILENO))
        printf("name\tworkers\tcredit\tqueued\toldest\tcalls\terrors"
               "\tlocal\tfar\n");
    for (uint32_t i = 0; i < services->via.map.size; i++)
        if (services->via.map.ptr[i].key.type == MSGPACK_OBJECT_STR)
            s_print_stats(&services->via.map.ptr[i].key,
                          &services->via.map.ptr[i].val);
    return GI_EXIT_OK;
}

static bool s_flag(const msgpack_object *map, const char *name) {
    const msgpack_object *v = gi_json_get(map, name);
    return v && v->type == MSGPACK_OBJECT_BOOLEAN && v->via.boolean;
}

static void s_print_worker(const char *service, const msgpack_object_kv *w) {
    gi_clean_put(stdout, service, strlen(service), false);
    putchar('\t');
    s_name(&w->key.via.str, '\t');
    printf("%" PRId64 "\t%" PRId64 "\t%" PRId64 "\t%s\n",
           s_of(&w->val, "in_flight"), s_of(&w->val, "max"),
           s_of(&w->val, "silent_ms"),
           s_flag(&w->val, "draining") ? "draining"
           : s_flag(&w->val, "ext")    ? "up"
                                       : "up (plain)");
}

static int s_workers_of(gate_client_t *client, const char *service) {
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
            s_print_worker(service, &map->via.map.ptr[i]);
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
    if (isatty(STDOUT_FILENO))
        printf("name\tworker\tin flight\tmax\tsilent\tstate\n");
    for (uint32_t i = 0; list->type == MSGPACK_OBJECT_ARRAY &&
                         i < list->via.array.size && !code;
         i++) {
        const msgpack_object *name = &list->via.array.ptr[i];
        if (name->type != MSGPACK_OBJECT_STR ||
            name->via.str.size >= sizeof service)
            continue;
        snprintf(service, sizeof service, "%.*s", (int)name->via.str.size,
                 name->via.str.ptr);
        code = s_workers_of(client, service);
    }
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
    char *json = part ? gate_object_json(part) : NULL;
    if (json)
        puts(json);
    free(json);
    return json ? GI_EXIT_OK : GI_EXIT_REMOTE;
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
