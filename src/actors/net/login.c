/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/login.h"

#include <string.h>
#include "net/curve.h"
#include "base/err.h"
#include "base/mem.h"
#include "settings/settings.h"
#include "net/sock.h"
#include "base/tags.h"

void gi_login_fini(gi_login_t *self) {
    gi_mem_free(self->identity);
    gi_mem_free(self->user);
    gi_mem_free(self->password);
    gi_mem_free(self->plain_user);
    gi_mem_free(self->plain_password);
    gi_mem_free(self->curve_cert);
    gi_mem_free(self->curve_server);
    *self = (gi_login_t){0};
}

gate_err_t gi_login_set(char **part, const char *text) {
    char *copy = text ? gi_mem_strdup(text) : NULL;
    if (text && !copy)
        return gi_err(GATE_NOMEM, "no memory for a name or a password");
    gi_mem_free(*part);
    *part = copy;
    return GATE_OK;
}

gate_err_t gi_login_pair(const char *whose, const char *what, char **to_a,
                         const char *a, char **to_b, const char *b) {
    /* no credentials are let in nowhere; CURVE of none would be in the clear */
    bool none = !a && !b && strcmp(what, GI_LOGIN_CURVE) != 0;
    if ((!a || !b) && !none)
        return gi_err(GATE_BADARG, "%s: %s: both are needed, %s is NULL", whose,
                      what, a ? "the second" : "the first");
    gate_err_t e = gi_login_set(to_a, a);
    return e ? e : gi_login_set(to_b, b);
}

gate_err_t gi_login_defaults(gi_login_t *self, const char *whose,
                             const gate_settings_t *s) {
    gate_err_t e = GATE_OK;
    if (s->zap_plain_default_user)
        e = gi_login_pair(whose, GI_LOGIN_PLAIN, &self->user,
                          s->zap_plain_default_user, &self->password,
                          s->zap_plain_default_password);
    if (!e && s->curve_cert)
        e = gi_login_pair(whose, GI_LOGIN_CURVE, &self->curve_cert,
                          s->curve_cert, &self->curve_server, s->curve_server);
    if (!e && s->plain_user)
        e = gi_login_pair(whose, GI_LOGIN_PLAIN, &self->plain_user,
                          s->plain_user, &self->plain_password,
                          s->plain_password);
    return e;
}

gate_err_t gi_login_apply(const gi_login_t *self, gi_sock_t *sock) {
    gate_err_t e = gi_curve_client(sock, self->curve_cert, self->curve_server);
    return e ? e
             : gi_plain_client(sock, self->plain_user, self->plain_password);
}

void gi_login_frames(const gi_login_t *self, gi_frames_t *out) {
    const char *password = self->password ? self->password : "";
    if (!self->user)
        return;
    gi_frames_add(out, GI_ZAP_PLAIN, strlen(GI_ZAP_PLAIN));
    gi_frames_add(out, self->user, strlen(self->user));
    gi_frames_add(out, password, strlen(password));
}
