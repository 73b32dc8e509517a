/* SPDX-License-Identifier: BSD-3-Clause */
/* demo.c -- the demo service: one method of every kind, for people, tests and
 * peers in other languages. */
#include "demo/demo.h"
#include "cli/cli.h"

#define S_METHOD(f, where, sig, text)                                   \
    {                                                                   \
        .name = #f, .fn = gi_demo_##f, .runs = where, .signature = sig, \
        .doc = text                                                     \
    }
/* One that may run again when its worker dies. */
#define S_PURE(f, where, sig, text)                                       \
    {                                                                     \
        .name = #f, .fn = gi_demo_##f, .runs = where, .idempotent = true, \
        .signature = sig, .doc = text                                     \
    }

static const gate_method_t s_methods[] = {
    S_METHOD(echo, GATE_INLINE, "(*args, **kwargs)",
             "its arguments, as {args, kwargs}"),
    S_PURE(add, GATE_INLINE, "(a, b)", "a + b, integers or floats"),
    S_METHOD(none, GATE_INLINE, "()", "nil"),
    S_METHOD(boom, GATE_INLINE, "(text='boom!')", "raises ValueError(text)"),
    S_METHOD(upper, GATE_THREAD, "(text)", "ASCII letters in upper case"),
    S_METHOD(sleep, GATE_THREAD, "(ms)", "ms, after sleeping so long"),
    S_METHOD(gen, GATE_INLINE, "(n)", "stream of 0 .. n-1"),
    S_METHOD(nils, GATE_INLINE, "(n)", "stream of n nils"),
    S_METHOD(slow_gen, GATE_THREAD, "(n, ms)", "gen, one item each ms"),
    S_METHOD(gen_boom, GATE_THREAD, "(n)", "n items, then RuntimeError"),
    S_METHOD(blob, GATE_INLINE, "(data)", "length of a str or bin in bytes"),
    S_METHOD(about, GATE_INLINE, "()",
             "what is known of this call: {user, attempt, priority, meta}"),
    {.name = "about_process",
     .fn = gi_demo_about,
     .runs = GATE_PROCESS,
     .idempotent = true,
     .signature = "()",
     .doc = "about, in a worker process"},
    S_METHOD(huge, GATE_THREAD, "(n, kind='json')",
             "n bytes of the same text each time: json, hex, random, zeros"),
    S_METHOD(file, GATE_THREAD, "(path)", "content of a regular file, as bin"),
    S_METHOD(wc, GATE_THREAD, "(path)",
             "[lines, words, bytes] of a regular file"),
    S_PURE(fib, GATE_PROCESS, "(n)", "the slow recursive way"),
    S_PURE(sha256, GATE_PROCESS, "(path)", "hex digest of a file"),
    S_METHOD(spin, GATE_PROCESS, "(ms)", "ms, after using so much CPU"),
    S_METHOD(crash, GATE_PROCESS, "(signal=9)", "kills its own worker"),
    S_METHOD(pid, GATE_PROCESS, "()", "the worker's process id"),
    S_METHOD(progress, GATE_THREAD, "(n)",
             "a worker process sends n items while it runs"),
    {.name = "wc_process",
     .fn = gi_demo_wc,
     .runs = GATE_PROCESS,
     .idempotent = true,
     .signature = "(path)",
     .doc = "wc, in a worker process"},
    GATE_END,
};

void gi_demo_methods(gate_service_t *service) {
    gate_service_methods(service, s_methods, NULL);
}
