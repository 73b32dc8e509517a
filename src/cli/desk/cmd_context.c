/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_context.c -- gate context: brokers by name, so that a call of a secured one
 * needs no option. What is added is tried as far as it can be without the broker:
 * the endpoint's form, certificates, the password's file. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "kept/contexts.h"
#include "text/json_arg.h"
#include "text/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "context add NAME --broker EP [OPTION]...\n"
    "       gate context use [NAME] | list | remove NAME",
    "Keeps brokers and who to be there by name, in gate/contexts.json of\n"
    "$XDG_CONFIG_HOME or ~/.config. The one in use is the broker of every "
    "verb\n"
    "that is not told another one by --broker, --context, GATE_BROKER or\n"
    "GATE_CONTEXT; the first one added is in use, 'use' without NAME puts none "
    "in\n"
    "use. Passwords are not kept: name a file, or be asked at the terminal."};

typedef struct s_args {
    gi_peer_t peer;
    gi_words_t words;
    bool json;
} s_args_t;

/* ---- add -------------------------------------------------------------------- */
/* A file is found from any folder then; 0 or 2. */
static int s_absolute(const char **path, char **kept) {
    *kept = NULL;
    if (!*path)
        return 0;
    if (strcmp(*path, "-") == 0)
        return gi_opts_fail(&s_usage, "a context keeps the name of a file, and "
                                      "no standard input");
    *kept = realpath(*path, NULL);
    if (!*kept || access(*kept, R_OK) < 0)
        return gi_opts_fail(&s_usage, "%s: %s", *path, strerror(errno));
    *path = *kept;
    return 0;
}

/* A broker need not be there; one that is may refuse us, who come without the
 * password, and that is not said. */
static int s_try(gi_peer_t *peer) {
    GATE_OWN(gate_settings) settings = gi_peer_settings(peer->config);
    if (settings)
        gate_settings_set(settings, "log_level", "silent");
    gi_peer_t trial = {.broker = peer->broker,
                       .runtime = gi_peer_runtime_of(settings),
                       .auth = {.curve_cert = peer->auth.curve_cert,
                                .curve_server = peer->auth.curve_server}};
    int code = trial.runtime ? gi_peer_connect(&trial) : GI_EXIT_USAGE;
    gi_peer_close(&trial);
    return code;
}

static int s_check_halves(const gi_auth_t *auth) {
    if (auth->password.word || auth->plain_password.word)
        return gi_opts_fail(&s_usage, "passwords are not kept: --password-file "
                                      "FILE, or be asked");
    if (auth->password.file && !auth->user)
        return gi_opts_fail(&s_usage, "--password-file and --user go together");
    if (auth->plain_password.file && !auth->plain_user)
        return gi_opts_fail(
            &s_usage, "--plain-password-file and --plain-user go together");
    if (auth->plain_user && auth->curve_cert)
        return gi_opts_fail(&s_usage, "a connection speaks PLAIN or CURVE: "
                                      "--plain-user or --curve-cert");
    return !auth->curve_cert != !auth->curve_server
               ? gi_opts_fail(&s_usage,
                              "--curve-cert and --curve-server go together")
               : 0;
}

static int s_put(gi_contexts_t *all, const gi_peer_t *peer, const char *name) {
    const gi_auth_t *auth = &peer->auth;
    const char *const values[GI_CONTEXT_FIELDS] = {
        peer->broker,        peer->config,      auth->user,
        auth->password.file, auth->plain_user,  auth->plain_password.file,
        auth->curve_cert,    auth->curve_server};
    bool ok = gi_contexts_put(all, name, values);
    if (ok && !gi_contexts_used(all))
        ok = gi_contexts_use(all, name);
    return ok ? GI_EXIT_OK : gi_opts_fail(&s_usage, "no memory");
}

static int s_add(gi_contexts_t *all, s_args_t *args, const char *name) {
    gi_peer_t *peer = &args->peer;
    const char **files[] = {&peer->config, &peer->auth.password.file,
                            &peer->auth.plain_password.file,
                            &peer->auth.curve_cert, &peer->auth.curve_server};
    enum { FILES = sizeof files / sizeof *files };
    char *kept[FILES] = {NULL};
    if (!gi_contexts_name(name))
        return gi_opts_fail(&s_usage,
                            "'%s': a name is letters, digits, and . "
                            "_ - behind the first one",
                            name);
    if (!peer->broker)
        return gi_opts_fail(&s_usage, "add needs --broker EP");
    int code = s_check_halves(&peer->auth);
    for (size_t i = 0; i < FILES && !code; i++)
        code = s_absolute(files[i], &kept[i]);
    if (!code)
        code = s_try(peer);
    if (!code)
        code = s_put(all, peer, name);
    for (size_t i = 0; i < FILES; i++) {
        if (kept[i])
            *files[i] = NULL;
        free(kept[i]);
    }
    return code;
}

/* ---- list ------------------------------------------------------------------- */
static const gi_column_t s_columns[] = {
    {" ", false}, {"NAME", false}, {"BROKER", false}, {"USER", false}};

typedef struct s_list {
    const gi_contexts_t *all;
    bool json;
    gi_rows_t table;
    size_t n;
} s_list_t;

static bool s_is_used(const gi_contexts_t *all, const char *name) {
    const char *used = gi_contexts_used(all);
    return used && strcmp(used, name) == 0;
}

static void s_print_json(const s_list_t *self, const char *name) {
    printf("%s\"%s\":{\"used\":%s", self->n ? "," : "", name,
           s_is_used(self->all, name) ? "true" : "false");
    for (size_t i = 0; i < GI_CONTEXT_FIELDS; i++) {
        const char *text =
            gi_contexts_get(self->all, name, gi_context_fields[i]);
        if (!text)
            continue;
        printf(",\"%s\":", gi_context_fields[i]);
        gi_json_put(text);
    }
    printf("}");
}

static void s_print(void *ctx, const char *name) {
    s_list_t *self = ctx;
    const char *user = gi_contexts_get(self->all, name, "user");
    if (!user)
        user = gi_contexts_get(self->all, name, "plain-user");
    if (self->json) {
        s_print_json(self, name);
    } else {
        gi_rows_text(&self->table, s_is_used(self->all, name) ? "*" : " ");
        gi_rows_text(&self->table, name);
        gi_rows_text(&self->table, gi_contexts_get(self->all, name, "broker"));
        gi_rows_text(&self->table, user ? user : "-");
    }
    self->n++;
}

static int s_list(const gi_contexts_t *all, bool json) {
    s_list_t list = {.all = all, .json = json};
    if (json)
        putchar('{');
    else
        gi_rows_begin(&list.table, s_columns,
                      sizeof s_columns / sizeof *s_columns);
    gi_contexts_each(all, s_print, &list);
    if (json)
        printf("}\n");
    else
        gi_rows_end(&list.table);
    return GI_EXIT_OK;
}

/* ---- use, remove -------------------------------------------------------------- */
static int s_no_such(const char *name) {
    return gi_opts_fail(&s_usage, "no context '%s': gate context list", name);
}

static int s_use(gi_contexts_t *all, s_args_t *args, const char *name) {
    (void)args;
    if (name && !gi_contexts_has(all, name))
        return s_no_such(name);
    return gi_contexts_use(all, name) ? GI_EXIT_OK
                                      : gi_opts_fail(&s_usage, "no memory");
}

static int s_remove(gi_contexts_t *all, s_args_t *args, const char *name) {
    (void)args;
    if (!gi_contexts_has(all, name))
        return s_no_such(name);
    gi_contexts_remove(all, name);
    return GI_EXIT_OK;
}

/* ---- which ------------------------------------------------------------------ */
static const struct {
    const char *name;
    int (*run)(gi_contexts_t *all, s_args_t *args, const char *name);
    size_t least; /* words behind it; one is the most */
} s_actions[] = {{"add", s_add, 1}, {"use", s_use, 0}, {"remove", s_remove, 1}};

static int s_change(s_args_t *args, size_t i) {
    size_t n = args->words.n - 1;
    if (n < s_actions[i].least || n > 1)
        return gi_opts_fail(&s_usage, "%s one context", s_actions[i].name);
    gi_contexts_t *all = gi_contexts_open(true);
    if (!all)
        return GI_EXIT_USAGE;
    int code = s_actions[i].run(all, args, n ? args->words.items[1] : NULL);
    if (!code && !gi_contexts_save(all))
        code = GI_EXIT_REMOTE;
    gi_contexts_close(&all);
    return code;
}

static int s_run(s_args_t *args) {
    const char *word = args->words.n ? args->words.items[0] : "list";
    for (size_t i = 0; i < sizeof s_actions / sizeof *s_actions; i++)
        if (strcmp(word, s_actions[i].name) == 0)
            return s_change(args, i);
    if (strcmp(word, "list") != 0 || args->words.n > 1)
        return gi_opts_fail(
            &s_usage, "'%s' is none of add, use, list, remove",
            args->words.items[args->words.n > 1 && !strcmp(word, "list")]);
    gi_contexts_t *all = gi_contexts_open(false);
    int code = all ? s_list(all, args->json) : GI_EXIT_USAGE;
    gi_contexts_close(&all);
    return code;
}

int gi_context_main(int argc, char **argv) {
    s_args_t args = {0};
    const gi_opt_t table[] = {
        {"broker", GI_OPT_TEXT, &args.peer.broker, "EP",
         "add: the broker's frontend"},
        {"config", GI_OPT_TEXT, &args.peer.config, "FILE",
         "add: settings (ZPL)"},
        GI_AUTH_OPTS(args.peer.auth),
        {"json", GI_OPT_FLAG, &args.json, NULL, "list: as one line of JSON"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &args.words);
    if (code < 0)
        code = s_run(&args);
    gi_peer_forget(&args.peer.auth);
    gi_words_fini(&args.words);
    return code;
}
