/* SPDX-License-Identifier: BSD-3-Clause */
/* zap_transport.c -- see authority.h.
 *   "" version id domain address identity mechanism credentials...
 *   -> "" version id 200|400 text user metadata
 *
 * A user who proves itself with a key is the name in the broker's own copy of
 * the certificate, or the key; with any key ("*") it proves nobody. Wrong
 * passwords cost tokens, by address and by address and user; without one the
 * question is answered with no, unlooked at. The lock is over the members; the
 * actor holds it while it answers one question. */
#include "security/zap_transport.h"

#include <gaterpc/log.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/bytes.h"
#include "net/actor.h"
#include "sync/clock.h"
#include "net/curve.h"
#include "base/err.h"
#include "rules/guess.h"
#include "security/keys.h"
#include "sync/lock.h"
#include "base/mem.h"
#include "security/zap_impl.h"

#define S_PART "authority"
#define S_ENDPOINT "inproc://zeromq.zap.01"
#define S_MAILBOX 64
#define S_FREE_TRIES 500 /* of 2 ms */
#define S_TEXT_MAX 255
#define S_FRAMES 8 /* before the credentials; the routing id in front */

struct gi_authority {
    gi_authority_t *next;
    char *domain, *users_domain;
    bool any_key;
    gi_keys_t *keys;      /* NULL: none, or any */
    gi_zap_judge_t judge; /* judge.file NULL: no PLAIN */
};

static struct {
    gi_lock_t lock;
    gi_authority_t *members;
    gi_actor_t *actor; /* while there are members */
    /* the actor's own */
    gi_sock_t sock;
    gi_frames_t in, out;
    gi_guesses_t *guesses;
} s_self = {.lock = {PTHREAD_MUTEX_INITIALIZER}};

/* ---- answers ------------------------------------------------------------- */
static void s_answer(const gate_bytes_t *f, const char *user, const char *why) {
    gi_frames_t *out = &s_self.out;
    gi_frames_close(out);
    bool ok = gi_frames_add(out, f[0].data, f[0].size) &&
              gi_frames_add(out, NULL, 0) &&
              gi_frames_add(out, f[2].data, f[2].size) &&
              gi_frames_add(out, f[3].data, f[3].size) &&
              gi_frames_add(out, user ? "200" : "400", 3) &&
              gi_frames_add(out, why, strlen(why)) &&
              gi_frames_add(out, user, user ? strlen(user) : 0) &&
              gi_frames_add(out, NULL, 0);
    if (ok)
        ok = gi_sock_send(&s_self.sock, out) == 0;
    gi_frames_close(out); /* else the handshake's time runs out */
    if (!user)
        gate_log(GATE_WARN, S_PART, "%.*s was refused: %s",
                 (int)(f[5].size < 64 ? f[5].size : 64),
                 f[5].size ? (const char *)f[5].data : "", why);
}

/* ---- CURVE --------------------------------------------------------------- */
/* The user; NULL: it is not let in. */
static const char *s_by_key(gi_authority_t *m, gate_bytes_t key,
                            int64_t now_ms) {
    char text[GI_CURVE_KEY + 1];
    if (m->any_key)
        return "";
    if (!m->keys || key.size != 32 || !zmq_z85_encode(text, key.data, key.size))
        return NULL;
    return gi_keys_find(m->keys, text, now_ms);
}

/* ---- PLAIN --------------------------------------------------------------- */
/* *why when it is not let in. */
static bool s_by_password(gi_authority_t *m, const gate_bytes_t *f,
                          const char *user, const char *password,
                          int64_t now_ms, const char **why) {
    gate_bytes_t name = {user, strlen(user)};
    if (!gi_guesses_may(s_self.guesses, f[5], name, now_ms)) {
        *why = "Too many wrong passwords";
        return false;
    }
    gate_zap_request_t request = {.domain = m->users_domain,
                                  .user = user,
                                  .password = password,
                                  .address = f[5],
                                  .identity = f[6]};
    if (*gi_zap_judge_ask(&m->judge, &request, why) == '2')
        return true;
    gi_guesses_wrong(s_self.guesses, f[5], name, now_ms);
    return false;
}

static void s_plain(gi_authority_t *m, const gate_bytes_t *f, int64_t now_ms) {
    char user[S_TEXT_MAX + 1], password[S_TEXT_MAX + 1];
    const char *why = "Malformed";
    bool yes = false;
    if (!m->judge.file)
        why = "Mechanism not supported";
    else if (gi_bytes_text(f[S_FRAMES], user, sizeof user) &&
             gi_bytes_text(f[S_FRAMES + 1], password, sizeof password))
        yes = s_by_password(m, f, user, password, now_ms, &why);
    explicit_bzero(password, sizeof password);
    s_answer(f, yes ? user : NULL, why);
}

/* ---- a question ---------------------------------------------------------- */
static gi_authority_t *s_find(gate_bytes_t domain) {
    gi_authority_t *m = s_self.members;
    while (m && !gi_bytes_is(domain, m->domain))
        m = m->next;
    return m;
}

static void s_judge(const gate_bytes_t *f, size_t n, int64_t now_ms) {
    gi_authority_t *m = s_find(f[4]);
    if (!m) {
        s_answer(f, NULL, "Invalid domain");
    } else if (n == S_FRAMES + 1 && gi_bytes_is(f[7], "CURVE")) {
        const char *user = s_by_key(m, f[S_FRAMES], now_ms);
        s_answer(f, user, user ? "OK" : "Invalid key");
    } else if (n == S_FRAMES + 2 && gi_bytes_is(f[7], "PLAIN")) {
        s_plain(m, f, now_ms);
    } else {
        s_answer(f, NULL, "Mechanism not supported");
    }
}

static void s_question(int64_t now_ms) {
    gate_bytes_t f[GI_FRAMES_MAX];
    gi_frames_view(&s_self.in, 0, f);
    if (s_self.in.n < S_FRAMES || f[1].size || !gi_bytes_is(f[2], "1.0"))
        return;
    gi_lock(&s_self.lock);
    s_judge(f, s_self.in.n, now_ms);
    gi_unlock(&s_self.lock);
}

/* ---- the actor ----------------------------------------------------------- */
static bool s_work(void *arg, int64_t now_ms) {
    bool any = false;
    int rc;
    (void)arg;
    for (int i = 0; i < 16; i++, any = true) {
        rc = gi_sock_recv(&s_self.sock, &s_self.in, 16);
        if (rc == 0)
            break;
        if (rc > 0)
            s_question(now_ms);
        gi_frames_close(&s_self.in);
    }
    return any;
}

static int64_t s_next(void *arg, int64_t now_ms) {
    (void)arg, (void)now_ms;
    return INT64_MAX;
}

static void s_fds(void *arg, gi_polled_t *polled) {
    (void)arg;
    gi_sock_poll(&s_self.sock, polled);
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    (void)arg, (void)items, (void)n, (void)now_ms; /* nobody has the mailbox */
}

/* An earlier one gives the endpoint back in the background, so one try is not
 * enough. */
static gate_err_t s_bind(void) {
    const struct timespec pause = {0, 2000000};
    int rc = zmq_bind(s_self.sock.raw, S_ENDPOINT);
    for (int i = 0; rc < 0 && errno == EADDRINUSE && i < S_FREE_TRIES; i++) {
        nanosleep(&pause, NULL);
        rc = zmq_bind(s_self.sock.raw, S_ENDPOINT);
    }
    return rc == 0 ? GATE_OK
                   : gi_err(GATE_SYSTEM,
                            S_ENDPOINT " is taken: this process runs an "
                                       "authenticator of its own");
}

static gate_err_t s_start(void *arg) {
    (void)arg;
    s_self.guesses = gi_guesses_new();
    gate_err_t e =
        s_self.guesses
            ? gi_sock_open(&s_self.sock, ZMQ_ROUTER, (gate_bytes_t){"", 0},
                           gi_settings_defaults())
            : gi_err(GATE_NOMEM, "no memory for an authenticator");
    if (!e)
        e = s_bind();
    if (e) {
        gi_sock_close(&s_self.sock);
        gi_guesses_destroy(&s_self.guesses);
    }
    return e;
}

static void s_stop(void *arg) {
    (void)arg;
    zmq_unbind(s_self.sock.raw, S_ENDPOINT); /* at once, unlike close */
    gi_sock_close(&s_self.sock);
    gi_frames_close(&s_self.in);
    gi_guesses_destroy(&s_self.guesses);
}

static const gi_command_t s_commands[] = {{NULL, NULL}};

static const gi_actor_ops_t s_ops = {.name = "gate-authority",
                                     .commands = s_commands,
                                     .start = s_start,
                                     .stop = s_stop,
                                     .mail = s_mail,
                                     .work = s_work,
                                     .next = s_next,
                                     .fds = s_fds};

/* ---- members ------------------------------------------------------------- */
static void s_free(gi_authority_t *m) {
    if (!m)
        return;
    gi_keys_destroy(&m->keys);
    gi_zap_judge_fini(&m->judge);
    gi_mem_free(m->domain);
    gi_mem_free(m->users_domain);
    gi_mem_free(m);
}

static gate_err_t s_fill(gi_authority_t *m, const gi_authority_wish_t *wish) {
    gate_err_t e = GATE_OK;
    m->domain = gi_mem_strdup(wish->domain);
    m->users_domain = gi_mem_strdup(wish->users_domain);
    m->judge.trusts = wish->trusts;
    m->judge.file = wish->users ? gi_mem_strdup(wish->users) : NULL;
    if (!m->domain || !m->users_domain || (wish->users && !m->judge.file))
        return gi_err(GATE_NOMEM, "no memory for an authenticator");
    m->any_key = wish->keys && strcmp(wish->keys, "*") == 0;
    if (wish->keys && !m->any_key)
        e = gi_keys_new(wish->keys, wish->trusts, &m->keys);
    return e ? e : gi_zap_judge_read(&m->judge);
}

/* Over the actor's birth and end, which must not hold the other lock, as its
 * thread takes that. */
static gi_lock_t s_life = {PTHREAD_MUTEX_INITIALIZER};

gate_err_t gi_authority_join(const gi_authority_wish_t *wish,
                             gi_authority_t **out) {
    gi_authority_t *m = gi_mem_calloc(1, sizeof *m);
    if (!m)
        return gi_err(GATE_NOMEM, "no memory for an authenticator");
    gate_err_t e = s_fill(m, wish);
    gi_lock(&s_life);
    if (!e && !s_self.actor)
        e = gi_actor_new(&s_ops, &s_self, S_MAILBOX, &s_self.actor);
    if (!e) {
        gi_lock(&s_self.lock);
        m->next = s_self.members;
        s_self.members = m;
        gi_unlock(&s_self.lock);
    }
    gi_unlock(&s_life);
    if (e)
        s_free(m);
    else
        *out = m;
    return e;
}

void gi_authority_leave(gi_authority_t **self_p) {
    gi_authority_t *self = *self_p, **at = &s_self.members;
    if (!self)
        return;
    *self_p = NULL;
    gi_lock(&s_life);
    gi_lock(&s_self.lock);
    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    bool last = !s_self.members;
    gi_unlock(&s_self.lock);
    if (last)
        gi_actor_destroy(&s_self.actor);
    gi_unlock(&s_life);
    s_free(self);
}
