/* SPDX-License-Identifier: BSD-3-Clause */
/* base.h -- what every other header needs: attributes, class declarations and
 * the macro plumbing behind typed argument lists.
 *
 * NULL, for all headers: where a function needs an object, a text or a place for
 * its result and gets NULL, it does nothing and says so: GATE_BADARG, or what it
 * gives is NULL, 0, "" or false, with gate_error() set; a builder's setter
 * sticks it. Where NULL means something, the function says what. destroy takes
 * NULL and &NULL. What handlers call with their gate_call_t is theirs alone and
 * not looked at. */
#ifndef GATERPC_BASE_H
#define GATERPC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define GATE_BEGIN_DECLS extern "C" {
#define GATE_END_DECLS }
#else
#define GATE_BEGIN_DECLS
#define GATE_END_DECLS
#endif

#define GATE_VERSION_MAJOR 0
#define GATE_VERSION_MINOR 2
#define GATE_VERSION_PATCH 0
#define GATE_VERSION "0.2.0"

/* Marks a declaration as part of the library's binary face. */
#define GATE_API __attribute__((visibility("default")))
/* The result must be looked at. */
#define GATE_MUST __attribute__((warn_unused_result))
#define GATE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* An owning local: GATE_OWN(gate_client) c = gate_client_new(rt); */
#define GATE_OWN(cls) __attribute__((cleanup(cls##_destroy))) cls##_t *

GATE_BEGIN_DECLS

typedef struct gate_settings gate_settings_t;     /* settings.h */
typedef struct gate_value gate_value_t;           /* value.h */
typedef struct gate_runtime gate_runtime_t;       /* runtime.h */
typedef struct gate_future gate_future_t;         /* future.h */
typedef struct gate_cq gate_cq_t;                 /* future.h */
typedef struct gate_stream gate_stream_t;         /* stream.h */
typedef struct gate_dict gate_dict_t;             /* dict.h */
typedef struct gate_queue gate_queue_t;           /* queue.h */
typedef struct gate_pool gate_pool_t;             /* pool.h */
typedef struct gate_shared gate_shared_t;         /* shared.h */
typedef struct gate_call gate_call_t;             /* call.h */
typedef struct gate_huge gate_huge_t;             /* huge.h */
typedef struct gate_service gate_service_t;       /* service.h */
typedef struct gate_broker gate_broker_t;         /* broker.h */
typedef struct gate_client gate_client_t;         /* client.h */
typedef struct gate_supervisor gate_supervisor_t; /* supervisor.h */
typedef struct gate_zap gate_zap_t;               /* zap.h */

/* A run of bytes, borrowed. */
typedef struct gate_bytes {
    const void *data;
    size_t size;
} gate_bytes_t;

/* The library's version as text, "0.2.0"; the one linked, not the header's. */
GATE_API const char *gate_version(void);

GATE_END_DECLS

/* ---- macro plumbing: lists of 1..10 items (more: the function below it) --- */
#define GATE_CAT_(a, b) a##b
#define GATE_CAT(a, b) GATE_CAT_(a, b)
#define GATE_N_(a, b, c, d, e, f, g, h, i, j, k, a1, b1, c1, d1, e1, f1, g1, \
                h1, i1, j1, k1, n, ...)                                      \
    n
#define GATE_N(...)                                                          \
    GATE_N_(__VA_ARGS__, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 10, \
            9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define GATE_1(a, ...) a
#define GATE_M1(m, a) m(a)
#define GATE_M2(m, a, ...) m(a), GATE_M1(m, __VA_ARGS__)
#define GATE_M3(m, a, ...) m(a), GATE_M2(m, __VA_ARGS__)
#define GATE_M4(m, a, ...) m(a), GATE_M3(m, __VA_ARGS__)
#define GATE_M5(m, a, ...) m(a), GATE_M4(m, __VA_ARGS__)
#define GATE_M6(m, a, ...) m(a), GATE_M5(m, __VA_ARGS__)
#define GATE_M7(m, a, ...) m(a), GATE_M6(m, __VA_ARGS__)
#define GATE_M8(m, a, ...) m(a), GATE_M7(m, __VA_ARGS__)
#define GATE_M9(m, a, ...) m(a), GATE_M8(m, __VA_ARGS__)
#define GATE_M10(m, a, ...) m(a), GATE_M9(m, __VA_ARGS__)
/* What a compiler says of more than that. */
#define GATE_M11(m, ...) \
    gate_at_most_10_items_here_more_by_an_array_and_the_function_with__
#define GATE_T0 gate_arg_t
#define GATE_T1 gate_slot_t
#define GATE_NIL0 gate_null(NULL)
#define GATE_NIL1 gate_onone(NULL)
#define GATE_ARR(m, k, ...)         \
    ((const GATE_CAT(GATE_T, k)[]){ \
        GATE_CAT(GATE_NIL, k),      \
        GATE_CAT(GATE_M, GATE_N(__VA_ARGS__))(m, __VA_ARGS__)})
/* The arguments after the first, as "array, count". */
#define GATE_R1(a) ((const gate_arg_t[]){gate_null(NULL)}), 0
#define GATE_R(a, ...) \
    GATE_ARR(GATE_ARG, 0, __VA_ARGS__) + 1, GATE_N(__VA_ARGS__)
#define GATE_R2 GATE_R
#define GATE_R3 GATE_R
#define GATE_R4 GATE_R
#define GATE_R5 GATE_R
#define GATE_R6 GATE_R
#define GATE_R7 GATE_R
#define GATE_R8 GATE_R
#define GATE_R9 GATE_R
#define GATE_R10 GATE_R
#define GATE_R11 GATE_R
#define GATE_TAIL(...) GATE_CAT(GATE_R, GATE_N(__VA_ARGS__))(__VA_ARGS__)

#endif
