/* SPDX-License-Identifier: BSD-3-Clause */
/* places.c -- see places.h. */
#include "runtime/places.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/trusted.h"
#include "settings/settings.h"

#define S_NAME "gate-rpc"

static gate_err_t s_join(const char *what, char *out, size_t room,
                         const char *dir, const char *name) {
    if (snprintf(out, room, "%s%s%s", dir, *name ? "/" : "", name) < (int)room)
        return GATE_OK;
    return gi_err(GATE_TOOBIG, "%s: a path of more than %zu bytes", what,
                  room - 1);
}

/* The directory and those above it. Nothing is made in one that somebody else
 * has put there, unless how says so. */
static gate_err_t s_make(const char *what, char *path, mode_t mode,
                         unsigned how) {
    gate_err_t e = GATE_OK;
    for (char *p = path; !e && *p && (p = strchr(p + 1, '/'));) {
        *p = 0;
        mkdir(path, 0755); /* what cannot be made shows in the end */
        e = gi_trusted_dir(what, path, how | GI_TRUST_STICKY);
        *p = '/';
    }
    if (e)
        return e;
    mkdir(path, mode);
    return gi_trusted_dir(what, path, how);
}

static unsigned s_how(const gate_settings_t *s) {
    return s->trust_others ? GI_TRUST_OTHERS : 0;
}

/* ---- of sockets ---------------------------------------------------------- */
static bool s_is_ours(const char *dir) {
    struct stat st;
    return dir && *dir == '/' && stat(dir, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

/* Who has none of these shares /tmp with everybody. */
static gate_err_t s_standard(const gate_settings_t *s, char *out, size_t room) {
    char of_user[64];
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    snprintf(of_user, sizeof of_user, "/run/user/%u", (unsigned)geteuid());
    const char *dirs[] = {xdg, of_user, geteuid() == 0 ? "/run" : NULL};
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        if (s_is_ours(dirs[i]) && access(dirs[i], W_OK) == 0)
            return s_join("run_path", out, room, dirs[i], S_NAME);
    return s_join("run_path", out, room, s->base_path, "run");
}

gate_err_t gi_places_run(const gate_settings_t *s, char *out, size_t room) {
    gate_err_t e = s->run_path && *s->run_path
                       ? s_join("run_path", out, room, s->run_path, "")
                   : gi_settings_is_set(s, "base_path")
                       ? s_join("run_path", out, room, s->base_path, "run")
                       : s_standard(s, out, room);
    return e ? e : s_make("run_path", out, 0700, s_how(s));
}

/* ---- of logs ------------------------------------------------------------- */
/* Where it was asked for, among files of others if need be; but whoever makes a
 * link on the way there does not choose where our lines go. */
static unsigned s_how_asked(const gate_settings_t *s) {
    return s->trust_others ? GI_TRUST_OTHERS : GI_TRUST_FOREIGN;
}

static gate_err_t s_make_parent(char *path, unsigned how) {
    char *slash = strrchr(path, '/');
    gate_err_t e = GATE_OK;
    if (slash && slash != path) {
        *slash = 0;
        e = s_make("log_file", path, 0755, how);
        *slash = '/';
    }
    return e;
}

gate_err_t gi_places_log(const gate_settings_t *s, char *out, size_t room) {
    char dir[2048];
    bool named = s->log_path && *s->log_path;
    *out = 0;
    if (!s->log_file || !*s->log_file)
        return GATE_OK;
    if (strchr(s->log_file, '/')) {
        gate_err_t e = s_join("log_file", out, room, s->log_file, "");
        return e ? e : s_make_parent(out, s_how_asked(s));
    }
    gate_err_t e =
        named ? s_join("log_path", dir, sizeof dir, s->log_path, "")
              : s_join("log_path", dir, sizeof dir, s->base_path, "log");
    if (!e)
        e = s_join("log_file", out, room, dir, s->log_file);
    if (e)
        return e;
    bool asked = named || gi_settings_is_set(s, "base_path");
    return s_make("log_path", dir, 0755, asked ? s_how_asked(s) : s_how(s));
}
