/* SPDX-License-Identifier: BSD-3-Clause */
/* supervisor.c -- a resource and a service that needs it, under one supervisor:
 * rest for one, so that the service is made anew whenever the resource was. */
#include <gaterpc.h>
#include <stdio.h>
#include <time.h>

/* The resource: a connection to something, say. It fails twice at first. */
typedef struct resource {
    int tries;
    bool open;
} resource_t;

static gate_err_t resource_open(void *ctx) {
    resource_t *self = ctx;
    if (++self->tries <= 2)
        return GATE_SYSTEM;
    self->open = true;
    return GATE_OK;
}

static void resource_close(void *ctx) { ((resource_t *)ctx)->open = false; }

/* The service. */
static gate_err_t tries(gate_call_t *call) {
    const resource_t *resource = gate_call_ctx(call);
    gate_err_t e = gate_no_args(call);
    return e ? e : gate_return(call, resource->tries);
}

static const gate_method_t methods[] = {GATE_METHOD(tries), GATE_END};

static gate_err_t init(gate_runtime_t *rt, gate_service_t *service, void *ctx) {
    (void)rt;
    gate_service_methods(service, methods, ctx);
    return GATE_OK;
}

static void on_event(void *ctx, const gate_child_event_t *event) {
    (void)ctx;
    printf("%s: %s%s%s\n", event->name, gate_child_state_text(event->state),
           event->error ? ", died: " : "",
           event->error ? gate_err_text(event->error) : "");
}

static int ask(gate_client_t *client, int expected) {
    int n = 0;
    for (int i = 0; i < 500 && n != expected; i++) {
        if (gate_client_call(client, "Demo.tries", &n) != GATE_OK)
            n = 0; /* it is being restarted */
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    printf("the resource was opened at try %d\n", n);
    return n == expected ? 0 : 1;
}

int main(void) {
    resource_t resource = {0};
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_client) client = gate_client_new(rt);
    GATE_OWN(gate_supervisor)
    supervisor = gate_supervisor_new(
        rt, &(gate_supervisor_options_t){.strategy = GATE_REST_FOR_ONE,
                                         .backoff_ms = 10,
                                         .event = on_event});
    gate_supervisor_add(supervisor, &(gate_child_t){.name = "resource",
                                                    .start = resource_open,
                                                    .stop = resource_close,
                                                    .ctx = &resource});
    gate_supervisor_add_service(
        supervisor,
        &(gate_service_spec_t){.name = "Demo", .init = init, .ctx = &resource});
    if (gate_supervisor_start(supervisor) ||
        gate_supervisor_ready(supervisor, 10000) ||
        gate_client_connect(client, NULL))
        return gate_perror("supervisor");
    int code = ask(client, 3);
    /* Whoever notices that the resource has gone bad says so. */
    gate_supervisor_failed(supervisor, "resource", GATE_LOST);
    return code ? code : ask(client, 4);
}
