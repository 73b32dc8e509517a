/* SPDX-License-Identifier: BSD-3-Clause */
/* nomem_foreign.c -- see nomem.c: what bindings of other languages call: a
 * caller and an answerer of one thread. */
#include "nomem.h"
#include <poll.h>
#include <string.h>

#define WAIT_MS nomem_wait_ms()

struct world {
    gate_runtime_t *runtime;
    gate_answerer_t *answerer;
    gate_service_t *service;
    gate_client_t *client;
    gate_caller_t *caller;
};

static world_t s_world;

static const char s_args[] = {'\x92', 2, 3};             /* [2, 3] */
static const char s_kwargs[] = {'\x81', '\xa1', 'k', 5}; /* {"k": 5} */
static const char s_five[] = {5};

static gate_err_t s_own_error(void) { return gate_error()->code; }

static void s_look(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 10) < 0)
        nomem_die("poll", 0, GATE_SYSTEM);
}

/* The ticket of an array's first entry. */
static gate_err_t s_first(gate_bytes_t entries, gate_ticket_t **ticket,
                          int64_t *code) {
    GATE_OWN(gate_value) all = NULL;
    uint64_t name;
    gate_err_t e = gate_value_decode(entries.data, entries.size, NULL, &all);
    e = e ? e : gate_value_read(all, "0.0", &name);
    if (!e && code)
        e = gate_value_read(all, "0.1", code);
    if (!e)
        *ticket = (gate_ticket_t *)(uintptr_t)name;
    return e;
}

/* The next call of the service, or why there is none. */
static gate_err_t s_next(world_t *w, gate_ticket_t **ticket) {
    gate_bytes_t calls;
    for (int i = 0; i < WAIT_MS / 10; i++) {
        s_look(gate_answerer_fd(w->answerer));
        if (gate_answerer_take(w->answerer, &calls))
            return s_first(calls, ticket, NULL);
    }
    return GATE_TIMEOUT;
}

static gate_ticket_t *s_start(world_t *w) {
    gate_arg_t more[] = {gate_meta("traceparent", "00-1"), gate_int(4)};
    return gate_caller_start(w->caller, "F.add", s_args, sizeof s_args,
                             s_kwargs, sizeof s_kwargs, WAIT_MS, more, 2);
}

/* Its answer's code. */
static gate_err_t s_answer(world_t *w, int64_t *code) {
    gate_bytes_t answers = {0};
    gate_ticket_t *ticket;
    for (int i = 0; i < 2 * WAIT_MS / 10; i++) {
        s_look(gate_caller_fd(w->caller));
        if (gate_caller_take(w->caller, 0, &answers))
            return s_first(answers, &ticket, code);
    }
    return GATE_TIMEOUT;
}

/* What an earlier round that failed has left. */
static void s_clear(world_t *w) {
    gate_bytes_t bytes;
    gate_ticket_t *ticket;
    while (gate_answerer_take(w->answerer, &bytes))
        if (!s_first(bytes, &ticket, NULL))
            gate_answerer_end(w->answerer, ticket);
    while (gate_caller_take(w->caller, 0, &bytes))
        ;
}

static gate_err_t s_call(world_t *w) {
    gate_ticket_t *ticket;
    int64_t code = -1;
    if (!s_start(w))
        return s_own_error();
    gate_err_t e = s_next(w, &ticket);
    if (!e)
        gate_answerer_return(w->answerer, ticket, s_five, sizeof s_five);
    gate_err_t had = s_answer(w, &code);
    s_clear(w);
    return e ? e : had ? had : (gate_err_t)code;
}

static gate_err_t s_raise(world_t *w) {
    gate_ticket_t *ticket;
    int64_t code = -1;
    if (!s_start(w))
        return s_own_error();
    gate_err_t e = s_next(w, &ticket);
    if (!e)
        gate_answerer_raise(w->answerer, ticket, "KeyError", "as it should",
                            "line 1");
    gate_err_t had = s_answer(w, &code);
    s_clear(w);
    return e ? e : had ? had : code == GATE_RAISED ? GATE_OK : GATE_NOMEM;
}

static gate_err_t s_cancel(world_t *w) {
    int64_t code = -1;
    gate_ticket_t *ticket = s_start(w);
    if (!ticket)
        return s_own_error();
    gate_caller_cancel(w->caller, ticket);
    gate_err_t e = s_answer(w, &code);
    s_clear(w);
    return e ? e : code == GATE_CANCELLED ? GATE_OK : GATE_NOMEM;
}

static gate_err_t s_yields(world_t *w, gate_ticket_t *ticket) {
    gate_err_t e =
        gate_answerer_yield(w->answerer, ticket, s_five, sizeof s_five);
    if (e)
        gate_answerer_raise(w->answerer, ticket, "MemoryError", "no memory",
                            "");
    else
        gate_answerer_end(w->answerer, ticket);
    return e;
}

static gate_err_t s_stream(world_t *w) {
    gate_stream_t *stream = NULL;
    gate_ticket_t *ticket;
    gate_bytes_t items;
    gate_err_t e = gate_caller_open(w->caller, "F.add", s_args, sizeof s_args,
                                    NULL, 0, WAIT_MS, NULL, 0, &stream);
    e = e ? e : s_next(w, &ticket);
    e = e ? e : s_yields(w, ticket);
    e = e ? e : gate_caller_items(w->caller, stream, true, 8, &items);
    if (!e)
        while (!(e = gate_caller_items(w->caller, stream, true, 8, &items)))
            ;
    gate_stream_destroy(&stream);
    s_clear(w);
    return e == GATE_EOS ? GATE_OK : e;
}

static gate_err_t yields_now(gate_call_t *call) {
    gate_call_t *mine = gate_call_keep(call);
    if (!mine)
        return s_own_error();
    gate_err_t e = gate_yield_now(mine, 1);
    if (e)
        gate_fail(&mine, "MemoryError", "no memory");
    else
        gate_end(&mine);
    return GATE_KEPT;
}

static gate_err_t seven(gate_call_t *call) { return gate_return(call, 7); }

static const gate_method_t s_methods[] = {GATE_METHOD(yields_now),
                                          GATE_METHOD(seven), GATE_END};

static gate_err_t s_now(world_t *w) {
    gate_stream_t *stream = NULL;
    int64_t item;
    gate_err_t e = gate_client_open(w->client, "F.yields_now", &stream,
                                    gate_timeout_ms(WAIT_MS));
    while (!e)
        e = gate_stream_next(stream, &item);
    gate_stream_destroy(&stream);
    return e == GATE_EOS ? GATE_OK : e;
}

static gate_err_t s_sync(world_t *w) {
    gate_bytes_t got;
    gate_err_t e = gate_caller_call(w->caller, "F.seven", NULL, 0, NULL, 0,
                                    WAIT_MS, NULL, 0, &got);
    return e                                               ? e
           : got.size == 1 && *(const char *)got.data == 7 ? GATE_OK
                                                           : GATE_BADDATA;
}

static gate_err_t s_spread(world_t *w) {
    GATE_OWN(gate_items) items = gate_items_new();
    gate_err_t e =
        items ? gate_items_add(items, gate_spread("\x90", 1)) : s_own_error();
    (void)w;
    return e;
}

static gate_err_t s_lives(world_t *w) {
    gate_caller_t *caller = gate_caller_new(w->client);
    gate_answerer_t *answerer = caller ? gate_answerer_new() : NULL;
    gate_service_t *service =
        answerer ? gate_service_new(w->runtime, "G") : NULL;
    gate_err_t e = service ? gate_answerer_method(answerer, service, "m",
                                                  "(a, b)", "what it does")
                           : s_own_error();
    e = e ? e : gate_service_start(service, NULL);
    gate_service_destroy(&service);
    gate_answerer_destroy(&answerer);
    gate_caller_destroy(&caller);
    return e;
}

static const step_t s_all[] = {
    {"call", s_call, 0},     {"raise", s_raise, 0},   {"cancel", s_cancel, 0},
    {"stream", s_stream, 0}, {"yield now", s_now, 0}, {"sync", s_sync, 0},
    {"spread", s_spread, 0}, {"lives", s_lives, 0},
};

static void s_begin(world_t *w) {
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "log_level", "silent");
    w->runtime = gate_runtime_new(settings);
    w->answerer = gate_answerer_new();
    w->service = gate_service_new(w->runtime, "F");
    w->client = gate_client_new(w->runtime);
    gate_err_t e =
        gate_answerer_method(w->answerer, w->service, "add", NULL, NULL);
    gate_service_methods(w->service, s_methods, NULL);
    e = e ? e : gate_service_start(w->service, NULL);
    e = e ? e : gate_client_connect(w->client, NULL);
    w->caller = gate_caller_new(w->client);
    if (e || !w->caller)
        nomem_die("world", 0, e);
}

static void s_end(world_t *w) {
    gate_caller_destroy(&w->caller);
    gate_client_destroy(&w->client);
    gate_service_destroy(&w->service);
    gate_answerer_destroy(&w->answerer);
    gate_runtime_destroy(&w->runtime);
}

int main(int argc, char **argv) {
    nomem_init();
    s_begin(&s_world);
    nomem_run(&s_world, s_all, sizeof s_all / sizeof *s_all, argc, argv);
    s_end(&s_world);
    return 0;
}
