/* SPDX-License-Identifier: BSD-3-Clause */
#include <gaterpc/dict.h>

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "sync/clock.h"
#include "base/mem.h"

static atomic_int s_freed;

static void s_free(void *value) {
    (void)value;
    s_freed++;
}

static gate_bytes_t s_key(const char *text) {
    return (gate_bytes_t){text, strlen(text)};
}

static int s_one, s_two;

Test(dict, set_and_get) {
    gate_dict_t *dict = gate_dict_new(4, s_free);
    void *value = NULL;

    cr_assert_eq(gate_dict_set(dict, s_key("a"), &s_one, 0), GATE_OK);
    cr_assert(gate_dict_has(dict, s_key("a")));
    cr_assert_not(gate_dict_has(dict, s_key("b")));
    cr_assert_eq(gate_dict_size(dict), 1);
    cr_assert_eq(gate_dict_capacity(dict), 4);
    cr_assert_eq(gate_dict_get(dict, s_key("a"), &value, 0), GATE_OK);
    cr_assert_eq(value, &s_one);
    cr_assert_eq(gate_dict_get(dict, s_key("a"), &value, 0), GATE_TIMEOUT);
    cr_assert_eq(gate_error()->code, GATE_TIMEOUT);
    gate_dict_destroy(&dict);
    cr_assert_null(dict);
    cr_assert_eq(s_freed, 0, "what was got is the user's");
}

Test(dict, replaces_at_once_even_when_full) {
    gate_dict_t *dict = gate_dict_new(1, s_free);
    void *value;

    cr_assert_eq(gate_dict_set(dict, s_key("a"), &s_one, 0), GATE_OK);
    cr_assert_eq(gate_dict_set(dict, s_key("a"), &s_two, 0), GATE_OK);
    cr_assert_eq(s_freed, 1);
    cr_assert_eq(gate_dict_set(dict, s_key("b"), &s_one, 0), GATE_BUSY);
    cr_assert_eq(gate_dict_get(dict, s_key("a"), &value, 0), GATE_OK);
    cr_assert_eq(value, &s_two);
    gate_dict_destroy(&dict);
}

Test(dict, waits_as_told) {
    gate_dict_t *dict = gate_dict_new(1, NULL);
    int64_t start = gi_clock_ms();
    void *value;

    cr_assert_eq(gate_dict_get(dict, s_key("a"), &value, 30), GATE_TIMEOUT);
    cr_assert_geq(gi_clock_ms() - start, 29);
    cr_assert_eq(gate_dict_set(dict, s_key("a"), &s_one, 0), GATE_OK);
    start = gi_clock_ms();
    cr_assert_eq(gate_dict_set(dict, s_key("b"), &s_one, 30), GATE_BUSY);
    cr_assert_geq(gi_clock_ms() - start, 29);
    gate_dict_destroy(&dict);
}

static void *s_get(void *dict) {
    void *value = NULL;
    gate_err_t e = gate_dict_get(dict, s_key("a"), &value, -1);

    return e == GATE_OK ? value : (void *)(uintptr_t)e;
}

static void *s_set(void *dict) {
    return (void *)(uintptr_t)gate_dict_set(dict, s_key("b"), &s_two, -1);
}

Test(dict, waiters_are_woken, .timeout = 20) {
    gate_dict_t *dict = gate_dict_new(1, NULL);
    pthread_t getter, setter;
    void *result;

    pthread_create(&getter, NULL, s_get, dict);
    usleep(20000);
    cr_assert_eq(gate_dict_set(dict, s_key("a"), &s_one, 0), GATE_OK);
    pthread_join(getter, &result);
    cr_assert_eq(result, &s_one);
    cr_assert_eq(gate_dict_set(dict, s_key("c"), &s_one, 0), GATE_OK);
    pthread_create(&setter, NULL, s_set, dict);
    usleep(20000);
    cr_assert_eq(gate_dict_get(dict, s_key("c"), &result, 0), GATE_OK);
    pthread_join(setter, &result);
    cr_assert_eq((gate_err_t)(uintptr_t)result, GATE_OK);
    cr_assert(gate_dict_has(dict, s_key("b")));
    gate_dict_destroy(&dict);
}

Test(dict, destroy_ends_waits, .timeout = 20) {
    gate_dict_t *dict = gate_dict_new(1, s_free);
    pthread_t getter, setter;
    void *result;

    cr_assert_eq(gate_dict_set(dict, s_key("c"), &s_one, 0), GATE_OK);
    pthread_create(&getter, NULL, s_get, dict);
    pthread_create(&setter, NULL, s_set, dict);
    usleep(50000);
    gate_dict_destroy(&dict);
    pthread_join(getter, &result);
    cr_assert_eq((gate_err_t)(uintptr_t)result, GATE_CLOSED);
    pthread_join(setter, &result);
    cr_assert_eq((gate_err_t)(uintptr_t)result, GATE_CLOSED);
    cr_assert_eq(s_freed, 1);
}

Test(dict, many_keys) {
    gate_dict_t *dict = gate_dict_new(5000, NULL);
    char name[16];
    void *value;

    for (intptr_t i = 1; i <= 5000; i++) {
        snprintf(name, sizeof name, "k%d", (int)i);
        cr_assert_eq(gate_dict_set(dict, s_key(name), (void *)i, 0), GATE_OK);
    }
    cr_assert_eq(gate_dict_set(dict, s_key("x"), &s_one, 0), GATE_BUSY);
    for (intptr_t i = 5000; i >= 1; i--) {
        snprintf(name, sizeof name, "k%d", (int)i);
        cr_assert_eq(gate_dict_get(dict, s_key(name), &value, 0), GATE_OK);
        cr_assert_eq((intptr_t)value, i);
    }
    cr_assert_eq(gate_dict_size(dict), 0);
    gate_dict_destroy(&dict);
}

Test(dict, no_memory) {
    gate_dict_t *dict;

    gi_mem_fail_at(1, false);
    cr_assert_null(gate_dict_new(3, NULL));
    gi_mem_fail_at(2, false);
    cr_assert_null(gate_dict_new(3, NULL));
    gi_mem_fail_at(0, false);
    dict = gate_dict_new(3, NULL);
    gi_mem_fail_at(1, false);
    cr_assert_eq(gate_dict_set(dict, s_key("a"), &s_one, 0), GATE_NOMEM);
    gi_mem_fail_at(0, false);
    cr_assert_eq(gate_dict_size(dict), 0);
    gate_dict_destroy(&dict);
}
