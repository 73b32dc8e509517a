/* SPDX-License-Identifier: BSD-3-Clause */
/* uplink_carrier.c -- the carrier: its library, and whether it is there. A
 * reason that it is not is logged once. One that breaks is followed by another at
 * once; tries that fail come 50 ms to a quarter of a heartbeat apart (2 s at
 * most), so that a server is found before links are lost. */
#include "uplink/uplink_impl.h"
#include "uplink/uplink_urls.h"

#include <dlfcn.h>
#include <gaterpc/log.h>
#include <gaterpc/runtime.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/trusted.h"
#include "sync/clock.h"

#define S_PART "uplink"
#define S_WAIT_MS 50
#define S_WAIT_MAX_MS 2000
#define S_MESSAGE_LEAST 65536
#define S_LOOK_MS 5
#define S_PASSWORD_MAX 4096
#define S_SEED 58 /* an NKEY's, in base32 */

extern const gi_carrier_events_t gi_uplink_events; /* uplink_actor.c */

/* ---- the library --------------------------------------------------------- */
/* Beside our own library first, so that a build's own one is found. */
static void *s_open_library(void) {
    char path[4096];
    Dl_info info;
    void *library = NULL;
    const char *slash =
        dladdr((void *)(uintptr_t)&gi_uplink_events, &info) && info.dli_fname
            ? strrchr(info.dli_fname, '/')
            : NULL;
    if (slash) {
        snprintf(path, sizeof path, "%.*s/%s", (int)(slash - info.dli_fname),
                 info.dli_fname, GI_CARRIER_LIBRARY);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    }
    return library ? library
                   : dlopen(GI_CARRIER_LIBRARY,
                            RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static unsigned s_how(const gate_settings_t *s) {
    return GI_TRUST_SECRET | (s->trust_others ? (unsigned)GI_TRUST_OTHERS : 0u);
}

static gate_err_t s_password(gi_uplink_t *self) {
    const gate_settings_t *s = self->settings;
    gi_trusted_t file;
    if (s->uplink_password_file == NULL)
        return GATE_OK;
    gate_err_t e =
        gi_trusted_read("uplink's password", s->uplink_password_file,
                        s_how(s) | GI_TRUST_PIPE, S_PASSWORD_MAX, &file);
    if (e)
        return e;
    file.text[strcspn(file.text, "\r\n")] = 0;
    self->password = gi_mem_strdup(file.text);
    gi_trusted_fini(&file);
    return self->password ? GATE_OK
                          : gi_err(GATE_NOMEM, "no memory for an uplink");
}

/* Files with keys in them are ours alone. */
static gate_err_t s_secret(const gate_settings_t *s, const char *what,
                           const char *path) {
    gi_trusted_t file;
    if (path == NULL || s->trust_others)
        return GATE_OK;
    gate_err_t e = gi_trusted_read(what, path, GI_TRUST_SECRET, 1 << 20, &file);
    if (!e)
        gi_trusted_fini(&file);
    return e;
}

/* A line of the file that begins so, without what comments it out. */
static bool s_line(const char *text, const char *begin, size_t size, char *to) {
    for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
        const char *p = text + strspn(text, "# \t");
        if (strncmp(p, begin, strlen(begin)) == 0 &&
            strcspn(p, " \t\r\n") == size) {
            snprintf(to, size + 1, "%s", p);
            return true;
        }
    }
    return false;
}

/* libnats wants the public key beside the seed. */
static gate_err_t s_nkey(gi_uplink_t *self) {
    const gate_settings_t *s = self->settings;
    char seed[S_SEED + 1];
    gi_trusted_t file;
    if (s->uplink_nkey == NULL)
        return GATE_OK;
    gate_err_t e = gi_trusted_read("uplink's NKEY", s->uplink_nkey, s_how(s),
                                   1 << 20, &file);
    if (e)
        return e;
    if (!s_line(file.text, "SU", S_SEED, seed) ||
        !s_line(file.text, "U", GI_CARRIER_NKEY, self->nkey))
        e = gi_err(GATE_BADDATA,
                   "%s: a user's NKEY has its seed (SU...) in one line and its "
                   "public key (U...) in another, as gate keygen --nats "
                   "writes them",
                   s->uplink_nkey);
    explicit_bzero(seed, sizeof seed);
    gi_trusted_fini(&file);
    return e;
}

/* libnats would be asked for it again and again. */
static gate_err_t s_readable(const char *what, const char *path) {
    if (path == NULL || access(path, R_OK) == 0)
        return GATE_OK;
    return gi_err_errno("%s = %s cannot be read", what, path);
}

static gate_err_t s_tls(const gate_settings_t *s) {
    if ((s->uplink_cert == NULL) != (s->uplink_key == NULL))
        return gi_err(GATE_BADARG, "uplink_cert and uplink_key go together");
    gate_err_t e = s_readable("uplink_ca", s->uplink_ca);
    if (!e)
        e = s_readable("uplink_cert", s->uplink_cert);
    return e ? e : s_secret(s, "uplink's key", s->uplink_key);
}

static void s_warn(const gi_uplink_t *self) {
    gate_bytes_t away = gi_uplink_urls_away(self->urls);
    if (!self->wish.secure && away.size)
        gate_log(GATE_WARN, S_PART,
                 "%.*s without TLS: whoever is in between reads and changes "
                 "what brokers say (tls:// or uplink_ca)",
                 (int)away.size, (const char *)away.data);
}

static gate_err_t s_one_login(const gate_settings_t *s) {
    int n = (s->uplink_creds != NULL) + (s->uplink_nkey != NULL) +
            (s->uplink_user != NULL);
    if (n > 1)
        return gi_err(GATE_BADARG,
                      "uplink_creds, uplink_nkey, uplink_user: one of them");
    if (s->uplink_password_file && s->uplink_user == NULL)
        return gi_err(GATE_BADARG,
                      "uplink_password_file goes with uplink_user");
    return GATE_OK;
}

static gate_err_t s_wish(gi_uplink_t *self) {
    const gate_settings_t *s = self->settings;
    gate_err_t e = s_one_login(s);
    if (!e)
        e = s_password(self);
    if (!e)
        e = s_secret(s, "uplink's credentials", s->uplink_creds);
    if (!e)
        e = s_nkey(self);
    if (!e)
        e = s_tls(s);
    self->wish =
        (gi_carrier_wish_t){.urls = self->urls,
                            .name = self->name,
                            .creds = s->uplink_creds,
                            .nkey = s->uplink_nkey,
                            .nkey_public = self->nkey,
                            .user = s->uplink_user,
                            .password = self->password,
                            .ca = s->uplink_ca,
                            .cert = s->uplink_cert,
                            .key = s->uplink_key,
                            .secure = s->uplink_ca || s->uplink_cert ||
                                      gi_uplink_urls_secure(self->urls),
                            .beat_ms = s->uplink_heartbeat_ms,
                            .all = self->all,
                            .mine = self->mine};
    if (!e)
        s_warn(self);
    return e;
}

gate_err_t gi_uplink_carrier_find(gi_uplink_t *self) {
    self->open_wait_ms = S_WAIT_MS;
    gate_err_t e = s_wish(self);
    if (e)
        return e;
    self->library = s_open_library();
    if (self->library)
        self->ops = dlsym(self->library, GI_CARRIER_SYMBOL);
    if (self->ops == NULL)
        return gi_err(GATE_NOTIMPL,
                      "the uplink needs %s, which is built where libnats is "
                      "(Debian's libnats-dev): %s",
                      GI_CARRIER_LIBRARY,
                      self->library ? "it has no carrier" : dlerror());
    if (self->ops->version != GI_CARRIER_VERSION)
        return gi_err(GATE_NOTIMPL, "%s is of version %u, this needs %d",
                      GI_CARRIER_LIBRARY, self->ops->version,
                      GI_CARRIER_VERSION);
    return GATE_OK;
}

void gi_uplink_carrier_fini(gi_uplink_t *self) {
    if (self->password)
        explicit_bzero(self->password, strlen(self->password));
    gi_mem_free(self->password);
    if (self->library)
        dlclose(self->library);
}

/* ---- up and down --------------------------------------------------------- */
bool gi_uplink_carrier_up(const gi_uplink_t *self) {
    return self->carrier && self->ops->is_up(self->carrier);
}

void gi_uplink_carrier_close(gi_uplink_t *self) {
    if (self->carrier)
        self->ops->close(self->carrier);
    self->carrier = NULL;
    self->readable = false; /* that was another descriptor */
}

/* Each new reason is said once. */
static void s_trouble(gi_uplink_t *self) {
    if (strcmp(self->why, self->told_why) == 0)
        return;
    strcpy(self->told_why, self->why);
    self->changed = true;
    gate_log(GATE_WARN, S_PART, "no NATS server: %s (%s)", self->why,
             self->urls);
}

static int64_t s_wait_max(const gi_uplink_t *self) {
    int64_t quarter = self->settings->uplink_heartbeat_ms / 4;
    return quarter < S_WAIT_MS       ? S_WAIT_MS
           : quarter > S_WAIT_MAX_MS ? S_WAIT_MAX_MS
                                     : quarter;
}

/* It came to nothing: another try, later each time. */
static void s_failed(gi_uplink_t *self, int64_t now_ms) {
    int64_t most = s_wait_max(self);
    self->open_ms = now_ms + self->open_wait_ms;
    self->open_wait_ms *= 2;
    if (self->open_wait_ms > most)
        self->open_wait_ms = most;
    s_trouble(self);
}

static void s_try(gi_uplink_t *self, int64_t now_ms) {
    self->carrier =
        self->ops->open(&self->wish, &gi_uplink_events, self, self->why);
    if (self->carrier == NULL)
        s_failed(self, now_ms);
}

static void s_end(gi_uplink_t *self, int64_t now_ms) {
    const char *why = self->ops->why(self->carrier);
    if (*why)
        snprintf(self->why, sizeof self->why, "%s", why);
    gi_uplink_carrier_close(self);
    if (self->was_up)
        self->open_ms = now_ms;
    else
        s_failed(self, now_ms);
}

/* It is up for the first time: a server that takes too little is none. */
static bool s_is_fit(gi_uplink_t *self, int64_t now_ms) {
    size_t most = self->ops->message_max(self->carrier);
    if (most >= S_MESSAGE_LEAST)
        return true;
    snprintf(self->why, sizeof self->why,
             "the uplink's server takes %zu bytes a message: at least %d", most,
             S_MESSAGE_LEAST);
    gi_uplink_carrier_close(self);
    s_failed(self, now_ms);
    return false;
}

/* What has changed since the last look. */
static bool s_note(gi_uplink_t *self, int64_t now_ms) {
    bool up = gi_uplink_carrier_up(self);
    if (up == self->was_up || (up && !s_is_fit(self, now_ms)))
        return false;
    self->was_up = up;
    self->changed = true;
    if (up) {
        self->reconnects += self->n_ups++ > 0;
        self->why[0] = self->told_why[0] = 0;
        self->open_wait_ms = S_WAIT_MS;
        gate_log(GATE_INFO, S_PART, "connected to %s",
                 self->ops->server(self->carrier));
    } else {
        gate_log(GATE_WARN, S_PART, "the NATS server is gone%s%s",
                 self->why[0] ? ": " : "", self->why);
    }
    gi_uplink_peers_carrier(self, up, now_ms);
    return true;
}

bool gi_uplink_carrier_work(gi_uplink_t *self, int64_t now_ms) {
    bool any = false;
    if (self->carrier && self->ops->is_over(self->carrier))
        s_end(self, now_ms);
    any |= s_note(self, now_ms);
    if (self->carrier == NULL && now_ms >= self->open_ms)
        s_try(self, now_ms);
    if (self->carrier == NULL || !self->readable)
        return any;
    self->readable = false;
    self->ops->read(self->carrier);
    return true;
}

/* Nobody else speaks to it yet. */
gate_err_t gi_uplink_carrier_await(gi_uplink_t *self, int64_t timeout_ms) {
    const struct timespec pause = {0, S_LOOK_MS * 1000000L};
    int64_t now_ms = gi_clock_ms(), end = now_ms + timeout_ms;
    if (timeout_ms == 0)
        return GATE_OK;
    for (; now_ms < end; now_ms = gi_clock_ms()) {
        if (self->carrier && self->ops->is_over(self->carrier))
            s_end(self, now_ms);
        if (gi_uplink_carrier_up(self) && s_is_fit(self, now_ms))
            return GATE_OK;
        if (self->carrier == NULL && now_ms >= self->open_ms)
            s_try(self, now_ms);
        nanosleep(&pause, NULL);
    }
    return gi_err(GATE_SYSTEM, "uplink: %s (uplink_wait_ms = %lld)",
                  self->why[0] ? self->why : "no server has answered",
                  (long long)timeout_ms);
}

/* ---- words of its callbacks ---------------------------------------------- */
void *gi_uplink_carrier_mail(gi_carrier_word_t word) {
    uintptr_t value = (uintptr_t)(unsigned)word.value << 8 |
                      (uintptr_t)(unsigned)word.what << 1 | 1;
    return (void *)value;
}

bool gi_uplink_carrier_told(gi_uplink_t *self, void *mail) {
    uintptr_t value = (uintptr_t)mail;
    if (!(value & 1))
        return false;
    gi_carrier_word_t word = {(int)(value >> 1 & 127), (int)(value >> 8)};
    if (self->carrier == NULL)
        return true;
    self->ops->told(self->carrier, word);
    return true;
}
