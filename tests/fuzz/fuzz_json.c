/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_json.c -- a word of the command line: what is packed is one msgpack
 * value that decodes, and shows as JSON that packs to the same again; what is
 * not has a reason. */
#include "text/json_arg.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *s_show(const msgpack_sbuffer *packed) {
    gate_value_t *value = NULL;
    gate_err_t e = gate_value_decode(packed->data, packed->size, NULL, &value);
    fuzz_must((e == GATE_OK) == (value != NULL));
    char *json = value ? gate_value_json(value) : NULL;
    fuzz_must(!value || json);
    gate_value_destroy(&value);
    return json;
}

static void s_again(const char *json) {
    char why[128];
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    if (gi_json_pack(json, &packed, why, sizeof why)) {
        char *same = s_show(&packed);
        fuzz_must(!same || strcmp(json, same) == 0);
        free(same);
    }
    msgpack_sbuffer_destroy(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char why[128] = "", *word = malloc(size + 1);
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    fuzz_must(word);
    memcpy(word, data, size);
    word[size] = 0;
    if (gi_json_pack(word, &packed, why, sizeof why)) {
        char *json = s_show(&packed); /* NULL: beyond the limits of values */
        if (json)
            s_again(json);
        free(json);
    } else {
        fuzz_must(*why && strlen(why) < sizeof why);
    }
    msgpack_sbuffer_destroy(&packed);
    free(word);
    return 0;
}
