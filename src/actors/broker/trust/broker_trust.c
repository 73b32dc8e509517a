/* SPDX-License-Identifier: BSD-3-Clause */
/* broker_trust.c -- one peer's credentials: what it has been granted and for how
 * long, which of its messages wait, how often it was wrong. Wrong credentials
 * cost tokens: the peer's, its address's, and its address's for that user. */
#include "broker/trust/broker_trust.h"

#include <string.h>
#include "base/bytes.h"
#include "base/mem.h"

#define S_PASSWORD_MAX 1024
#define S_WAIT_MAX 1024 /* messages of one peer */
#define S_WAIT_ALL (64 * 1024)
#define S_HOLD_MS 50 /* until somebody who guesses is refused */

/* ---- credentials --------------------------------------------------------- */
bool gi_broker_trust_named(gi_frames_t *frames) {
    return frames->n > GI_CREDENTIALS_AT + 2 &&
           gi_bytes_is(gi_frames_at(frames, GI_CREDENTIALS_AT), GI_ZAP_PLAIN) &&
           gi_frames_at(frames, GI_CREDENTIALS_AT + 1).size <=
               GI_CREDENTIALS_USER_MAX &&
           gi_frames_at(frames, GI_CREDENTIALS_AT + 2).size <= S_PASSWORD_MAX;
}

bool gi_broker_trust_same(const gi_secret_t *secret, gi_frames_t *frames) {
    return gi_secret_is(secret, gi_frames_at(frames, GI_CREDENTIALS_AT + 1),
                        gi_frames_at(frames, GI_CREDENTIALS_AT + 2));
}

/* ---- guessing ------------------------------------------------------------ */
gate_bytes_t gi_broker_trust_address(const gi_broker_trust_t *trust) {
    return (gate_bytes_t){trust->address, strlen(trust->address)};
}

bool gi_broker_trust_may_try(gi_broker_core_t *core, gi_broker_trust_t *trust,
                             gi_frames_t *frames) {
    gi_broker_address(core, gi_frames_message(frames, 0), trust->address);
    return gi_bucket_has(&trust->refusals, GI_GUESS_PER_S, GI_GUESS_BURST,
                         core->clock.now_ms) &&
           gi_broker_guess_may(core, gi_broker_trust_address(trust),
                               gi_frames_at(frames, GI_CREDENTIALS_AT + 1),
                               gi_frames_at(frames, GI_CREDENTIALS_AT + 2));
}

void gi_broker_trust_wrong(gi_broker_core_t *core, gi_broker_trust_t *trust) {
    gate_bytes_t user = {trust->asked.data, trust->asked.user_size};
    gi_bucket_take(&trust->refusals, GI_GUESS_PER_S, GI_GUESS_BURST,
                   core->clock.now_ms);
    gi_broker_guess_wrong(core, gi_broker_trust_address(trust), user);
}

/* ---- life ---------------------------------------------------------------- */
gi_broker_trust_t *gi_broker_trust_of(gi_broker_core_t *core,
                                      gi_broker_peer_t *peer) {
    gi_broker_trust_t *trust = peer->trust;
    if (trust)
        return trust;
    trust = gi_mem_calloc(1, sizeof *trust);
    if (trust == NULL) {
        core->count.no_memory++;
        return NULL;
    }
    trust->peer = peer;
    trust->due.due = GI_DUE_ASK;
    gi_list_init(&trust->believed);
    gi_list_init(&trust->judged);
    gi_list_init(&trust->waiting);
    return peer->trust = trust;
}

void gi_broker_trust_unbelieve(gi_broker_core_t *core,
                               gi_broker_trust_t *trust) {
    if (trust->granted.data)
        core->auth.n_believed--;
    gi_list_remove(&trust->believed);
    gi_secret_forget(&trust->granted);
    gi_broker_user_drop(core, trust->user);
    trust->user = NULL;
}

/* From now on what it sends waits. */
void gi_broker_trust_hold(gi_broker_core_t *core, gi_broker_trust_t *trust) {
    if (trust->held)
        return;
    trust->held = true;
    gi_broker_arm(core, &trust->due, core->clock.now_ms + S_HOLD_MS);
}

void gi_broker_trust_release(gi_broker_core_t *core, gi_broker_trust_t *trust) {
    if (!trust->held)
        return;
    trust->held = false;
    gi_broker_disarm(core, &trust->due);
}

/* ---- messages that wait -------------------------------------------------- */
bool gi_broker_trust_wait(gi_broker_core_t *core, gi_broker_trust_t *trust,
                          gi_frames_t *frames, bool first) {
    if (!first &&
        (trust->n_waiting >= S_WAIT_MAX || core->auth.n_waiting >= S_WAIT_ALL ||
         !gi_broker_has_share(core, trust->peer)))
        return false;
    gi_broker_message_t *message =
        gi_broker_message_keep(core, frames, trust->peer);
    if (message == NULL)
        return false;
    if (first)
        gi_list_prepend(&trust->waiting, &message->link);
    else
        gi_list_append(&trust->waiting, &message->link);
    trust->n_waiting++;
    core->auth.n_waiting++;
    core->auth.waiting_bytes += message->weight;
    return true;
}

gi_broker_message_t *gi_broker_trust_first(gi_broker_core_t *core,
                                           gi_broker_trust_t *trust) {
    gi_broker_message_t *message =
        GI_OF(trust->waiting.next, gi_broker_message_t, link);
    gi_list_remove(&message->link);
    trust->n_waiting--;
    core->auth.n_waiting--;
    core->auth.waiting_bytes -= message->weight;
    return message;
}

bool gi_broker_trust_waits(const gi_broker_peer_t *peer) {
    return peer->trust && peer->trust->n_waiting > 0;
}

/* ---- the end, the law ---------------------------------------------------- */
void gi_broker_trust_forget(gi_broker_core_t *core, gi_broker_peer_t *peer) {
    gi_broker_trust_t *trust = peer->trust;
    if (trust == NULL)
        return;
    peer->trust = NULL;
    if (trust->asking)
        gi_broker_trust_wrong(core, trust); /* it did not stay for the answer */
    gi_broker_ask_end(core, trust);
    gi_broker_trust_release(core, trust);
    gi_broker_trust_unbelieve(core, trust);
    gi_secret_forget(&trust->asked);
    gi_list_remove(&trust->judged);
    while (!gi_list_empty(&trust->waiting))
        gi_broker_message_free(core, gi_broker_trust_first(core, trust));
    gi_mem_free(trust);
}

bool gi_broker_trust_valid(const gi_broker_peer_t *peer, size_t *n_waiting,
                           size_t *n_believed, size_t *n_asking) {
    const gi_broker_trust_t *trust = peer->trust;
    if (trust == NULL)
        return true;
    *n_waiting += trust->n_waiting;
    *n_believed += trust->granted.data != NULL;
    *n_asking += trust->asking;
    return trust->peer == peer &&
           (trust->n_waiting > 0) == !gi_list_empty(&trust->waiting) &&
           (trust->granted.data != NULL) == !gi_list_empty(&trust->believed) &&
           trust->n_late <= trust->n_waiting &&
           !(trust->asking && trust->held) &&
           (trust->asking || trust->held) ==
               gi_timer_armed(&trust->due.timer) &&
           (trust->n_waiting == 0 || trust->asking || trust->held);
}
