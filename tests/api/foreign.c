/* SPDX-License-Identifier: BSD-3-Clause */
/* foreign.c -- what bindings of other languages call: arguments that are spread,
 * batches of answers and of calls, streams without waiting, callers that leave. */
#include <criterion/criterion.h>
#include <poll.h>
#include <string.h>
#include "rig.h"

#define MUST(call)                                                      \
    do {                                                                \
        gate_err_t e_ = (call);                                         \
        cr_assert_eq(e_, GATE_OK, "%s: %s", #call, gate_error()->text); \
    } while (0)

static gate_err_t sum(gate_call_t *call) {
    int64_t a, b, c = 0;
    gate_err_t e = gate_args(call, gate_named("a", &a), gate_named("b", &b),
                             gate_kwopt("c", &c));
    return e ? e : gate_return(call, a + b + c);
}

static const gate_method_t s_methods[] = {GATE_METHOD(sum), GATE_END};

/* A service whose method "far" is answered here, another that adds. */
typedef struct duo {
    gate_runtime_t *rt;
    gate_answerer_t *answerer;
    gate_service_t *service;
    gate_client_t *client;
    gate_caller_t *caller;
} duo_t;

static duo_t s_up(void) {
    duo_t d = {.rt = gate_runtime_new(NULL)};
    d.answerer = gate_answerer_new();
    d.service = gate_service_new(d.rt, "Test");
    gate_service_methods(d.service, s_methods, NULL);
    MUST(gate_answerer_method(d.answerer, d.service, "far", "(*args)", NULL));
    MUST(gate_service_start(d.service, NULL));
    d.client = gate_client_new(d.rt);
    MUST(gate_client_connect(d.client, NULL));
    d.caller = gate_caller_new(d.client);
    return d;
}

static void s_down(duo_t *d) {
    gate_caller_destroy(&d->caller);
    gate_client_destroy(&d->client);
    gate_service_destroy(&d->service);
    gate_answerer_destroy(&d->answerer);
    gate_runtime_destroy(&d->rt);
}

static gate_value_t *s_decode(gate_bytes_t bytes) {
    gate_value_t *v = NULL;
    MUST(gate_value_decode(bytes.data, bytes.size, NULL, &v));
    return v;
}

static gate_value_t *s_calls(duo_t *d) {
    gate_bytes_t calls;
    struct pollfd p = {.fd = gate_answerer_fd(d->answerer), .events = POLLIN};
    do
        cr_assert_eq(poll(&p, 1, 60000), 1);
    while (!gate_answerer_take(d->answerer, &calls));
    return s_decode(calls);
}

static gate_ticket_t *s_ticket(const gate_value_t *all, const char *path) {
    uint64_t name = 0;
    MUST(gate_value_read(all, path, &name));
    return (gate_ticket_t *)(uintptr_t)name;
}

static gate_value_t *s_answers(duo_t *d) {
    gate_bytes_t answers;
    cr_assert(gate_caller_take(d->caller, 60000, &answers) > 0);
    return s_decode(answers);
}

Test(foreign, arguments_are_spread) {
    duo_t d = s_up();
    long n = 0;
    MUST(gate_client_call(d.client, "Test.sum", &n,
                          gate_spread("\x92\x02\x03", 3)));
    cr_assert_eq(n, 5);
    MUST(gate_client_call(d.client, "Test.sum", &n, 2,
                          gate_spread("\x82\xa1"
                                      "b\x03\xa1"
                                      "c\x04",
                                      7)));
    cr_assert_eq(n, 9);
    MUST(gate_client_call(d.client, "Test.sum", &n, gate_spread("\x90", 1), 1,
                          gate_kw("b", 1), gate_spread("\x80", 1)));
    cr_assert_eq(n, 2);
    cr_assert_eq(
        gate_client_call(d.client, "Test.sum", &n, gate_spread("\x07", 1)),
        GATE_BADARG);
    cr_assert_eq(
        gate_client_call(d.client, "Test.sum", &n, gate_spread("\x92\x02", 2)),
        GATE_BADARG);
    cr_assert_eq(gate_client_call(d.client, "Test.sum", &n,
                                  gate_list(gate_spread("\x90", 1))),
                 GATE_BADARG);
    s_down(&d);
}

static void s_start_all(duo_t *d, gate_ticket_t **tickets, int n) {
    for (int i = 0; i < n; i++) {
        char args[] = {'\x91', (char)i};
        gate_arg_t meta = gate_meta("k", "v");
        tickets[i] = gate_caller_start(d->caller, "Test.far", args, sizeof args,
                                       NULL, 0, 60000, &meta, 1);
        cr_assert(tickets[i]);
    }
}

/* Each with its own argument; the odd ones fail. */
static int s_answer_all(duo_t *d) {
    GATE_OWN(gate_value) calls = s_calls(d);
    int n = (int)gate_value_object(calls)->via.array.size;
    for (int i = 0; i < n; i++) {
        char path[32], byte;
        int arg = -1;
        const char *text;
        snprintf(path, sizeof path, "%d.0", i);
        gate_ticket_t *t = s_ticket(calls, path);
        snprintf(path, sizeof path, "%d.2.0", i);
        MUST(gate_value_read(calls, path, &arg));
        snprintf(path, sizeof path, "%d.5.k", i);
        MUST(gate_value_read(calls, path, &text));
        cr_assert_str_eq(text, "v");
        byte = (char)arg;
        if (arg % 2)
            gate_answerer_raise(d->answerer, t, "KeyError", "odd", "line 1\n");
        else
            gate_answerer_return(d->answerer, t, &byte, 1);
    }
    return n;
}

Test(foreign, batches_both_ways) {
    enum { N = 100 };
    duo_t d = s_up();
    gate_ticket_t *tickets[N];
    s_start_all(&d, tickets, N);
    for (int n = 0; n < N;)
        n += s_answer_all(&d);
    bool seen[N] = {false};
    for (int n = 0; n < N;) {
        GATE_OWN(gate_value) all = s_answers(&d);
        int size = (int)gate_value_object(all)->via.array.size;
        for (int i = 0; i < size; i++, n++) {
            char path[32];
            int code, arg = 0;
            snprintf(path, sizeof path, "%d.0", i);
            gate_ticket_t *t = s_ticket(all, path);
            while (arg < N && tickets[arg] != t)
                arg++;
            cr_assert(arg < N && !seen[arg]);
            seen[arg] = true;
            snprintf(path, sizeof path, "%d.1", i);
            MUST(gate_value_read(all, path, &code));
            cr_assert_eq(code != 0, arg % 2);
            if (!code) {
                snprintf(path, sizeof path, "%d.2", i);
                MUST(gate_value_read(all, path, &code));
                cr_assert_eq(code, arg);
            }
        }
    }
    s_down(&d);
}

Test(foreign, a_caller_that_leaves_is_told) {
    duo_t d = s_up();
    gate_ticket_t *mine;
    s_start_all(&d, &mine, 1);
    GATE_OWN(gate_value) calls = s_calls(&d);
    gate_ticket_t *theirs = s_ticket(calls, "0.0");
    gate_caller_cancel(d.caller, mine);
    GATE_OWN(gate_value) answers = s_answers(&d);
    int code = 0;
    MUST(gate_value_read(answers, "0.1", &code));
    cr_assert_eq(code, GATE_CANCELLED);
    gate_bytes_t left;
    while (!gate_answerer_take(d.answerer, &left)) /* the actor has to see it */
        ;
    GATE_OWN(gate_value) gone = s_decode(left);
    cr_assert_eq(s_ticket(gone, "0.0"), theirs);
    cr_assert_eq(gate_answerer_take(d.answerer, &left), 0);
    gate_answerer_return(d.answerer, theirs, "\xc0", 1);
    s_down(&d);
}

Test(foreign, streams_without_waiting) {
    duo_t d = s_up();
    gate_stream_t *stream;
    MUST(gate_caller_open(d.caller, "Test.far", NULL, 0, NULL, 0, 60000, NULL,
                          0, &stream));
    GATE_OWN(gate_value) calls = s_calls(&d);
    gate_ticket_t *t = s_ticket(calls, "0.0");
    int sent = 0, got = 0;
    gate_err_t e;
    while (!(e = gate_answerer_yield(d.answerer, t, "\x07", 1)))
        cr_assert(++sent < 1000000, "there is no end to the reader's room");
    cr_assert_eq(e, GATE_BUSY);
    gate_bytes_t items;
    do {
        e = gate_caller_items(d.caller, stream, true, 50, &items);
        cr_assert(!e && items.size <= 55);
        got += (int)items.size - 5;
    } while (got < sent);
    while ((e = gate_answerer_yield(d.answerer, t, "\x08", 1)) == GATE_BUSY)
        ; /* its credit is on its way */
    MUST(e);
    gate_answerer_end(d.answerer, t);
    MUST(gate_caller_items(d.caller, stream, true, 50, &items));
    cr_assert_eq(items.size, 6);
    cr_assert_eq(gate_caller_items(d.caller, stream, true, 50, &items),
                 GATE_EOS);
    gate_stream_destroy(&stream);
    s_down(&d);
}

Test(foreign, ends_with_all_under_way) {
    duo_t d = s_up();
    gate_ticket_t *tickets[3];
    s_start_all(&d, tickets, 3);
    gate_value_t *calls = s_calls(&d);
    gate_value_destroy(&calls);
    s_down(&d);
}
