/* SPDX-License-Identifier: BSD-3-Clause */
/* streaming.c -- results that come one by one: pulled by the service when the
 * reader has room, or yielded by a thread; and a reader that stops early. */
#include "local.h"
#include <string.h>

static gate_err_t next(gate_call_t *call, void *state) {
    int *left = state;
    if (!*left)
        return GATE_EOS;
    return gate_yield(call, (*left)--);
}

static gate_err_t countdown(gate_call_t *call) {
    int *left = malloc(sizeof *left);
    if (!left)
        return GATE_NOMEM;
    gate_err_t e = gate_args(call, left);
    if (e) {
        free(left);
        return e;
    }
    return gate_generate(call, next, left, free);
}

/* On a thread: gate_yield waits for the reader, and says when it has left. */
static gate_err_t letters(gate_call_t *call) {
    gate_err_t e = GATE_OK;
    for (char c = 'a'; c <= 'c' && !e; c++)
        e = gate_yield(call, ((const char[]){c, 0}));
    return e ? e : gate_raise(call, "LookupError", "no more letters");
}

static const gate_method_t methods[] = {
    GATE_METHOD(countdown),
    GATE_METHOD(letters, .runs = GATE_THREAD),
    GATE_END,
};

static int run(gate_client_t *client) {
    GATE_OWN(gate_stream) numbers = NULL;
    if (gate_client_open(client, "Demo.countdown", &numbers, 3))
        return gate_perror("countdown");
    int n, sum = 0;
    gate_err_t e;
    while (!(e = gate_stream_next(numbers, &n)))
        sum = 10 * sum + n;
    if (e != GATE_EOS || sum != 321)
        return 1;

    GATE_OWN(gate_stream) stream = NULL;
    if (gate_client_open(client, "Demo.letters", &stream))
        return gate_perror("letters");
    const char *letter;
    char got[8] = "";
    while (!(e = gate_stream_next(stream, &letter)))
        strncat(got, letter, 1);
    printf("%s, then %s\n", got, gate_stream_error(stream)->cls);
    if (strcmp(got, "abc") ||
        strcmp(gate_stream_error(stream)->cls, "LookupError"))
        return 1;

    GATE_OWN(gate_stream) endless = NULL; /* destroying it stops the producer */
    return gate_client_open(client, "Demo.countdown", &endless, 1000000000) ||
           gate_stream_next(endless, &n) || n != 1000000000;
}

int main(void) {
    local_t local = {0};
    local_start(&local, NULL, "Demo", methods);
    int code = run(local.client);
    local_stop(&local);
    return code;
}
