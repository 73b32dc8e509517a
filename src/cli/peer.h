/* SPDX-License-Identifier: BSD-3-Clause */
/* peer.h -- what call, services, inspect and serve have in common: settings,
 * credentials, a connected client, and errors as people read them. */
#ifndef GI_PEER_H
#define GI_PEER_H

#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/credential.h"
#include "kept/contexts.h"

typedef struct gi_auth {
    const char *user;                      /* in-band PLAIN */
    gi_credential_t password;              /* its own */
    const char *curve_cert, *curve_server; /* files */
    const char *plain_user;                /* of the transport */
    gi_credential_t plain_password;
    gi_contexts_t *contexts; /* whose texts some of these are; NULL */
} gi_auth_t;

#define GI_AUTH_OPTS(a)                                                        \
    {"user", GI_OPT_TEXT, &(a).user, "U", "user of in-band PLAIN"},            \
        {"password", GI_OPT_SECRET, &(a).password.word, "P",                   \
         "its password; better:"},                                             \
        {"password-file", GI_OPT_TEXT, &(a).password.file, "FILE",             \
         "with the password in it, or a credential of systemd; -: stdin; "     \
         "neither: asked at a terminal"},                                      \
        {"plain-user", GI_OPT_TEXT, &(a).plain_user, "U",                      \
         "user of PLAIN by the transport"},                                    \
        {"plain-password", GI_OPT_SECRET, &(a).plain_password.word, "P",       \
         "its password; better:"},                                             \
        {"plain-password-file", GI_OPT_TEXT, &(a).plain_password.file, "FILE", \
         "as --password-file"},                                                \
        {"curve-cert", GI_OPT_TEXT, &(a).curve_cert, "FILE",                   \
         "our CURVE certificate"},                                             \
    {                                                                          \
        "curve-server", GI_OPT_TEXT, &(a).curve_server, "FILE",                \
            "the server's public CURVE certificate"                            \
    }

/* One connection to a broker, from flags to client. */
typedef struct gi_peer {
    const char *broker;  /* as an option said; then as gi_peer_check decided */
    const char *context; /* the same */
    const char *config;
    int64_t wait_ms; /* 0: not for one that is known not to be there */
    gi_auth_t auth;
    gate_runtime_t *runtime;
    gate_client_t *client;
} gi_peer_t;

#define GI_PEER_OPTS(p)                                                        \
    {"broker", GI_OPT_TEXT, &(p).broker, "EP",                                 \
     "the broker's frontend (GATE_BROKER, the context in use, or " GI_FRONTEND \
     ")"},                                                                     \
        {"context", GI_OPT_TEXT, &(p).context, "NAME",                         \
         "the broker and who to be there, as gate context keeps them"},        \
        {"wait", GI_OPT_NUMBER, &(p).wait_ms, "MS",                            \
         "so long for a broker that is just being started; call: also for "    \
         "its "                                                                \
         "service"},                                                           \
        {"config", GI_OPT_TEXT, &(p).config, "FILE", "settings (ZPL)"},        \
        GI_AUTH_OPTS((p).auth)

/* Gets passwords that are not there yet, and reports halves of credential
 * pairs: an exit code then, else -1. config: settings file, or NULL. */
int gi_auth_check(gi_auth_t *auth, const char *config, const gi_usage_t *usage);
/* The same behind the decision which broker is meant: --broker or GATE_BROKER
 * (alone: nobody's password goes to another one's broker), --context,
 * GATE_CONTEXT or the context in use with whatever options leave open, or
 * GI_FRONTEND. */
int gi_peer_check(gi_peer_t *self, const gi_usage_t *usage);
void gi_peer_forget(gi_auth_t *auth);
/* A runtime from defaults, file (may be NULL) and environment; NULL after
 * saying why. */
gate_runtime_t *gi_peer_runtime(const char *config);
/* The same of settings that were made; NULL gives NULL. */
gate_runtime_t *gi_peer_runtime_of(gate_settings_t *settings);
/* Settings from the same; NULL after saying why. */
gate_settings_t *gi_peer_settings(const char *config);
/* Borrows: the setting worker_addr, or the default backend. */
const char *gi_peer_backend(const gate_runtime_t *runtime);
/* Connects and waits up to 3 s for the broker, or --wait; not for one where
 * nothing listens, without that. 0, else the exit code after saying why. */
int gi_peer_open(gi_peer_t *self);
/* The same without waiting: what is wrong with endpoint or files is known. A
 * runtime that is there already is used. */
int gi_peer_connect(gi_peer_t *self);
void gi_peer_close(gi_peer_t *self);
/* Prints gate_error() as "Class: message" and a remote traceback; returns the
 * exit code. remote: the request had left, so the answer is the peer's. */
int gi_peer_fail(gate_err_t e, bool remote);

#endif
