/* SPDX-License-Identifier: BSD-3-Clause */
/* vectors.c -- frames recorded from gate-rpc 0.2.12: each one of the client's,
 * broker's and worker's is parsed, and what our peers would send is made again,
 * byte for byte. Reads tests/wire/vectors (run in the source directory). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/mdp.h"
#include "base/mem.h"
#include "wire/rpc.h"

#define DIRECTORY "tests/wire/vectors"

enum { FRAMES_MAX = 16, DATA_MAX = 65536 };

typedef struct s_entry {
    char direction[32];
    gate_bytes_t f[FRAMES_MAX];
    size_t n;
    unsigned char data[DATA_MAX];
} s_entry_t;

/* ---- the files: regular enough for a scan for "direction" and "frames" */
static char *s_read(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", DIRECTORY, name);
    FILE *in = fopen(path, "r");
    cr_assert(in, "%s", path);
    char *text = calloc(1, 1 << 20);
    cr_assert_lt(fread(text, 1, (1 << 20) - 1, in), (1 << 20) - 1);
    fclose(in);
    return text;
}

static size_t s_hex(const char *hex, unsigned char *out) {
    size_t n = strspn(hex, "0123456789abcdef");
    cr_assert_eq(n % 2, 0);
    for (size_t i = 0; i < n / 2; i++)
        sscanf(hex + 2 * i, "%2hhx", &out[i]);
    return n / 2;
}

/* The string behind "key": from at on, before end. */
static const char *s_member(const char *at, const char *end, const char *key) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    const char *found = strstr(at, quoted);
    return found && (!end || found < end) ? found + strlen(quoted) : NULL;
}

/* Reads the next object with frames; NULL at the end. Objects are flat, so one
 * ends at the next brace. */
static const char *s_next(const char *at, s_entry_t *e) {
    const char *frames = s_member(at, NULL, "frames");
    if (!frames)
        return NULL;
    const char *start = frames, *end = strchr(frames, '}');
    while (*start != '{')
        start--;
    const char *direction = s_member(start, end, "direction");
    cr_assert(direction &&
              sscanf(direction, "\"%31[^\"]\"", e->direction) == 1);
    unsigned char *data = e->data;
    e->n = 0;
    for (const char *p = frames; *p != ']'; p++) {
        if (*p != '"')
            continue;
        cr_assert_lt(e->n, FRAMES_MAX);
        size_t size = s_hex(p + 1, data);
        e->f[e->n++] = (gate_bytes_t){data, size};
        data += size;
        cr_assert_lt(data - e->data, DATA_MAX);
        p = strchr(p + 1, '"');
    }
    return end;
}

/* ---- made again ---------------------------------------------------------- */
static void s_same(gate_bytes_t want, const void *data, size_t size,
                   const char *what) {
    cr_assert(want.size == size && !memcmp(want.data, data, size), "%s", what);
}

/* func, args, kwargs: unpacked, and packed as our client would. */
static void s_remake_request(const gate_bytes_t *body, size_t n) {
    gate_value_t *args = NULL, *kwargs = NULL;
    gate_bytes_t func;
    gate_arg_t list[32];
    char names[32][32];
    size_t n_list = 0;
    cr_assert_eq(n, 3);
    cr_assert_eq(gi_rpc_parse_func(body[0], &func), GATE_OK);
    cr_assert_eq(gate_value_decode(body[1].data, body[1].size, NULL, &args),
                 GATE_OK);
    cr_assert_eq(gate_value_decode(body[2].data, body[2].size, NULL, &kwargs),
                 GATE_OK);
    const msgpack_object_array *a = &gate_value_object(args)->via.array;
    const msgpack_object_map *m = &gate_value_object(kwargs)->via.map;
    for (uint32_t i = 0; i < a->size; i++)
        list[n_list++] = gate_obj(&a->ptr[i]);
    for (uint32_t i = 0; i < m->size; i++) {
        snprintf(names[i], 32, "%.*s", (int)m->ptr[i].key.via.str.size,
                 m->ptr[i].key.via.str.ptr);
        list[n_list++] = gate_kw_(names[i], gate_obj(&m->ptr[i].val));
    }
    gi_buf_t b = {0};
    gi_rpc_request_t r;
    cr_assert_eq(
        gi_rpc_pack_request(&b, func.data, func.size, list, n_list, NULL, &r),
        GATE_OK);
    s_same(body[0], b.data, r.func_size, "func");
    s_same(body[1], b.data + r.func_size, r.args_size, "args");
    s_same(body[2], b.data + r.func_size + r.args_size, r.kwargs_size,
           "kwargs");
    gi_buf_fini(&b);
    gate_value_destroy(&args);
    gate_value_destroy(&kwargs);
}

static void s_remake_single(gate_bytes_t body) {
    gate_value_t *v = NULL;
    gi_buf_t b = {0};
    if (gi_rpc_take_reply(body.data, body.size, NULL, NULL, NULL, &v)) {
        const gate_error_t *e = gate_error();
        cr_assert_neq(e->code, GATE_BADDATA, "%s", e->text);
        cr_assert_eq(gi_rpc_pack_exception(&b, e->cls, e->text, e->traceback),
                     GATE_OK);
    } else {
        gate_arg_t object = gate_obj(gate_value_object(v));
        gi_buf_append(&b, gi_rpc_ok_prefix, sizeof gi_rpc_ok_prefix);
        cr_assert_eq(gi_arg_pack(&b, &object, NULL), GATE_OK);
        gi_buf_append(&b, gi_rpc_ok_suffix, sizeof gi_rpc_ok_suffix);
    }
    s_same(body, b.data, b.size, "reply");
    gi_buf_fini(&b);
    gate_value_destroy(&v);
}

static void s_remake_triple(gate_bytes_t triple) {
    gi_buf_t b = {0};
    cr_assert_eq(gi_rpc_publish_triple(triple, NULL), GATE_RAISED);
    const gate_error_t *e = gate_error();
    cr_assert_eq(gi_rpc_pack_triple(&b, e->cls, e->text, e->traceback),
                 GATE_OK);
    s_same(triple, b.data, b.size, "triple");
    gi_buf_fini(&b);
}

static void s_remake_item(gate_bytes_t item) {
    gate_value_t *v = NULL;
    gi_buf_t b = {0};
    cr_assert_eq(gate_value_decode(item.data, item.size, NULL, &v), GATE_OK);
    gate_arg_t object = gate_obj(gate_value_object(v));
    cr_assert_eq(gi_arg_pack(&b, &object, NULL), GATE_OK);
    s_same(item, b.data, b.size, "item");
    gi_buf_fini(&b);
    gate_value_destroy(&v);
}

static unsigned s_kinds[GI_BODY_BAD + 1];

static void s_remake_answer(const gate_bytes_t *body, size_t n) {
    gi_body_kind_t kind = gi_rpc_body_kind(body, n);
    s_kinds[kind]++;
    cr_assert_neq(kind, GI_BODY_BAD);
    if (kind == GI_BODY_SINGLE)
        s_remake_single(body[0]);
    else if (kind == GI_BODY_ITEM)
        s_remake_item(body[1]);
    else if (kind == GI_BODY_EXCEPTION)
        s_remake_triple(body[2]);
}

static void s_remake_ready(gate_bytes_t line) {
    gi_mdp_ready_t r;
    char name[100], description[100], *made = NULL;
    cr_assert_eq(gi_mdp_parse_ready(line, 1, &r), GATE_OK);
    snprintf(name, sizeof name, "%.*s", (int)r.name.size,
             (const char *)r.name.data);
    snprintf(description, sizeof description, "%.*s", (int)r.description.size,
             (const char *)r.description.data);
    cr_assert_eq(gi_mdp_compose_ready(name, description, r.max, &made),
                 GATE_OK);
    s_same(line, made, strlen(made), "READY");
    gi_mem_free(made);
}

/* ---- each direction ------------------------------------------------------ */
static bool s_fourth_is(const s_entry_t *e, const char *word) {
    size_t size = strlen(word);
    return e->n > 3 && e->f[3].size == size &&
           !memcmp(e->f[3].data, word, size);
}

static bool s_has_zap(const s_entry_t *e) { return s_fourth_is(e, "PLAIN"); }

static void s_from_client(const s_entry_t *e) {
    gi_mdp_request_t m;
    if (s_fourth_is(e, "NULL")) { /* a mechanism that proves nothing */
        cr_assert_eq(gi_mdp_parse_request(e->f, e->n, true, &m), GATE_REFUSED);
        return;
    }
    cr_assert_eq(gi_mdp_parse_request(e->f, e->n, s_has_zap(e), &m), GATE_OK);
    s_remake_request(e->f + m.body, m.n_body);
}

static void s_to_client(const s_entry_t *e) {
    gi_mdp_reply_t m;
    cr_assert_eq(gi_mdp_parse_reply(e->f, e->n, &m), GATE_OK);
    s_remake_answer(e->f + m.body, m.n_body);
}

static void s_from_worker(const s_entry_t *e) {
    gi_mdp_worker_t m;
    cr_assert_eq(gi_mdp_parse_worker(e->f, e->n, s_has_zap(e), &m), GATE_OK,
                 "%s", gate_error()->text);
    if (m.command == GI_MDP_READY)
        s_remake_ready(e->f[m.body]);
    if (m.command == GI_MDP_REPLY)
        s_remake_answer(e->f + m.body, m.n_body);
}

static void s_to_worker(const s_entry_t *e) {
    gi_mdp_worker_t m;
    cr_assert_eq(gi_mdp_parse_broker(e->f, e->n, &m), GATE_OK);
    if (m.command == GI_MDP_REQUEST)
        s_remake_request(e->f + m.body, m.n_body);
}

static const struct {
    const char *direction;
    void (*check)(const s_entry_t *e);
} s_checks[] = {{"client->broker", s_from_client},
                {"broker->client", s_to_client},
                {"worker->broker", s_from_worker},
                {"broker->worker", s_to_worker}};

static unsigned s_check_file(const char *name) {
    static s_entry_t e;
    unsigned n = 0;
    char *text = s_read(name);
    for (const char *at = text; (at = s_next(at, &e));)
        for (size_t i = 0; i < 4; i++)
            if (!strcmp(e.direction, s_checks[i].direction)) {
                s_checks[i].check(&e);
                n++;
            }
    free(text);
    return n;
}

Test(vectors, are_parsed_and_made_again) {
    DIR *dir = opendir(DIRECTORY);
    cr_assert(dir, "run it in the source directory");
    unsigned n_files = 0, n_messages = 0;
    for (struct dirent *d; (d = readdir(dir));) {
        /* gate clusters have another protocol; the shapes are src/huge's */
        if (!strstr(d->d_name, ".json") || !strncmp(d->d_name, "gate_", 5) ||
            !strcmp(d->d_name, "huge_gzip_shapes.json"))
            continue;
        n_messages += s_check_file(d->d_name);
        n_files++;
    }
    closedir(dir);
    cr_assert_geq(n_files, 28);
    cr_assert_geq(n_messages, 120, "%u", n_messages);
    cr_assert_gt(s_kinds[GI_BODY_SINGLE], 20);
    cr_assert_gt(s_kinds[GI_BODY_ITEM], 20);
    cr_assert_gt(s_kinds[GI_BODY_END], 5);
    cr_assert_gt(s_kinds[GI_BODY_EXCEPTION], 1);
    cr_assert_gt(s_kinds[GI_BODY_CHUNK], 5);
    cr_assert_gt(s_kinds[GI_BODY_HUGE_END], 1);
}

/* constants.json against tags.h */
Test(vectors, constants) {
    static const struct {
        const char *name, *value;
    } rows[] = {{"C_MDP_CLIENT", GI_MDP_CLIENT},
                {"C_MDP_WORKER", GI_MDP_WORKER},
                {"C_STREAM_GEN", GI_STREAM_TAG},
                {"C_STREAM_END", GI_STREAM_END},
                {"C_STREAM_EXC", GI_STREAM_EXCEPTION},
                {"C_HUGE_TAG", GI_HUGE_TAG},
                {"C_HUGE_END", GI_HUGE_END},
                {"C_HUGE_EXC", GI_HUGE_EXCEPTION}};
    static unsigned char data[DATA_MAX];
    char *text = s_read("constants.json");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *hex = s_member(text, NULL, rows[i].name);
        cr_assert(hex, "%s", rows[i].name);
        size_t size = s_hex(hex + 1, data);
        s_same((gate_bytes_t){data, size}, rows[i].value, strlen(rows[i].value),
               rows[i].name);
    }
    size_t size = s_hex(s_member(text, NULL, "V_SINGLETON_EXC") + 1, data);
    s_remake_single((gate_bytes_t){data, size});
    size = s_hex(s_member(text, NULL, "V_READY_BODY") + 1, data);
    s_remake_ready((gate_bytes_t){data, size});
    free(text);
}
