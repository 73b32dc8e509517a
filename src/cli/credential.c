/* SPDX-License-Identifier: BSD-3-Clause */
/* credential.c -- see credential.h. At a terminal the echo is off; a signal that would
 * end us turns it on again first. */
#include "cli/credential.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "cli/cli.h"
#include "cli/peer.h"

/* ---- a line of standard input -------------------------------------------- */
static volatile sig_atomic_t s_signal;

static void s_on_signal(int number) { s_signal = number; }

/* Byte by byte: what stands behind it is the next one's. False: no line, or too
 * long a one. */
static bool s_read_line(char *out) {
    size_t n = 0;
    char c;
    while (!s_signal) {
        ssize_t got = read(STDIN_FILENO, &c, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || c == '\n')
            break;
        if (n == GATE_PASSWORD_MAX)
            return false;
        out[n++] = c;
    }
    n -= n && out[n - 1] == '\r';
    out[n] = 0;
    return n > 0 && !s_signal;
}

static const int s_enders[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { S_ENDERS = sizeof s_enders / sizeof *s_enders };

static bool s_prompt(const char *what, char *out) {
    struct sigaction before[S_ENDERS], take = {.sa_handler = s_on_signal};
    struct termios loud, quiet;
    if (tcgetattr(STDIN_FILENO, &loud) < 0)
        return false;
    quiet = loud;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    s_signal = 0;
    for (int i = 0; i < S_ENDERS; i++)
        sigaction(s_enders[i], &take, &before[i]);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    fprintf(stderr, "%s: ", what);
    bool got = s_read_line(out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &loud);
    fprintf(stderr, "\n");
    for (int i = 0; i < S_ENDERS; i++)
        sigaction(s_enders[i], &before[i], NULL);
    if (s_signal)
        raise(s_signal);
    return got;
}

/* ---- getting one --------------------------------------------------------- */
static int s_take(gi_credential_t *self, char *text, const gi_usage_t *usage) {
    gi_credential_fini(self);
    self->word = strdup(text);
    explicit_bzero(text, strlen(text));
    return self->word ? -1 : gi_opts_fail(usage, "no memory");
}

static int s_from_stdin(gi_credential_t *self, const char *prompt,
                        const gi_usage_t *usage) {
    char text[GATE_PASSWORD_MAX + 1] = "";
    bool got = isatty(STDIN_FILENO) ? s_prompt(prompt, text)
                                    : (s_signal = 0, s_read_line(text));
    if (got)
        return s_take(self, text, usage);
    explicit_bzero(text, sizeof text);
    return gi_opts_fail(usage, "no password came: a line of 1 to %d bytes",
                        GATE_PASSWORD_MAX);
}

static int s_from_file(gi_credential_t *self, const char *file,
                       const char *config, const gi_usage_t *usage) {
    char text[GATE_PASSWORD_MAX + 1];
    GATE_OWN(gate_settings) settings = gi_peer_settings(config);
    if (!settings)
        return GI_EXIT_USAGE;
    gate_err_t e = gate_password_read(file, settings, text);
    if (!e)
        return s_take(self, text, usage);
    gi_peer_fail(e, false); /* our own input, whatever is wrong with it */
    return GI_EXIT_USAGE;
}

/* A unit with LoadCredential=password:... needs no option for it. */
static bool s_has_credential(const char *name) {
    char path[4096];
    const char *dir = getenv("CREDENTIALS_DIRECTORY");
    return dir && *dir &&
           snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           access(path, F_OK) == 0;
}

int gi_credential_get(gi_credential_t *self, const char *user,
                      const char *option, const char *config,
                      const gi_usage_t *usage) {
    const char *prefix = strcmp(option, "password") == 0 ? "" : "plain-";
    char prompt[300];
    if (self->word && self->file)
        return gi_opts_fail(usage, "--%s or --%s-file, not both", option,
                            option);
    if (!user && (self->word || self->file))
        return gi_opts_fail(usage, "--%suser and --%s go together", prefix,
                            option);
    if (!user || self->word)
        return -1;
    snprintf(prompt, sizeof prompt, "Password of %.200s", user);
    if (self->file && strcmp(self->file, "-") != 0)
        return s_from_file(self, self->file, config, usage);
    if (!self->file && s_has_credential(option))
        return s_from_file(self, option, config, usage);
    if (self->file || isatty(STDIN_FILENO))
        return s_from_stdin(self, prompt, usage);
    return gi_opts_fail(usage,
                        "--%suser and --%s go together: --%s-file FILE (-: "
                        "standard input), a credential of systemd, or a "
                        "terminal to ask at",
                        prefix, option, option);
}

int gi_credential_ask(gi_credential_t *self, const gi_usage_t *usage) {
    gi_credential_t again = {NULL, NULL};
    int code = s_from_stdin(self, "Password", usage);
    if (code >= 0 || !isatty(STDIN_FILENO))
        return code;
    code = s_from_stdin(&again, "Again", usage);
    if (code < 0 && strcmp(self->word, again.word) != 0)
        code = gi_opts_fail(usage, "the two passwords differ");
    gi_credential_fini(&again);
    return code;
}

void gi_credential_fini(gi_credential_t *self) {
    if (self->word)
        explicit_bzero(self->word, strlen(self->word));
    free(self->word);
    self->word = NULL;
}
