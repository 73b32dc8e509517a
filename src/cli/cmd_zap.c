/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_zap.c -- gate zap: the in-band authentication service as a process. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "cli/opts.h"
#include "cli/peer.h"

#include <stdlib.h>
#include <string.h>

static const gi_usage_t s_usage = {
    "zap [OPTION]...",
    "Answers brokers who ask about users and passwords (PLAIN). Prints\n"
    "'ready zap=EP' once bound. A users file has lines user:hash[:domain] and\n"
    "is read again when it changes. SIGTERM or SIGINT ends it."};

typedef struct s_args {
    const char *config, *bind, *user, *domain, *users;
    gi_credential_t password, hash;
    gi_words_t allow, deny;
} s_args_t;

static int s_hash(s_args_t *args) {
    char hash[256];
    bool asked = strcmp(args->hash.word, "-") == 0;
    int code = asked ? gi_credential_ask(&args->hash, &s_usage) : -1;
    if (code >= 0)
        return code;
    gate_err_t e = gate_zap_hash(args->hash.word, hash, sizeof hash);
    if (e)
        return gi_peer_fail(e, false);
    printf("%s\n", hash);
    return GI_EXIT_OK;
}

static void s_setup(gate_zap_t *zap, const s_args_t *args) {
    if (args->user)
        gate_zap_plain(zap, args->domain, args->user, args->password.word);
    if (args->users)
        gate_zap_plain_file(zap, args->users);
    for (size_t i = 0; i < args->allow.n; i++)
        gate_zap_allow(zap, args->allow.items[i]);
    for (size_t i = 0; i < args->deny.n; i++)
        gate_zap_deny(zap, args->deny.items[i]);
}

static void s_print_ready(const gate_zap_t *zap) {
    char *line = NULL;
    if (asprintf(&line, "ready zap=%s\n", gate_zap_endpoint(zap)) < 0)
        return;
    gi_main_ready(line);
    free(line);
}

static int s_run(const s_args_t *args) {
    gi_interrupt_stay();
    GATE_OWN(gate_runtime) runtime = gi_peer_runtime(args->config);
    if (!runtime)
        return GI_EXIT_USAGE;
    GATE_OWN(gate_zap) zap = gate_zap_new(runtime, args->bind);
    if (!zap)
        return gi_peer_fail(GATE_NOMEM, false);
    s_setup(zap, args);
    gate_err_t e = gate_zap_start(zap);
    if (e)
        return gi_peer_fail(e, false);
    s_print_ready(zap);
    return gate_runtime_wait(runtime);
}

static int s_check(s_args_t *args) {
    if (args->hash.word)
        return s_hash(args);
    int code = gi_credential_get(&args->password, args->user, "password",
                                 args->config, &s_usage);
    return code >= 0 ? code : s_run(args);
}

int gi_zap_main(int argc, char **argv) {
    s_args_t args = {.domain = "*"};
    const gi_opt_t table[] = {
        {"config", GI_OPT_TEXT, &args.config, "FILE",
         "settings (ZPL): zap_addr, zap_users, ..."},
        {"bind", GI_OPT_TEXT, &args.bind, "EP", "where (setting zap_addr)"},
        {"users", GI_OPT_TEXT, &args.users, "FILE",
         "users and hashed passwords (setting zap_users)"},
        {"user", GI_OPT_TEXT, &args.user, "U", "lets one user in"},
        {"password", GI_OPT_SECRET, &args.password.word, "P",
         "its password; better:"},
        {"password-file", GI_OPT_TEXT, &args.password.file, "FILE",
         "with the password in it, or a credential of systemd; -: stdin; "
         "neither: asked at a terminal"},
        {"domain", GI_OPT_TEXT, &args.domain, "NAME",
         "in this domain only (*: any)"},
        {"allow", GI_OPT_MANY, &args.allow, "ADDRESS",
         "address or identity (hex) let in, no other; may be repeated"},
        {"deny", GI_OPT_MANY, &args.deny, "ADDRESS",
         "address or identity (hex) kept out; may be repeated"},
        {"hash", GI_OPT_ASKED, &args.hash.word, "[P]",
         "only print a password's hash for a users file; without P: of a line "
         "of stdin, or asked at a terminal"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0)
        code = s_check(&args);
    gi_credential_fini(&args.password);
    gi_credential_fini(&args.hash);
    gi_words_fini(&args.allow);
    gi_words_fini(&args.deny);
    return code;
}
