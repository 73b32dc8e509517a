/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_settings.c -- gate settings: what a program with that file and this
 * environment would have, or what a running broker has. */
#include "cli/cli.h"
#include "text/json_arg.h"
#include "text/rows.h"
#include "cli/opts.h"
#include "cli/peer.h"

#include <string.h>

static const gi_usage_t s_usage = {
    "settings [OPTION]...",
    "Prints a line for each setting: name, value, default, where the value\n"
    "comes from (default, file, environment, code), meaning. Of this\n"
    "environment and --config FILE; with --broker EP of the broker there, "
    "which\n"
    "a rule must allow (docs/security.md). Passwords are shown as "
    "***.\n" GI_ROWS_SAYS};

enum { S_MS = 5000 };

typedef struct s_show {
    bool changed, json;
    size_t n; /* printed as JSON */
    gi_rows_t table;
} s_show_t;

static const gi_column_t s_columns[] = {{"SETTING", false},
                                        {"VALUE", false},
                                        {"DEFAULT", false},
                                        {"SOURCE", false},
                                        {"MEANING", false}};

static void s_json_field(const char *name, const char *text, char end) {
    printf("\"%s\":", name);
    gi_json_put(text);
    putchar(end);
}

static void s_print(void *ctx, const gate_setting_t *one) {
    s_show_t *show = ctx;
    if (show->changed && !strcmp(one->source, "default"))
        return;
    if (show->json) {
        fputs(show->n++ ? "," : "", stdout);
        gi_json_put(one->name);
        fputs(":{", stdout);
        s_json_field("value", one->value, ',');
        s_json_field("default", one->usual, ',');
        s_json_field("source", one->source, ',');
        s_json_field("type", one->type, ',');
        s_json_field("doc", one->doc, '}');
        return;
    }
    gi_rows_text(&show->table, one->name);
    gi_rows_text(&show->table, one->value);
    gi_rows_text(&show->table, one->usual);
    gi_rows_text(&show->table, one->source);
    gi_rows_text(&show->table, one->doc);
}

static void s_begin(s_show_t *show) {
    if (show->json)
        putchar('{');
    else
        gi_rows_begin(&show->table, s_columns,
                      sizeof s_columns / sizeof *s_columns);
}

static void s_end(s_show_t *show) {
    if (show->json)
        printf("}\n");
    else
        gi_rows_end(&show->table);
}

static int s_here(const gi_peer_t *peer, s_show_t *show) {
    GATE_OWN(gate_settings) settings = gi_peer_settings(peer->config);
    if (!settings)
        return GI_EXIT_USAGE;
    if (gate_settings_check(settings)) {
        gate_perror("gate");
        return GI_EXIT_USAGE;
    }
    s_begin(show);
    gate_settings_list(settings, s_print, show);
    s_end(show);
    return GI_EXIT_OK;
}

/* A text of a map, for as long as the value lives; "" for anything else. */
static const char *s_text(const msgpack_object *map, const char *name,
                          char *room, size_t size) {
    const msgpack_object *v = gi_json_get(map, name);
    bool text = v && v->type == MSGPACK_OBJECT_STR;
    snprintf(room, size, "%.*s", text ? (int)v->via.str.size : 0,
             text ? v->via.str.ptr : "");
    return room;
}

static void s_print_map(const msgpack_object_kv *kv, s_show_t *show) {
    char name[100], value[4000], usual[1000], source[40], type[200], doc[1000];
    if (kv->key.type != MSGPACK_OBJECT_STR)
        return;
    snprintf(name, sizeof name, "%.*s", (int)kv->key.via.str.size,
             kv->key.via.str.ptr);
    s_print(show,
            &(gate_setting_t){
                .name = name,
                .value = s_text(&kv->val, "value", value, sizeof value),
                .usual = s_text(&kv->val, "default", usual, sizeof usual),
                .source = s_text(&kv->val, "source", source, sizeof source),
                .type = s_text(&kv->val, "type", type, sizeof type),
                .doc = s_text(&kv->val, "doc", doc, sizeof doc)});
}

static int s_there(gi_peer_t *peer, s_show_t *show) {
    GATE_OWN(gate_value) all = NULL;
    int code = gi_peer_open(peer);
    if (code)
        return code;
    gate_err_t e = gate_client_call(peer->client, "Gate.settings", &all,
                                    gate_timeout_ms(S_MS));
    if (e)
        return gi_peer_fail(e, true);
    const msgpack_object *map = gate_value_object(all);
    if (map->type != MSGPACK_OBJECT_MAP) {
        fprintf(stderr, "ValueError: the broker's settings are none\n");
        return GI_EXIT_REMOTE;
    }
    s_begin(show);
    for (uint32_t i = 0; i < map->via.map.size; i++)
        s_print_map(&map->via.map.ptr[i], show);
    s_end(show);
    return GI_EXIT_OK;
}

int gi_settings_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    s_show_t show = {0};
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        {"changed", GI_OPT_FLAG, &show.changed, NULL,
         "only those that were set"},
        {"json", GI_OPT_FLAG, &show.json, NULL, "as one line of JSON"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    bool there = peer.broker || peer.context;
    if (code < 0 && there)
        code = gi_peer_check(&peer, &s_usage);
    if (code < 0) {
        code = there ? s_there(&peer, &show) : s_here(&peer, &show);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    return code;
}
