/* SPDX-License-Identifier: BSD-3-Clause */
/* monitor.c -- libmicrohttpd around the answers: who may ask, for what, how
 * much. Each check is one function, and all come before anything is looked at. */
#include "monitor/monitor.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S_CONNECTIONS 64u
#define S_EACH 16u      /* of one address */
#define S_MEMORY 16384u /* of a connection: headers */
#define S_IDLE_S 10u
#define S_URL_MAX 1024
#define S_TOKEN_MIN 16
#define S_HELD_MAX (16u << 20) /* of answers that are not read yet */

struct gi_monitor {
    gi_listen_t listen;
    gi_look_t look;
    struct MHD_Daemon *daemon;
    char token[GATE_PASSWORD_MAX + 1]; /* "": none is asked for */
    bool open_health;                  /* without a token */
    char hosts[512];                   /* further names, " a b " */
    char csp[GI_PAGE_CSP_MAX], etag[GI_PAGE_ETAG_MAX]; /* of the page */
    size_t held;                            /* bytes of bodies that are there */
    struct MHD_Response *shared[GI_SHARED]; /* NULL: not made yet */
    int64_t shared_ms;                      /* of the look that they are of */
};

/* A body, for as long as somebody reads it. */
typedef struct s_body {
    gi_monitor_t *monitor;
    char *text;
    size_t size;
} s_body_t;

/* ---- answers ------------------------------------------------------------- */
static void s_header(struct MHD_Response *r, const char *name,
                     const char *value) {
    MHD_add_response_header(r, name, value);
}

/* What every answer says, whatever it is. */
static void s_harden(const gi_monitor_t *self, struct MHD_Response *r,
                     bool page) {
    s_header(r, "Content-Security-Policy",
             page ? self->csp : "default-src 'none'; frame-ancestors 'none'");
    s_header(r, "X-Content-Type-Options", "nosniff");
    s_header(r, "Referrer-Policy", "no-referrer");
    s_header(r, "Cache-Control", page ? "no-cache" : "no-store");
    s_header(r, "Cross-Origin-Resource-Policy", "same-origin");
}

static void s_body_free(void *ctx) {
    s_body_t *body = ctx;
    body->monitor->held -= body->size;
    free(body->text);
    free(body);
}

/* Takes the answer's body. */
static struct MHD_Response *s_response(gi_monitor_t *self,
                                       const gi_answer_t *answer) {
    if (answer->body == NULL)
        return MHD_create_response_from_buffer(answer->size,
                                               (void *)(uintptr_t)answer->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    s_body_t *body = malloc(sizeof *body);
    if (body == NULL) {
        free(answer->body);
        return NULL;
    }
    *body = (s_body_t){self, answer->body, answer->size};
    self->held += body->size;
    struct MHD_Response *r =
        MHD_create_response_from_buffer_with_free_callback_cls(
            body->size, body->text, s_body_free, body);
    if (r == NULL)
        s_body_free(body);
    return r;
}

static void s_forget_shared(gi_monitor_t *self) {
    for (unsigned i = 0; i < GI_SHARED; i++)
        if (self->shared[i])
            MHD_destroy_response(self->shared[i]);
    memset(self->shared, 0, sizeof self->shared);
}

/* r counts one more: it is the answer until the broker is looked at again. */
static void s_share(gi_monitor_t *self, gi_shared_t which,
                    struct MHD_Response *r) {
    if (which == GI_SHARED_NONE)
        MHD_destroy_response(r);
    else
        self->shared[which] = r;
}

static enum MHD_Result s_send(gi_monitor_t *self, struct MHD_Connection *c,
                              const gi_answer_t *answer, gi_shared_t which) {
    struct MHD_Response *r = s_response(self, answer);
    if (r == NULL)
        return MHD_NO;
    s_header(r, "Content-Type", answer->type);
    s_harden(self, r, answer->page);
    if (answer->page)
        s_header(r, "ETag", self->etag);
    if (answer->status == 405)
        s_header(r, "Allow", "GET, HEAD");
    if (answer->status == 401)
        s_header(r, "WWW-Authenticate", "Basic realm=\"gate\"");
    if (answer->status >= 400 && answer->status < 500)
        s_header(r, "Connection", "close");
    enum MHD_Result rc = MHD_queue_response(c, (unsigned)answer->status, r);
    s_share(self, answer->status == 200 ? which : GI_SHARED_NONE, r);
    return rc;
}

static enum MHD_Result s_say(gi_monitor_t *self, struct MHD_Connection *c,
                             int status, const char *text) {
    gi_answer_t answer = {.status = status,
                          .type = "text/plain; charset=utf-8",
                          .fixed = text,
                          .size = strlen(text)};
    return s_send(self, c, &answer, GI_SHARED_NONE);
}

/* ---- who may ask --------------------------------------------------------- */
static const char *s_ask(struct MHD_Connection *c, const char *name) {
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

/* The name without the port. False: too long. */
static bool s_host_name(const char *host, char to[256]) {
    const char *end = *host == '[' ? strchr(host, ']') : strrchr(host, ':');
    size_t n = end ? (size_t)(end - host) : strlen(host);
    size_t skip = *host == '[';
    if (n - skip >= 256 || n < skip)
        return false;
    memcpy(to, host + skip, n - skip);
    to[n - skip] = 0;
    return true;
}

/* A page of somebody else's that has its name point here (DNS rebinding) says
 * that name: only numbers, localhost and what we were told are ours. */
static bool s_host_ok(const gi_monitor_t *self, struct MHD_Connection *c) {
    const char *host = s_ask(c, "Host");
    char name[256], listed[260];
    unsigned char address[16];
    if (host == NULL || !s_host_name(host, name) || !*name)
        return false;
    if (inet_pton(AF_INET, name, address) == 1 ||
        inet_pton(AF_INET6, name, address) == 1 ||
        strcasecmp(name, "localhost") == 0)
        return true;
    snprintf(listed, sizeof listed, " %s ", name);
    return !strchr(name, ' ') && strcasestr(self->hosts, listed);
}

/* Takes as long whatever is wrong with it. */
static bool s_same(const char *token, const char *said) {
    size_t n = strlen(token), m = strlen(said);
    volatile unsigned char differs = n != m;
    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(token[i] ^ said[m ? i % m : 0]);
    return !differs;
}

/* Bearer, or Basic with the token for a password: browsers know that. */
static bool s_token_ok(const gi_monitor_t *self, struct MHD_Connection *c) {
    const char *said = s_ask(c, "Authorization");
    if (!*self->token)
        return true;
    if (said && strncasecmp(said, "Bearer ", 7) == 0)
        return s_same(self->token, said + 7);
    char *password = NULL;
    char *user = MHD_basic_auth_get_username_password(c, &password);
    bool ok = password && s_same(self->token, password);
    if (user)
        MHD_free(user);
    if (password)
        MHD_free(password);
    return ok;
}

static bool s_is_health(const char *path) {
    return strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0;
}

/* ---- one request --------------------------------------------------------- */
static bool s_has_body(struct MHD_Connection *c, size_t upload) {
    const char *length = s_ask(c, "Content-Length");
    return upload || s_ask(c, "Transfer-Encoding") ||
           (length && strcmp(length, "0") != 0);
}

/* One that was made of this look; NULL: none was. */
static struct MHD_Response *s_made(gi_monitor_t *self, gi_shared_t which) {
    if (which == GI_SHARED_NONE)
        return NULL;
    gi_look_get(&self->look);
    if (self->shared_ms != self->look.at_ms)
        s_forget_shared(self);
    self->shared_ms = self->look.at_ms;
    return self->shared[which];
}

static enum MHD_Result s_get(gi_monitor_t *self, struct MHD_Connection *c,
                             const char *path) {
    const char *has = s_ask(c, "If-None-Match"), *accept = s_ask(c, "Accept");
    gi_shared_t which = gi_answers_shared(path, accept);
    gi_answer_t answer;
    if (strcmp(path, "/") == 0 && has && strcmp(has, self->etag) == 0)
        return s_say(self, c, 304, "");
    struct MHD_Response *made = s_made(self, which);
    if (made)
        return MHD_queue_response(c, 200, made);
    if (self->held > S_HELD_MAX && !s_is_health(path))
        return s_say(self, c, 503, "too many answers are not read yet\n");
    bool verbose = MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND,
                                                 "verbose", 7, NULL, NULL);
    gi_answers_get(&answer, &self->look, path, accept, verbose);
    return s_send(self, c, &answer, which);
}

static enum MHD_Result s_request(void *ctx, struct MHD_Connection *c,
                                 const char *path, const char *method,
                                 const char *version, const char *data,
                                 size_t *size, void **state) {
    gi_monitor_t *self = ctx;
    (void)version, (void)data, (void)state;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return s_say(self, c, 405, "GET and HEAD alone\n");
    if (!s_host_ok(self, c))
        return s_say(self, c, 421,
                     "not a host name of ours: see monitor_hosts\n");
    if (strlen(path) > S_URL_MAX)
        return s_say(self, c, 414, "too long\n");
    if (s_has_body(c, *size))
        return s_say(self, c, 413, "no bodies\n");
    if (!(self->open_health && s_is_health(path)) && !s_token_ok(self, c))
        return s_say(self, c, 401, "a token is needed: monitor_token_file\n");
    return s_get(self, c, path);
}

/* ---- life ---------------------------------------------------------------- */
static const char *s_setting(const gate_settings_t *settings,
                             const char *name) {
    const char *value = NULL;
    return gate_settings_get(settings, name, &value) || !value ? "" : value;
}

static bool s_fail(const char *why) {
    fprintf(stderr, "gate: monitor: %s\n", why);
    return false;
}

static bool s_token(gi_monitor_t *self, const gate_settings_t *settings) {
    const char *file = s_setting(settings, "monitor_token_file");
    if (!*file)
        return self->listen.local ||
               s_fail("an address that others reach needs a token "
                      "(monitor_token_file)");
    if (gate_password_read(file, settings, self->token)) {
        gate_perror("gate: monitor_token_file");
        return false;
    }
    return strlen(self->token) >= S_TOKEN_MIN ||
           s_fail("monitor_token_file: a token of 16 bytes at least is wanted");
}

static bool s_configure(gi_monitor_t *self, const gate_settings_t *settings) {
    const char *open = s_setting(settings, "monitor_open");
    bool parts = true;
    self->open_health = strcmp(open, "health") == 0;
    if (!self->open_health && *open)
        return s_fail("monitor_open is health, or empty");
    if (gate_settings_get(settings, "monitor_clients", &parts))
        return false;
    self->look.parts = parts;
    snprintf(self->hosts, sizeof self->hosts, " %s ",
             s_setting(settings, "monitor_hosts"));
    for (char *p = self->hosts; *p; p++)
        if (*p == ',')
            *p = ' ';
    if (!s_token(self, settings))
        return false;
    if (!self->listen.local)
        fprintf(stderr,
                "gate: monitor %s: the traffic is plain: others on the "
                "way read it (stunnel, nginx or ssh -L before it)\n",
                self->listen.url);
    return true;
}

static bool s_begin(gi_monitor_t *self) {
    self->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, s_request, self,
        MHD_OPTION_LISTEN_SOCKET, self->listen.fd, MHD_OPTION_CONNECTION_LIMIT,
        S_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT, S_EACH,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)S_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, S_IDLE_S, MHD_OPTION_END);
    if (self->daemon)
        return true;
    fprintf(stderr,
            "gate: monitor: libmicrohttpd does not start: descriptors (ulimit "
            "-n is %ld), threads or memory ran out\n",
            sysconf(_SC_OPEN_MAX));
    return false;
}

gi_monitor_t *gi_monitor_start(const char *addr, gate_client_t *client,
                               const gate_settings_t *settings) {
    gi_monitor_t *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->look.client = client;
    if (!gi_page_policy(self->csp, self->etag) ||
        !gi_listen_open(&self->listen, addr) || !s_configure(self, settings) ||
        !s_begin(self))
        gi_monitor_stop(&self);
    return self;
}

const char *gi_monitor_url(const gi_monitor_t *self) {
    return self->listen.url;
}

void gi_monitor_stop(gi_monitor_t **self_p) {
    gi_monitor_t *self = *self_p;
    if (self == NULL)
        return;
    if (self->daemon) {
        MHD_stop_daemon(self->daemon); /* closes the socket */
        self->listen.fd = -1;
    }
    s_forget_shared(self); /* its thread was the only other one */
    gi_listen_close(&self->listen);
    gi_look_fini(&self->look);
    explicit_bzero(self->token, sizeof self->token);
    free(self);
    *self_p = NULL;
}
