/* SPDX-License-Identifier: BSD-3-Clause */
/* rig.c -- see rig.h. */
#include "rig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S_FAR_MS 60000
#define S_LOOK_MS 10
#define S_CALM_MS 5000

const char *rig_name(rig_way_t way) {
    static const char *const names[] = {"inproc", "ipc", "tcp", "registry",
                                        "uplink"};
    return names[way];
}

/* Under TSan stress_uplink_life has the uplink's threads; here it would take
 * minutes. */
static const char *s_no_uplink(void) {
#ifdef __SANITIZE_THREAD__
    return "under TSan stress_uplink_life has it";
#else
    return nats_missing();
#endif
}

int rig_ways(void) {
    const char *why = s_no_uplink();
    if (why)
        fprintf(stderr, "skipped over the uplink: %s\n", why);
    return why ? RIG_WAYS : RIG_UPLINK + 1;
}

gate_settings_t *rig_settings(void) {
    gate_settings_t *s = gate_settings_new();
    gate_settings_set(s, "heartbeat", 500);
    gate_settings_set(s, "timeout", 2);
    gate_settings_set(s, "reply_timeout", 5);
    gate_settings_set(s, "log_level", "error");
    return s;
}

#define MUST(call)                                                      \
    do {                                                                \
        gate_err_t e_ = (call);                                         \
        cr_assert_eq(e_, GATE_OK, "%s: %s", #call, gate_error()->text); \
    } while (0)

static void s_endpoints(rig_t *self, rig_way_t way, char *front, char *back) {
    static int n;
    n++;
    if (way == RIG_TCP || way == RIG_UPLINK) {
        strcpy(front, "tcp://127.0.0.1:*");
        strcpy(back, "tcp://127.0.0.1:*");
    } else if (way == RIG_INPROC) {
        sprintf(front, "inproc://rig-front-%d", n);
        sprintf(back, "inproc://rig-back-%d", n);
    } else {
        strcpy(self->dir, "/tmp/gate-rig-XXXXXX");
        cr_assert_not_null(mkdtemp(self->dir));
        sprintf(front, "ipc://%s/f", self->dir);
        sprintf(back, "ipc://%s/b", self->dir);
    }
}

static gate_broker_t *s_broker(rig_t *self, const char *front,
                               const char *back) {
    gate_broker_t *broker = gate_broker_new(self->rt);
    gate_broker_bind(broker, front);
    gate_broker_bind_backend(broker, back);
    if (self->nats.pid)
        gate_broker_uplink(broker, self->nats.url);
    MUST(gate_broker_start(broker));
    return broker;
}

static bool s_lists(gate_client_t *client, const char *service) {
    GATE_OWN(gate_value) names = NULL;
    MUST(gate_client_services(client, &names));
    const msgpack_object *list = gate_value_object(names);
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        const msgpack_object_str *name = &list->via.array.ptr[i].via.str;
        if (name->size == strlen(service) &&
            memcmp(name->ptr, service, name->size) == 0)
            return true;
    }
    return false;
}

/* The brokers have found each other. */
static void s_await_far(rig_t *self, const char *service) {
    int n = 0;
    for (; n < S_FAR_MS / S_LOOK_MS && !s_lists(self->client, service); n++)
        usleep(S_LOOK_MS * 1000);
    cr_assert_lt(n, S_FAR_MS / S_LOOK_MS, "%s is not there", service);
}

static gate_settings_t *s_settings(rig_way_t way,
                                   const gate_settings_t *settings) {
    gate_settings_t *s =
        settings ? gate_settings_dup(settings) : rig_settings();
    gate_settings_set(s, "route", way == RIG_REGISTRY ? "local" : "broker");
    if (way == RIG_UPLINK) /* who stands still for a while is not lost */
        gate_settings_set(s, "uplink_heartbeat_ms", S_CALM_MS);
    return s;
}

void rig_up(rig_t *self, rig_way_t way, const gate_settings_t *settings,
            const gate_method_t *table, void *ctx) {
    char front[128], back[128];
    *self = (rig_t){0};
    if (way == RIG_UPLINK) /* before there are threads */
        cr_assert(nats_begin(&self->nats, NULL), "nats-server does not start");
    gate_settings_t *s = s_settings(way, settings);
    self->rt = gate_runtime_new(s);
    gate_settings_destroy(&s);
    self->service = gate_service_new(self->rt, "Test");
    gate_service_methods(self->service, table, ctx);
    self->client = gate_client_new(self->rt);
    if (way == RIG_REGISTRY) {
        MUST(gate_service_start(self->service, NULL));
        MUST(gate_client_connect(self->client, NULL));
        return;
    }
    s_endpoints(self, way, front, back);
    self->broker = s_broker(self, front, back);
    if (way == RIG_UPLINK)
        self->far = s_broker(self, front, back);
    MUST(gate_service_start(
        self->service,
        gate_broker_backend(self->far ? self->far : self->broker, 0)));
    MUST(gate_service_ready(self->service, 3000));
    MUST(gate_client_connect(self->client,
                             gate_broker_frontend(self->broker, 0)));
    MUST(gate_client_ready(self->client, 3000));
    if (way == RIG_UPLINK)
        s_await_far(self, "Test");
}

void rig_down(rig_t *self) {
    char path[80];
    gate_client_destroy(&self->client);
    gate_service_destroy(&self->service);
    gate_broker_destroy(&self->broker);
    gate_broker_destroy(&self->far);
    gate_runtime_destroy(&self->rt);
    nats_kill(&self->nats);
    if (*self->dir) {
        sprintf(path, "%s/f", self->dir);
        unlink(path);
        sprintf(path, "%s/b", self->dir);
        unlink(path);
        rmdir(self->dir);
    }
}

int rig_fds(void) {
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n;
}
