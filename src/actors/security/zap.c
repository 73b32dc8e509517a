/* SPDX-License-Identifier: BSD-3-Clause */
/* zap.c -- the in-band authentication service (docs/wire.md, ZAP): a ROUTER
 * that answers every well-formed question once and drops the rest.
 *   "" version key domain address identity mechanism user password
 *   -> "" version key 200|400|500 text user metadata */
#include "security/zap_impl.h"

#include <gaterpc/log.h>
#include <gaterpc/value.h>
#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/bytes.h"
#include "net/actor.h"
#include "net/reach.h"
#include "runtime/builder.h"
#include "net/guard.h"
#include "base/err.h"
#include "base/mem.h"
#include "runtime/places.h"
#include "runtime/given.h"
#include "rules/guess.h"
#include "runtime/runtime.h"
#include "sync/clock.h"
#include "net/sock.h"
#include "base/tags.h"
#include "base/trusted.h"

#define S_MAILBOX 64
#define S_FRAMES 10 /* of a question, the routing id in front */
#define S_TEXT_MAX 1024
#define S_ENDPOINT_MAX 256
#define S_FRAMES_MAX 16
#define S_ASKER_MAX 64
#define S_REST_MAX 16             /* times 64 frames */
#define S_QUESTION_MAX (64 << 10) /* bytes; also of all that are unfinished: */
#define S_QUESTIONS_MAX (1 << 20)

typedef struct s_counts {
    uint64_t asked, granted, refused, failed, dropped;
} s_counts_t;

struct gate_zap {
    gate_runtime_t *rt;
    const gate_settings_t *settings;
    gi_builder_t builder;
    char *asked; /* the endpoint as it was named */
    char bound[S_ENDPOINT_MAX];
    gi_zap_judge_t judge;
    gi_actor_t *actor;
    gi_sock_t sock;
    gi_listener_t listener;
    gi_guard_t guard;
    gi_guess_t *guesses; /* wrong ones, by asker and user */
    gi_frames_t in, out;
    s_counts_t count;
};

/* ---- building one -------------------------------------------------------- */
gate_err_t gi_zap_endpoint(const gate_settings_t *s, char *out, size_t room) {
    char path[S_ENDPOINT_MAX];
    gate_err_t e = GATE_OK;
    int n;
    if (s->zap_addr) {
        n = snprintf(out, room, "%s", s->zap_addr);
    } else {
        e = gi_places_run(s, path, sizeof path);
        n = e ? 0 : snprintf(out, room, "ipc://%s/zeromq.zap.01", path);
    }
    return e || n < (int)room
               ? e
               : gi_err(GATE_TOOBIG, "zap_addr: more than %zu bytes", room - 1);
}

static void s_stick(gate_zap_t *self, gate_err_t e) {
    gi_builder_stick(&self->builder, e);
}

static bool s_building(gate_zap_t *self, const char *what) {
    return gi_builder_open(&self->builder, what);
}

static bool s_given(gate_zap_t *self, const char *what, const char *text) {
    gate_err_t e = gi_given("zap", what, text);
    s_stick(self, e);
    return !e;
}

static void s_set_text(gate_zap_t *self, char **to, const char *text) {
    char *copy = gi_mem_strdup(text);
    if (!copy)
        s_stick(self, gi_err(GATE_NOMEM, "zap: no memory"));
    gi_mem_free(*to);
    *to = copy;
}

gate_zap_t *gate_zap_new(gate_runtime_t *rt, const char *endpoint) {
    if (gi_err_null(rt, "gate_zap_new"))
        return NULL;
    char standard[S_ENDPOINT_MAX];
    gate_zap_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self) {
        (void)gi_err(GATE_NOMEM, "no memory for a ZAP service");
        return NULL;
    }
    self->rt = gi_runtime_share(rt);
    self->settings = gi_runtime_settings(rt);
    self->judge.trusts = self->settings->trust_others ? GI_TRUST_OTHERS : 0;
    gi_builder_init(&self->builder, "zap");
    if (!endpoint) {
        s_stick(self,
                gi_zap_endpoint(self->settings, standard, sizeof standard));
        endpoint = gi_builder_error(&self->builder) ? "" : standard;
    }
    s_set_text(self, &self->asked, endpoint);
    if (self->settings->zap_users)
        gate_zap_plain_file(self, self->settings->zap_users);
    return self;
}

void gate_zap_destroy(gate_zap_t **self_p) {
    gate_zap_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    gi_actor_destroy(&self->actor);
    gi_zap_judge_fini(&self->judge);
    gi_builder_fini(&self->builder);
    gi_mem_free(self->asked);
    gi_runtime_release(self->rt);
    gi_mem_free(self);
}

void gate_zap_plain(gate_zap_t *self, const char *domain, const char *user,
                    const char *password) {
    if (gi_err_null(self, "gate_zap_plain"))
        return;
    if (s_building(self, "plain") && s_given(self, "user", user) &&
        s_given(self, "password", password) &&
        (!domain || s_given(self, "domain, or \"*\" for all", domain)))
        s_stick(self, gi_zap_judge_user(&self->judge, domain ? domain : "*",
                                        user, password));
}

void gate_zap_plain_file(gate_zap_t *self, const char *file) {
    if (gi_err_null(self, "gate_zap_plain_file"))
        return;
    if (s_building(self, "plain_file") && s_given(self, "users file", file))
        s_set_text(self, &self->judge.file, file);
}

void gate_zap_check(gate_zap_t *self, gate_zap_check_fn *fn, void *ctx) {
    if (gi_err_null(self, "gate_zap_check"))
        return;
    if (!s_building(self, "check"))
        return;
    if (!fn)
        s_stick(self, gi_err(GATE_BADARG, "zap: no function to check with"));
    self->judge.check = fn;
    self->judge.ctx = ctx;
}

void gate_zap_allow(gate_zap_t *self, const char *address) {
    if (gi_err_null(self, "gate_zap_allow"))
        return;
    if (s_building(self, "allow") &&
        s_given(self, "address or identity (hex)", address))
        s_stick(self, gi_zap_judge_list(&self->judge.allowed, address));
}

void gate_zap_deny(gate_zap_t *self, const char *address) {
    if (gi_err_null(self, "gate_zap_deny"))
        return;
    if (s_building(self, "deny") &&
        s_given(self, "address or identity (hex)", address))
        s_stick(self, gi_zap_judge_list(&self->judge.denied, address));
}

gate_err_t gate_zap_hash(const char *password, char *out, size_t room) {
    if (gi_err_null(out, "gate_zap_hash: where the hash goes"))
        return GATE_BADARG;
    if (gi_err_null(password, "gate_zap_hash: the password"))
        return GATE_BADARG;
    struct crypt_data data = {0};
    char salt[CRYPT_GENSALT_OUTPUT_SIZE];
    if (!password || !*password)
        return gi_err(GATE_BADARG, "an empty password lets everybody in");
    if (!crypt_gensalt_rn(NULL, 0, NULL, 0, salt, sizeof salt))
        return gi_err_errno("crypt: no salt");
    const char *hash = crypt_r(password, salt, &data);
    gate_err_t e = GATE_OK;
    if (!hash || *hash == '*')
        e = gi_err_errno("crypt");
    else if (strlen(hash) >= room)
        e = gi_err(GATE_TOOBIG, "a hash has %zu bytes", strlen(hash));
    else
        strcpy(out, hash);
    explicit_bzero(&data, sizeof data);
    return e;
}

/* ---- one question -------------------------------------------------------- */
/* Who asks, by the connection and not by what the question says, for whom. Of
 * ipc the process is left out ("uid:gid:pid"). */
static size_t s_asker(gate_zap_t *self, char *out, const char *user) {
    const char *at = zmq_msg_gets(&self->in.f[0], "Peer-Address");
    size_t n = at ? strnlen(at, S_ASKER_MAX - 1) : 0;
    const char *process = at && *at == ':' ? strrchr(at, ':') : NULL;
    if (process && process > at)
        n = (size_t)(process - at);
    if (n)
        memcpy(out, at, n);
    out[n] = 0;
    strcpy(out + n + 1, user);
    return n + 1 + strlen(user);
}

static const char *s_judge(gate_zap_t *self, const gate_bytes_t *f,
                           const char **why) {
    char domain[S_TEXT_MAX + 1], user[S_TEXT_MAX + 1], password[S_TEXT_MAX + 1];
    if (!gi_bytes_text(f[4], domain, sizeof domain) ||
        !gi_bytes_text(f[8], user, sizeof user) ||
        !gi_bytes_text(f[9], password, sizeof password)) {
        *why = "Malformed";
        return "400";
    }
    gate_zap_request_t request = {.domain = domain,
                                  .user = user,
                                  .password = password,
                                  .address = f[5],
                                  .identity = f[6]};
    char asker[S_ASKER_MAX + sizeof user];
    size_t n = s_asker(self, asker, user);
    int64_t now_ms = gi_clock_ms();
    const char *status = "400";
    *why = "Too many wrong credentials";
    if (gi_guess_may(self->guesses, asker, n, now_ms)) {
        status = gi_zap_judge_ask(&self->judge, &request, why);
        if (*status == '4')
            gi_guess_wrong(self->guesses, asker, n, now_ms);
    }
    explicit_bzero(password, sizeof password);
    return status;
}

static void s_count(gate_zap_t *self, const char *status) {
    self->count.asked++;
    self->count.granted += *status == '2';
    self->count.refused += *status == '4';
    self->count.failed += *status == '5';
}

static void s_answer(gate_zap_t *self, const gate_bytes_t *f,
                     const char *status, const char *why) {
    gi_frames_t *out = &self->out;
    bool yes = *status == '2';
    gi_frames_close(out);
    bool ok = gi_frames_add(out, f[0].data, f[0].size) &&
              gi_frames_add(out, NULL, 0) &&
              gi_frames_add(out, f[2].data, f[2].size) &&
              gi_frames_add(out, f[3].data, f[3].size) &&
              gi_frames_add(out, status, strlen(status)) &&
              gi_frames_add(out, why, strlen(why)) &&
              gi_frames_add(out, f[8].data, yes ? f[8].size : 0) &&
              gi_frames_add(out, NULL, 0);
    if (!ok || gi_sock_send(&self->sock, out) != 0)
        self->count.dropped++; /* its asker gives up by itself */
    gi_frames_close(out);
}

static void s_question(gate_zap_t *self) {
    gate_bytes_t f[GI_FRAMES_MAX];
    const char *status, *why;
    gi_frames_view(&self->in, 0, f);
    if (self->in.n < 8 || f[1].size ||
        !gi_bytes_is(f[2], self->settings->zap_version)) {
        self->count.dropped++;
        return;
    }
    if (self->in.n != S_FRAMES || !gi_bytes_is(f[7], GI_ZAP_PLAIN)) {
        static const gate_bytes_t nobody = {"", 0};
        gate_bytes_t g[S_FRAMES] = {f[0],   f[1],   f[2],   f[3],   nobody,
                                    nobody, nobody, nobody, nobody, nobody};
        s_count(self, "400");
        s_answer(self, g, "400", "Mechanism not supported");
        return;
    }
    status = s_judge(self, f, &why);
    s_count(self, status);
    s_answer(self, f, status, why);
}

/* ---- the actor ----------------------------------------------------------- */
static void s_read_events(gate_zap_t *self, int64_t now_ms) {
    int event, value;
    while (gi_sock_event(&self->sock, &event, &value))
        if (event == ZMQ_EVENT_ACCEPTED)
            gi_guard_accepted(&self->guard, 0, value, now_ms);
        else if (event == ZMQ_EVENT_ACCEPT_FAILED)
            gi_guard_refused(&self->guard, value);
        else if (event == ZMQ_EVENT_DISCONNECTED)
            gi_guard_closed(&self->guard, 0, value);
}

static void s_received(gate_zap_t *self, int rc) {
    if (rc > 0) {
        gi_guard_delivered(&self->guard, &self->in,
                           gi_frame_srcfd(&self->in.f[0]));
        s_question(self);
    } else if (rc == -1) {
        self->count.dropped++;
    } else if (self->sock.n_rest == S_REST_MAX) {
        gi_guard_cut(&self->guard, self->sock.culprit,
                     "a question of too many frames");
    }
    gi_frames_close(&self->in);
}

static bool s_work(void *arg, int64_t now_ms) {
    gate_zap_t *self = arg;
    int64_t n = 0;
    int rc = -1;
    s_read_events(self, now_ms);
    for (; n < self->settings->batch_max; n++) {
        rc = gi_sock_recv(&self->sock, &self->in, S_FRAMES_MAX);
        if (rc == 0)
            break;
        s_received(self, rc);
    }
    gi_guard_look(&self->guard, rc == 0, 0, now_ms);
    gi_guard_trim(&self->guard, now_ms);
    return n > 0;
}

static int64_t s_next(void *arg, int64_t now_ms) {
    (void)now_ms;
    return gi_guard_next(&((gate_zap_t *)arg)->guard);
}

static void s_fds(void *arg, gi_polled_t *polled) {
    gi_sock_poll(&((gate_zap_t *)arg)->sock, polled);
}

static void s_mail(void *arg, void **items, size_t n, int64_t now_ms) {
    (void)arg, (void)items, (void)n, (void)now_ms; /* nobody has the mailbox */
}

static void s_close(gate_zap_t *self) {
    gi_sock_close(&self->sock);
    gi_listener_close(&self->listener);
    gi_guard_fini(&self->guard);
    gi_guess_destroy(&self->guesses);
}

static gate_err_t s_start(void *arg) {
    gate_zap_t *self = arg;
    gi_guard_bounds_t bounds = {S_QUESTION_MAX, S_QUESTIONS_MAX,
                                S_QUESTION_MAX};
    self->listener = GI_LISTENER_NONE;
    gi_guard_init(&self->guard, self->settings, "zap", bounds, false,
                  gi_clock_ms());
    gate_err_t e = gi_reach_check("zap", self->asked);
    self->guesses = gi_guess_new(GI_GUESS_PER_S, GI_GUESS_BURST);
    if (!e && !self->guesses)
        e = gi_err(GATE_NOMEM, "no memory for a ZAP service");
    if (!e)
        e = gi_sock_open(&self->sock, ZMQ_ROUTER, (gate_bytes_t){"", 0},
                         self->settings);
    if (!e)
        e = gi_sock_watch(&self->sock, ZMQ_EVENT_DISCONNECTED |
                                           ZMQ_EVENT_ACCEPTED |
                                           ZMQ_EVENT_ACCEPT_FAILED);
    if (!e)
        e = gi_sock_bind(&self->sock, self->asked, self->bound,
                         sizeof self->bound, &self->listener);
    if (!e && strncmp(self->asked, "tcp:", 4) == 0)
        gi_guard_listener(&self->guard, self->listener.fd);
    if (!e)
        gi_guard_endpoint(&self->guard, self->bound);
    if (!e && strncmp(self->asked, "ipc:", 4) == 0)
        gi_guard_turns(&self->guard, self->listener.zmq_fd);
    if (!e)
        e = gi_guard_room(&self->guard);
    if (e)
        s_close(self);
    return e;
}

static void s_stop(void *arg) {
    gate_zap_t *self = arg;
    const char *path = gi_ipc_path(self->bound);
    if (path)
        gi_ipc_remove(path, &self->listener.file);
    s_close(self);
    gi_frames_close(&self->in);
    gi_frames_close(&self->out);
}

static gate_err_t s_stats(void *arg, const char *unused, gi_buf_t *out) {
    gate_zap_t *self = arg;
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {{"asked", self->count.asked},
                  {"granted", self->count.granted},
                  {"refused", self->count.refused},
                  {"failed", self->count.failed},
                  {"dropped", self->count.dropped}};
    msgpack_packer pk;
    (void)unused;
    msgpack_packer_init(&pk, out, gi_buf_write);
    msgpack_pack_map(&pk, 5);
    for (size_t i = 0; i < 5; i++) {
        msgpack_pack_str_with_body(&pk, counts[i].name, strlen(counts[i].name));
        msgpack_pack_uint64(&pk, counts[i].n);
    }
    return GATE_OK;
}

static const gi_command_t s_commands[] = {{"STATS", s_stats}, {NULL, NULL}};

static const gi_actor_ops_t s_ops = {.name = "gate-zap",
                                     .commands = s_commands,
                                     .start = s_start,
                                     .stop = s_stop,
                                     .mail = s_mail,
                                     .work = s_work,
                                     .next = s_next,
                                     .fds = s_fds};

gate_err_t gate_zap_start(gate_zap_t *self) {
    if (gi_err_null(self, "gate_zap_start"))
        return GATE_BADARG;
    gate_err_t e = gi_builder_error(&self->builder);
    if (e)
        return e;
    if (self->actor)
        return gi_err(GATE_BADARG, "zap: it runs already");
    e = gate_runtime_start(self->rt);
    if (!e)
        e = gi_zap_judge_read(&self->judge);
    if (!e)
        e = gi_actor_new(&s_ops, self, S_MAILBOX, &self->actor);
    self->builder.over = !e;
    return e;
}

const char *gate_zap_endpoint(const gate_zap_t *self) {
    if (gi_err_null(self, "gate_zap_endpoint"))
        return "";
    return self->bound;
}

gate_value_t *gate_zap_stats(gate_zap_t *self) {
    if (gi_err_null(self, "gate_zap_stats"))
        return NULL;
    gi_buf_t out = {0};
    gate_value_t *value = NULL;
    gate_err_t e = gi_actor_command(self->actor, "STATS", NULL, &out);
    if (!e)
        e = gate_value_decode(out.data, out.size, NULL, &value);
    gi_buf_fini(&out);
    return e ? NULL : value;
}
