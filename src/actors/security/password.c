/* SPDX-License-Identifier: BSD-3-Clause */
/* password.c -- see gaterpc/password.h. */
#include <gaterpc/password.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/trusted.h"
#include "settings/settings.h"

#define S_FILE_MAX (GATE_PASSWORD_MAX + 2) /* a newline of Windows */

/* A name may be a credential's; a path is what it says. */
static const char *s_where(const char *file, char path[PATH_MAX]) {
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    if (dir && *dir && !strchr(file, '/') &&
        snprintf(path, PATH_MAX, "%s/%s", dir, file) < PATH_MAX &&
        access(path, F_OK) == 0)
        return path;
    return file;
}

static gate_err_t s_line(gi_trusted_t *text, const char *file, char *out) {
    size_t n = strcspn(text->text, "\r\n");
    if (n == 0)
        return gi_err(GATE_BADDATA, "password file %s: empty", file);
    if (strspn(text->text + n, "\r\n") != text->size - n)
        return gi_err(GATE_BADDATA,
                      "password file %s: one line is expected, of no NUL",
                      file);
    if (n > GATE_PASSWORD_MAX)
        return gi_err(GATE_TOOBIG, "password file %s: more than %d bytes", file,
                      GATE_PASSWORD_MAX);
    memcpy(out, text->text, n);
    out[n] = 0;
    return GATE_OK;
}

gate_err_t gate_password_read(const char *file, const gate_settings_t *settings,
                              char *out) {
    char path[PATH_MAX];
    gi_trusted_t text;
    if (!out)
        return gi_err(GATE_BADARG, "a password needs room: out is NULL");
    *out = 0;
    if (!file || !*file)
        return gi_err(GATE_BADARG, "a password file without a name");
    const char *at = s_where(file, path);
    unsigned others = settings && settings->trust_others ? GI_TRUST_OTHERS : 0;
    gate_err_t e = gi_trusted_read("password file", at,
                                   GI_TRUST_SECRET | GI_TRUST_PIPE | others,
                                   S_FILE_MAX, &text);
    if (e)
        return e;
    e = s_line(&text, at, out);
    gi_trusted_fini(&text);
    return e;
}
