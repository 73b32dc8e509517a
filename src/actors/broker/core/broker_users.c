/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_users.c -- users by name, and what they may do: access rules and
 * rates. A user is remembered for a while after the last mention, so that
 * reconnecting does not fill up its bucket. */
#include "broker/core/broker_users.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "broker/core/broker_calls.h"
#include "broker/core/broker_peers.h"

#define S_IDLE_MAX 4096 /* users remembered without being here */

/* ---- users --------------------------------------------------------------- */
static void s_free(gi_broker_core_t *core, gi_broker_user_t *user) {
    gi_list_remove(&user->idle);
    gi_table_remove(&core->users.table, &user->node);
    gi_mem_free(user);
}

static gi_broker_user_t *s_find(gi_broker_core_t *core, uint64_t hash,
                                gate_bytes_t name) {
    for (gi_node_t *n = gi_table_chain(&core->users.table, hash); n;
         n = n->next) {
        gi_broker_user_t *user = GI_OF(n, gi_broker_user_t, node);
        if (n->hash == hash && user->size == name.size &&
            memcmp(user->name, name.data, name.size) == 0)
            return user;
    }
    return NULL;
}

gi_broker_user_t *gi_broker_user_of(gi_broker_core_t *core, gate_bytes_t name) {
    uint64_t hash = gi_table_hash(core->seed, name.data, name.size);
    gi_broker_user_t *user = s_find(core, hash, name);
    if (user == NULL) {
        user = gi_mem_calloc(1, sizeof *user + name.size + 1);
        if (user == NULL) {
            core->count.no_memory++;
            return NULL;
        }
        memcpy(user->name, name.data, name.size);
        user->size = name.size;
        user->node.hash = hash;
        gi_list_init(&user->idle);
        gi_table_insert(&core->users.table, &user->node);
    }
    if (user->refs++ == 0 && !gi_list_empty(&user->idle)) {
        gi_list_remove(&user->idle);
        core->users.n_idle--;
    }
    return user;
}

gi_broker_user_t *gi_broker_user_share(gi_broker_user_t *user) {
    if (user)
        user->refs++;
    return user;
}

void gi_broker_user_drop(gi_broker_core_t *core, gi_broker_user_t *user) {
    if (user == NULL || --user->refs > 0)
        return;
    gi_list_append(&core->users.idle, &user->idle);
    if (++core->users.n_idle <= S_IDLE_MAX)
        return;
    core->users.n_idle--;
    s_free(core, GI_OF(core->users.idle.next, gi_broker_user_t, idle));
}

void gi_broker_users_fini(gi_broker_core_t *core) {
    gi_broker_user_drop(core, core->users.local);
    core->users.local = NULL;
    while (core->users.idle.next && !gi_list_empty(&core->users.idle))
        s_free(core, GI_OF(core->users.idle.next, gi_broker_user_t, idle));
    gi_table_fini(&core->users.table);
}

gi_broker_user_t *gi_broker_transport_user(gi_broker_core_t *core,
                                           gi_broker_peer_t *peer,
                                           zmq_msg_t *frame) {
    const char *name =
        core->effects->user
            ? core->effects->user(core->ctx, frame, core->clock.now_ms)
            : "";
    if (peer->user ? strcmp(peer->user->name, name) == 0 : *name == 0)
        return peer->user;
    gi_broker_user_drop(core, peer->user);
    peer->user =
        *name ? gi_broker_user_of(core, (gate_bytes_t){name, strlen(name)})
              : NULL;
    return peer->user;
}

/* ---- rules --------------------------------------------------------------- */
bool gi_broker_may(gi_broker_core_t *core, gi_broker_peer_t *client,
                   gate_bytes_t service, gate_bytes_t id, gate_bytes_t func) {
    gate_bytes_t method;
    char text[4 * GI_ID_MAX], name[GI_ID_MAX + 1], where[GI_ID_MAX + 1];
    gate_err_t e = gi_rpc_parse_func(func, &method);
    if (e != GATE_OK) {
        gi_broker_refuse(core, client, service, id, gi_err_class(e),
                         gate_error()->text);
        return false;
    }
    const char *user = core->users.current ? core->users.current->name : "";
    if (gi_access_allows(core->users.access, user, service, method))
        return true;
    core->count.denied++;
    gi_broker_text(name, method);
    gi_broker_text(where, service);
    snprintf(text, sizeof text, "%s%s may not call %s.%s.",
             *user ? "User " : "Who is not authenticated", user, where, name);
    gi_broker_refuse(core, client, service, id, "AccessDeniedError", text);
    return false;
}

/* Somebody's processes: this one's, and those of our own user. With a name they
 * are judged by it. */
static bool s_is_ours(gi_broker_core_t *core, const gi_broker_peer_t *client) {
    const gi_broker_user_t *user = core->users.current;
    if (user && user != core->users.local)
        return false;
    return !core->effects->ours ||
           (!client->closed && core->effects->ours(core->ctx, client->srcfd));
}

bool gi_broker_may_administer(gi_broker_core_t *core, gi_broker_peer_t *client,
                              gate_bytes_t service, gate_bytes_t id,
                              gate_bytes_t method) {
    const char *user = core->users.current ? core->users.current->name : "";
    char text[4 * GI_ID_MAX], where[GI_ID_MAX + 1];
    bool allow = false;
    if (gi_access_says(core->users.access, user, service, method, &allow)
            ? allow
            : s_is_ours(core, client))
        return true;
    core->count.denied++;
    gi_broker_text(where, service);
    snprintf(text, sizeof text,
             "%s%s may not call %s.%.*s: a rule must allow it (access = "
             "\"allow %s %s.%.*s\"), or who is not authenticated be a local "
             "process of the broker's user.",
             *user ? "User " : "Who is not authenticated", user, where,
             (int)method.size, (const char *)method.data, *user ? user : "-",
             where, (int)method.size, (const char *)method.data);
    gi_broker_refuse(core, client, service, id, "AccessDeniedError", text);
    return false;
}

static bool s_take(gi_bucket_t *bucket, int64_t per_s, int64_t now_ms) {
    return per_s == 0 ||
           gi_bucket_take(bucket, (double)per_s, (double)per_s, now_ms);
}

bool gi_broker_rate(gi_broker_core_t *core, gi_broker_peer_t *client,
                    gate_bytes_t service, gate_bytes_t id) {
    const gate_settings_t *s = core->settings;
    char text[GI_ID_MAX + 96];
    if (!s_take(&client->rate, s->rate_limit_peer, core->clock.now_ms)) {
        core->count.peer_rates++;
        snprintf(text, sizeof text,
                 "More than rate_limit_peer = %lld calls/s of one client.",
                 (long long)s->rate_limit_peer);
    } else if (core->users.current &&
               !s_take(&core->users.current->bucket, s->rate_limit_user,
                       core->clock.now_ms)) {
        core->count.user_rates++;
        snprintf(text, sizeof text,
                 "More than rate_limit_user = %lld calls/s of user %s.",
                 (long long)s->rate_limit_user, core->users.current->name);
    } else {
        return true;
    }
    gi_broker_refuse(core, client, service, id, "BusyWorkerError", text);
    return false;
}

/* ---- guessing ------------------------------------------------------------ */
void gi_broker_address(gi_broker_core_t *core, zmq_msg_t *frame,
                       char to[GI_ADDRESS_MAX + 1]) {
    const char *at =
        core->effects->address ? core->effects->address(core->ctx, frame) : "";
    size_t n = strnlen(at, GI_ADDRESS_MAX);
    if (n == 0) /* a message that has waited does not say any more */
        return;
    const char *process = *at == ':' ? strrchr(at, ':') : NULL;
    if (process && process > at)
        n = (size_t)(process - at);
    memcpy(to, at, n);
    to[n] = 0;
}

bool gi_broker_guess_may(gi_broker_core_t *core, gate_bytes_t address,
                         gate_bytes_t user, gate_bytes_t password) {
    gi_guesses_t *guesses = core->auth.guesses;
    return address.size == 0 ||
           gi_guesses_may(guesses, address, user, core->clock.now_ms) ||
           gi_guess_was_right(guesses, address, user, password,
                              core->clock.now_ms);
}

void gi_broker_guess_wrong(gi_broker_core_t *core, gate_bytes_t address,
                           gate_bytes_t user) {
    if (address.size > 0)
        gi_guesses_wrong(core->auth.guesses, address, user, core->clock.now_ms);
}

void gi_broker_guess_right(gi_broker_core_t *core, gate_bytes_t address,
                           const gi_secret_t *secret) {
    size_t at = secret->user_size + 1;
    gate_bytes_t user = {secret->data, secret->user_size},
                 password = {secret->data + at, secret->size - at};
    if (address.size > 0)
        gi_guess_right(core->auth.guesses, address, user, password,
                       core->clock.now_ms);
}

bool gi_broker_guess_may_tell(gi_broker_core_t *core, gate_bytes_t address,
                              gate_bytes_t who) {
    char key[GI_ADDRESS_MAX + 1 + GI_ID_MAX];
    size_t n = address.size + 1;
    memcpy(key, address.data, n); /* with its NUL */
    memcpy(key + n, who.data, who.size);
    n += who.size;
    if (!gi_guess_may(core->auth.told, key, n, core->clock.now_ms))
        return false;
    gi_guess_wrong(core->auth.told, key, n, core->clock.now_ms);
    return true;
}
