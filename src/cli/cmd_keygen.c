/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_keygen.c -- gate keygen. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "text/nkey.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "keygen [OPTION]... FILE",
    "Writes a fresh CURVE certificate: FILE is its public half, for the other\n"
    "side; FILE_secret holds both and stays here. Neither may exist.\n"
    "With --nats it is an NKEY instead: FILE_secret for --uplink-nkey, what "
    "is\n"
    "in FILE for nats-server: { nkey: U... }."};

/* ---- NATS ---------------------------------------------------------------- */
static bool s_write(const char *file, unsigned mode, const char *seed,
                    const char *public_key) {
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    bool ok =
        f && fprintf(f, "%s%s%s\n", seed, *seed ? "\n" : "", public_key) > 0;
    if (f)
        ok &= fclose(f) == 0;
    else if (fd >= 0)
        close(fd);
    if (!ok)
        fprintf(stderr, "gate: %s cannot be written: %s\n", file,
                strerror(errno));
    return ok;
}

static int s_nats(const char *file) {
    char secret[4096], seed[GI_NKEY_SEED + 1], known[GI_NKEY_PUBLIC + 1];
    if (snprintf(secret, sizeof secret, "%s_secret", file) >=
        (int)sizeof secret)
        return gi_opts_fail(&s_usage, "a shorter FILE");
    if (access(file, F_OK) == 0 || access(secret, F_OK) == 0) {
        fprintf(stderr, "gate: %s or %s exists already\n", file, secret);
        return GI_EXIT_REMOTE;
    }
    if (!gi_nkey_user(seed, known)) {
        fprintf(stderr, "gate: this OpenSSL makes no Ed25519 key\n");
        return GI_EXIT_REMOTE;
    }
    bool ok =
        s_write(secret, 0600, seed, known) && s_write(file, 0644, "", known);
    explicit_bzero(seed, sizeof seed);
    if (ok)
        printf("%s %s\n", file, secret);
    return ok ? GI_EXIT_OK : GI_EXIT_REMOTE;
}

/* ---- CURVE --------------------------------------------------------------- */
static int s_run(const char *file, const char *name) {
    gate_err_t e = gate_curve_keygen(file, name);
    if (e)
        return gi_peer_fail(e, false);
    printf("%s %s_secret\n", file, file);
    return GI_EXIT_OK;
}

int gi_keygen_main(int argc, char **argv) {
    const char *name = NULL;
    bool nats = false;
    gi_words_t words = {0};
    const gi_opt_t table[] = {
        {"name", GI_OPT_TEXT, &name, "USER",
         "whom a broker takes its holder for"},
        {"nats", GI_OPT_FLAG, &nats, NULL, "an NKEY of a user of NATS"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &words);
    if (code < 0 && (words.n != 1 || !*words.items[0]))
        code = gi_opts_fail(&s_usage, "one FILE");
    if (code < 0 && nats && name)
        code = gi_opts_fail(&s_usage, "--name without --nats");
    if (code < 0)
        code = nats ? s_nats(words.items[0]) : s_run(words.items[0], name);
    gi_words_fini(&words);
    return code;
}
