/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_settings.c -- a file's text: an error, or values within their bounds. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "settings/settings.h"
#include "settings/settings_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Does not stop at a bad line, to get further. */
static gate_err_t s_line(void *ctx, const char *name, const char *value) {
    gate_settings_parse(ctx, name, value);
    return GATE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gate_settings_t *s = gate_settings_dup(gi_settings_defaults());
    gate_err_t e =
        gi_settings_read_zpl("f", (const char *)data, size, s_line, s);
    assert(e == GATE_OK || e == GATE_BADDATA);
    assert(s->heartbeat >= 10 && s->heartbeat <= 3600000);
    assert(s->timeout >= 0.001 && s->timeout <= 86400);
    assert(s->huge_chunk_bytes >= 1000 && s->huge_chunk_bytes <= 67108864);
    assert(gi_settings_reply_timeout_ms(s) > 0);
    assert(gi_settings_heartbeat_ms(s) > 0 && *gi_settings_internal(s));
    assert(strlen(gi_settings_warning(s)) < 2000);
    if (gate_settings_check(s))
        assert(*gate_error()->text);
    gate_settings_destroy(&s);
    return 0;
}
