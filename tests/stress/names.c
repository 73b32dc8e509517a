/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of services while another thread starts and destroys services: each
 * name is one that was given, whole, and those that stay are always there.
 * Every check aborts. */
#include <gaterpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "check.h"

enum { S_ASKERS = 2, S_STAY = 3, S_ROUNDS = 300 };
#define S_STAYS "Stays-the-whole-time-%d"
#define S_COMES "Comes-and-goes-under-this-name-%03d"

static gate_runtime_t *s_runtime;
static gate_client_t *s_client;
static atomic_bool s_over;
static atomic_long s_asked;

static gate_err_t nothing(gate_call_t *call) { return gate_return(call, 1); }

static const gate_method_t s_methods[] = {GATE_METHOD(nothing), GATE_END};

static gate_service_t *s_serve(bool stays, int i) {
    char name[64];
    if (stays)
        snprintf(name, sizeof name, S_STAYS, i);
    else
        snprintf(name, sizeof name, S_COMES, i);
    gate_service_t *service = gate_service_new(s_runtime, name);
    gate_service_methods(service, s_methods, NULL);
    CHECK(!gate_service_start(service, NULL), "%s", gate_error()->text);
    return service;
}

/* True: one of those that stay. */
static bool s_look(const msgpack_object *o) {
    char text[64], again[64];
    int i;
    CHECK(o->type == MSGPACK_OBJECT_STR && o->via.str.size < sizeof text,
          "type %d", (int)o->type);
    memcpy(text, o->via.str.ptr, o->via.str.size);
    text[o->via.str.size] = 0;
    if (sscanf(text, S_STAYS, &i) == 1) {
        snprintf(again, sizeof again, S_STAYS, i);
        CHECK(strcmp(text, again) == 0, "%s", text);
        return true;
    }
    CHECK(sscanf(text, S_COMES, &i) == 1, "%s", text);
    snprintf(again, sizeof again, S_COMES, i);
    CHECK(strcmp(text, again) == 0, "%s", text);
    return false;
}

static void *s_ask(void *arg) {
    while (!s_over) {
        gate_value_t *names = NULL;
        int stay = 0;
        CHECK(!gate_client_services(s_client, &names), "%s",
              gate_error()->text);
        const msgpack_object *o = gate_value_object(names);
        CHECK(o->type == MSGPACK_OBJECT_ARRAY, "type %d", (int)o->type);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            stay += s_look(&o->via.array.ptr[i]);
        CHECK(stay == S_STAY, "%d of those that stay", stay);
        gate_value_destroy(&names);
        s_asked++;
    }
    return arg;
}

int main(void) {
    pthread_t askers[S_ASKERS];
    gate_service_t *stay[S_STAY];
    s_runtime = gate_runtime_new(NULL);
    s_client = gate_client_new(s_runtime);
    CHECK(!gate_client_connect(s_client, NULL), "%s", gate_error()->text);
    for (int i = 0; i < S_STAY; i++)
        stay[i] = s_serve(true, i);
    for (int i = 0; i < S_ASKERS; i++)
        CHECK(!pthread_create(&askers[i], NULL, s_ask, NULL), "no thread");
    for (int i = 0; i < S_ROUNDS || !s_asked; i++) {
        gate_service_t *service = s_serve(false, i % 1000);
        gate_service_destroy(&service);
    }
    s_over = true;
    for (int i = 0; i < S_ASKERS; i++)
        pthread_join(askers[i], NULL);
    for (int i = 0; i < S_STAY; i++)
        gate_service_destroy(&stay[i]);
    gate_client_destroy(&s_client);
    gate_runtime_destroy(&s_runtime);
    printf("asked %ld times\n", (long)s_asked);
    return 0;
}
