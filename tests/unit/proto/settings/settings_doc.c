/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_doc.c -- docs/settings.md is what the table says. After a change of
 * settings.def: SETTINGS_DOC_WRITE=1 unit_proto_settings_doc, in the source
 * directory, writes it anew. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "settings/settings.h"

static const char s_intro[] =
    "# Settings\n"
    "\n"
    "Names, units and meanings are those of gate-rpc 0.2.12 in lower case; "
    "settings of our own carry the unit in the name.\n"
    "They come, each above the one before, from the defaults, a file, the "
    "environment, and code:\n"
    "\n"
    "* file: flat ZPL, one `name = value` a line, `#` comments, values bare or "
    "in quotes. An unknown name or a bad value is an\n"
    "  error that names the line. Numbers are decimal; a bool is true, yes, on "
    "or 1, or false, no, off or 0. Nothing behind\n"
    "  the `=` is a value too, an empty one: it takes nothing back that stands "
    "below.\n"
    "* environment: `GATE_` and the name in upper case "
    "(`GATE_REPLY_TIMEOUT=5`); names that begin with `gate_` get no second "
    "prefix.\n"
    "  An unknown `GATE_...` is a warning in the log, one that may be a slip "
    "for a name that decides who gets in\n"
    "  (`GATE_ACCES`, `GATE_PLAIN_USERS`, `GATE_MONITOR_TOKEN`), and a bad "
    "value, an error when the runtime starts. What a cluster\n"
    "  makes of a service's name (`GATE_USER_SERVICE_HOST`, `GATE_USER_PORT`) "
    "is a warning always.\n"
    "* code: `gate_settings_set(s, \"reply_timeout\", 5)`; the first error "
    "comes out when the runtime starts.\n"
    "\n"
    "This table is made from src/proto/settings/settings.def; a test compares "
    "the two.\n"
    "\n"
    "| name | type, unit, bounds | default | meaning |\n"
    "|---|---|---|---|\n";

static void s_put(gi_buf_t *out, const char *s) {
    for (; *s; s++) {
        if (*s == '|')
            gi_buf_append(out, "\\", 1);
        gi_buf_append(out, s, 1);
    }
}

static void s_row(void *ctx, const char *name, const char *type,
                  const char *value, const char *doc) {
    gi_buf_t *out = ctx;
    const char *cells[] = {name, type, value, doc};
    for (int i = 0; i < 4; i++) {
        gi_buf_append(out, i ? " " : "| ", i ? 1 : 2);
        s_put(out, cells[i]);
        gi_buf_append(out, " |", 2);
    }
    gi_buf_append(out, "\n", 1);
}

Test(settings, the_document_is_the_table) {
    gi_buf_t want = {0}, have = {0};
    char piece[4096];
    gi_buf_append(&want, s_intro, sizeof s_intro - 1);
    gate_settings_each(gi_settings_defaults(), s_row, &want);
    if (getenv("SETTINGS_DOC_WRITE")) {
        FILE *out = fopen("docs/settings.md", "w");
        cr_assert(out);
        fwrite(want.data, 1, want.size, out);
        fclose(out);
    }
    FILE *in = fopen("docs/settings.md", "r");
    cr_assert(in, "run it in the source directory");
    for (size_t n; (n = fread(piece, 1, sizeof piece, in));)
        gi_buf_append(&have, piece, n);
    fclose(in);
    cr_assert_eq(have.size, want.size);
    cr_assert_arr_eq(have.data, want.data, want.size);
    gi_buf_fini(&have);
    gi_buf_fini(&want);
}

/* ---- each bound is where it is said to be --------------------------------- */
/* That the value is taken, or refused by the setting's name. */
static void s_try(const char *name, const char *value, bool fine) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_parse(s, name, value);
    gate_err_t e = gate_settings_check(s);
    /* what it is with others is looked at, too: those name two */
    if (fine && e && strstr(gate_error()->text, " = "))
        e = GATE_OK;
    cr_expect_eq(e == GATE_OK, fine, "%s = %s: %s", name, value,
                 gate_error()->text);
    if (!fine)
        cr_expect(strstr(gate_error()->text, name), "%s", gate_error()->text);
    gate_settings_destroy(&s);
}

static void s_bounds(void *ctx, const char *name, const char *type,
                     const char *value, const char *doc) {
    double low, high;
    char unit[64], text[64];
    (void)ctx, (void)value, (void)doc;
    if (sscanf(type, "%*[a-z], %63[^,], %lf to %lf", unit, &low, &high) != 3) {
        if (!strcmp(type, "bool"))
            s_try(name, "maybe", false);
        return;
    }
    bool whole = !strncmp(type, "integer", 7);
    double step = whole ? 1 : 0.0005;
    const struct {
        double value;
        bool fine;
    } rows[] = {{low, true},
                {high, true},
                {low - step, false},
                {high + (whole ? 1 : high / 1000), false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, whole ? "%.0f" : "%.6f", rows[i].value);
        s_try(name, text, rows[i].fine);
    }
    static const char *const wrong[] = {"", "x", "0x10", "5s", "1e99"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        s_try(name, wrong[i], false);
}

Test(settings, the_bounds_are_where_they_are_said, .timeout = 60) {
    gate_settings_each(gi_settings_defaults(), s_bounds, NULL);
}
