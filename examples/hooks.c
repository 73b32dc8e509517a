/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks.c -- msgpack hooks: a C struct goes out as an ext type, and maps that
 * come in as {"re": x, "im": y} turn into their absolute value. */
#include <gaterpc.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct point {
    int8_t x, y;
} point_t;
enum { EXT_POINT = 7 };

/* Out: gate_ext(EXT_POINT, &p) arrives here. */
static gate_err_t pack(void *ctx, int8_t type, const void *object,
                       msgpack_packer *to) {
    const point_t *p = object;
    (void)ctx;
    if (type != EXT_POINT)
        return GATE_BADARG;
    char xy[2] = {(char)p->x, (char)p->y};
    return msgpack_pack_ext(to, 2, type) || msgpack_pack_ext_body(to, xy, 2)
               ? GATE_NOMEM
               : GATE_OK;
}

static const msgpack_object *part(const msgpack_object *map, const char *key) {
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == 2 &&
            !memcmp(kv->key.via.str.ptr, key, 2))
            return &kv->val;
    }
    return NULL;
}

/* In: every decoded map passes here and may be replaced. */
static gate_err_t absolute(void *ctx, msgpack_object *map, msgpack_zone *zone) {
    (void)ctx, (void)zone;
    const msgpack_object *re = part(map, "re"), *im = part(map, "im");
    if (re && im && re->type == MSGPACK_OBJECT_FLOAT64 &&
        im->type == MSGPACK_OBJECT_FLOAT64) {
        double d = hypot(re->via.f64, im->via.f64);
        *map = (msgpack_object){.type = MSGPACK_OBJECT_FLOAT64, .via.f64 = d};
    }
    return GATE_OK;
}

static gate_err_t echo(gate_call_t *call) {
    const msgpack_object *v;
    gate_err_t e = gate_args(call, &v);
    return e ? e : gate_return(call, v);
}

static const gate_method_t methods[] = {GATE_METHOD(echo), GATE_END};

int main(void) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_hooks(settings, (gate_hooks_t){.prepare_pack = pack,
                                                 .object_hook = absolute});
    GATE_OWN(gate_runtime) rt = gate_runtime_new(settings);
    GATE_OWN(gate_service) service = gate_service_new(rt, "Hooks");
    GATE_OWN(gate_client) client = gate_client_new(rt);
    gate_service_methods(service, methods, NULL);
    if (gate_service_start(service, NULL) || gate_client_connect(client, NULL))
        return gate_perror("start");

    point_t p = {3, -4};
    const msgpack_object *o;
    GATE_OWN(gate_value) value = NULL;
    if (gate_client_call(client, "Hooks.echo", &value, gate_ext(EXT_POINT, &p)))
        return gate_perror("echo");
    o = gate_value_object(value);
    if (o->type != MSGPACK_OBJECT_EXT || o->via.ext.type != EXT_POINT ||
        memcmp(o->via.ext.ptr, "\x03\xfc", 2))
        return 1;

    double d;
    if (gate_client_call(client, "Hooks.echo", &d,
                         gate_map(gate_kw("re", 3.0), gate_kw("im", 4.0))))
        return gate_perror("echo");
    printf("ext %d, |3+4i| = %g\n", o->via.ext.type, d);
    return d != 5.0;
}
