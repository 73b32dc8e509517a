/* SPDX-License-Identifier: BSD-3-Clause */
/* zap_impl.h -- the in-band authentication service: the judge, which knows no
 * socket, and the actor that asks it. Thread: the judge is the actor's alone
 * once it runs. */
#ifndef GI_ZAP_IMPL_H
#define GI_ZAP_IMPL_H

#include <gaterpc/zap.h>
#include <sys/stat.h>
#include "net/frames.h"
#include "settings/settings.h"

/* The setting zap_addr, or its default in run_path (which is made). */
gate_err_t gi_zap_endpoint(const gate_settings_t *settings, char *out,
                           size_t room) GATE_MUST;

/* One user of one domain. */
typedef struct gi_zap_user {
    struct gi_zap_user *next;
    bool hashed;                  /* secret is what crypt(3) made */
    char *domain, *name, *secret; /* domain "*" = every one */
} gi_zap_user_t;

typedef struct gi_zap_entry {
    struct gi_zap_entry *next;
    char *text;
} gi_zap_entry_t;

typedef struct gi_zap_judge {
    gi_zap_user_t *users;   /* set by code */
    gi_zap_user_t *of_file; /* read from file */
    char *file;             /* NULL: none */
    struct stat read;       /* what it was when it was read */
    unsigned trusts;        /* GI_TRUST_OTHERS, or 0 */
    int64_t haste_ms;       /* it is not waited for before then */
    gi_zap_entry_t *allowed, *denied;
    gate_zap_check_fn *check;
    void *ctx;
} gi_zap_judge_t;

void gi_zap_judge_fini(gi_zap_judge_t *self);
gate_err_t gi_zap_judge_user(gi_zap_judge_t *self, const char *domain,
                             const char *name, const char *password) GATE_MUST;
void gi_zap_users_free(gi_zap_user_t **list); /* wipes the secrets */
gate_err_t gi_zap_users_add(gi_zap_user_t **list, const char *domain,
                            const char *name, const char *secret,
                            bool hashed) GATE_MUST;
/* A users file's text, which is cut up; file is its name for errors: GATE_BADDATA
 * with the line. What was added before an error stays in the list. */
gate_err_t gi_zap_users_parse(char *text, size_t size, const char *file,
                              gi_zap_user_t **list) GATE_MUST;
gate_err_t gi_zap_judge_list(gi_zap_entry_t **list, const char *text) GATE_MUST;
/* Reads the file if it has changed. An error leaves what was read before. */
gate_err_t gi_zap_judge_read(gi_zap_judge_t *self) GATE_MUST;
/* "200", "400" or "500"; *why gets the status text, static. */
const char *gi_zap_judge_ask(gi_zap_judge_t *self,
                             const gate_zap_request_t *request,
                             const char **why);

#endif
