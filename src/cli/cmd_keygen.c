/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_keygen.c -- gate keygen. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"

static const gi_usage_t s_usage = {
    "keygen [OPTION]... FILE",
    "Writes a fresh CURVE certificate: FILE is its public half, for the other\n"
    "side; FILE_secret holds both and stays here. Neither may exist."};

static int s_run(const char *file, const char *name) {
    gate_err_t e = gate_curve_keygen(file, name);
    if (e)
        return gi_peer_fail(e, false);
    printf("%s %s_secret\n", file, file);
    return GI_EXIT_OK;
}

int gi_keygen_main(int argc, char **argv) {
    const char *name = NULL;
    gi_words_t words = {0};
    const gi_opt_t table[] = {
        {"name", GI_OPT_TEXT, &name, "USER",
         "whom a broker takes its holder for"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &words);
    if (code < 0)
        code = words.n == 1 ? s_run(words.items[0], name)
                            : gi_opts_fail(&s_usage, "one FILE");
    gi_words_fini(&words);
    return code;
}
