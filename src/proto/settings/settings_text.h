/* SPDX-License-Identifier: BSD-3-Clause */
/* settings_text.h -- what settings.c needs to read text: numbers, lists of
 * words, and flat ZPL files. */
#ifndef GI_SETTINGS_TEXT_H
#define GI_SETTINGS_TEXT_H

#include <sys/stat.h>
#include "base/err.h"

/* The whole text is one number; independent of the locale. */
bool gi_settings_read_int(const char *text, int64_t *out);
bool gi_settings_read_f64(const char *text, double *out);
/* true yes on 1, false no off 0. */
bool gi_settings_read_bool(const char *text, int64_t *out);

/* GATE_BADARG naming the words (NULL-terminated) unless text is one. */
gate_err_t gi_settings_one_of(const char *name, const char *text, ...)
    __attribute__((sentinel)) GATE_MUST;
/* The same for settings that are one of some words; any other text of others. */
gate_err_t gi_settings_check_words(const char *setting,
                                   const char *text) GATE_MUST;
gate_err_t gi_settings_check_level(const char *name, const char *text,
                                   size_t size) GATE_MUST;
/* "part=level,part=level" */
gate_err_t gi_settings_check_levels(const char *name,
                                    const char *text) GATE_MUST;

/* Calls fn for each `name = value` line; its error becomes GATE_BADDATA that
 * names file and line. */
typedef gate_err_t gi_settings_line_fn(void *ctx, const char *name,
                                       const char *value);
gate_err_t gi_settings_read_zpl(const char *file, const char *text, size_t size,
                                gi_settings_line_fn *fn, void *ctx) GATE_MUST;
/* how: base/trusted.h; *st gets what the file was. */
gate_err_t gi_settings_read_file(const char *file, unsigned how,
                                 gi_settings_line_fn *fn, void *ctx,
                                 struct stat *st) GATE_MUST;

#endif
