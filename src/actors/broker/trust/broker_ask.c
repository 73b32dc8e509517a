/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_ask.c -- questions to the authentication service under way: how one is
 * made, and whose an answer is. One per peer at a time. */
#include "broker/trust/broker_trust.h"

#include <string.h>
#include "base/identity.h"

/* ---- asking -------------------------------------------------------------- */
static bool s_remember(gi_secret_t *secret, gi_frames_t *frames) {
    return gi_secret_set(secret, gi_frames_at(frames, GI_CREDENTIALS_AT + 1),
                         gi_frames_at(frames, GI_CREDENTIALS_AT + 2));
}

/* request_id- or worker_command-, and 16 random bytes (wire.md). */
static bool s_add_key(gi_broker_trust_t *trust, gi_frames_t *frames,
                      bool worker, gi_frames_t *out) {
    unsigned char key[8 + GI_ID_MAX + GI_ASK_KEY];
    unsigned at = worker ? 3 : GI_CREDENTIALS_AT + 3;
    gate_bytes_t part =
        frames->n > at ? gi_frames_at(frames, at) : (gate_bytes_t){"", 0};
    size_t n = 0;
    if (worker) {
        memcpy(key, "worker_", 7);
        n = 7;
    }
    if (part.size > GI_ID_MAX)
        part.size = GI_ID_MAX;
    memcpy(key + n, part.data, part.size);
    n += part.size;
    key[n++] = '-';
    gi_random(trust->key, GI_ASK_KEY);
    memcpy(key + n, trust->key, GI_ASK_KEY);
    return gi_frames_add(out, key, n + GI_ASK_KEY);
}

static bool s_compose(gi_broker_core_t *core, gi_broker_trust_t *trust,
                      gi_frames_t *frames) {
    gi_frames_t *out = &core->out;
    const gi_broker_peer_t *peer = trust->peer;
    const char *version = core->settings->zap_version;
    gate_bytes_t user = gi_frames_at(frames, GI_CREDENTIALS_AT + 1),
                 password = gi_frames_at(frames, GI_CREDENTIALS_AT + 2);
    gi_frames_close(out);
    return gi_frames_add(out, NULL, 0) &&
           gi_frames_add(out, version, strlen(version)) &&
           s_add_key(trust, frames, core->sockets[peer->socket].backend, out) &&
           gi_frames_add(out, core->auth.domain, strlen(core->auth.domain)) &&
           gi_frames_add(out, peer->id, peer->id_size) &&
           gi_frames_add(out, peer->id, peer->id_size) &&
           gi_frames_add(out, GI_ZAP_PLAIN, strlen(GI_ZAP_PLAIN)) &&
           gi_frames_add(out, user.data, user.size) &&
           gi_frames_add(out, password.data, password.size);
}

/* False: it cannot be asked. */
bool gi_broker_ask(gi_broker_core_t *core, gi_broker_trust_t *trust,
                   gi_frames_t *frames) {
    bool sent = s_remember(&trust->asked, frames) &&
                s_compose(core, trust, frames) &&
                core->effects->ask(core->ctx, &core->out) == 0;
    gi_frames_close(&core->out);
    if (!sent)
        return false;
    core->count.zap_asked++;
    trust->asking = true;
    trust->verdict = GI_VERDICT_NONE;
    trust->ask.hash = gi_table_hash(core->seed, trust->key, GI_ASK_KEY);
    gi_table_insert(&core->auth.asks, &trust->ask);
    gi_broker_arm(core, &trust->due,
                  core->clock.now_ms +
                      gi_settings_ms(core->settings->zap_reply_timeout));
    return true;
}

/* ---- answers ------------------------------------------------------------- */
void gi_broker_ask_end(gi_broker_core_t *core, gi_broker_trust_t *trust) {
    if (!trust->asking)
        return;
    trust->asking = false;
    gi_table_remove(&core->auth.asks, &trust->ask);
    gi_broker_disarm(core, &trust->due);
}

gi_broker_trust_t *gi_broker_ask_find(gi_broker_core_t *core,
                                      gate_bytes_t key) {
    if (key.size < GI_ASK_KEY)
        return NULL;
    const unsigned char *end =
        (const unsigned char *)key.data + key.size - GI_ASK_KEY;
    uint64_t hash = gi_table_hash(core->seed, end, GI_ASK_KEY);
    for (gi_node_t *n = gi_table_chain(&core->auth.asks, hash); n;
         n = n->next) {
        gi_broker_trust_t *trust = GI_OF(n, gi_broker_trust_t, ask);
        if (n->hash == hash && memcmp(trust->key, end, GI_ASK_KEY) == 0)
            return trust;
    }
    return NULL;
}
