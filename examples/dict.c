/* SPDX-License-Identifier: BSD-3-Clause */
/* dict.c -- the bounded dictionary between threads: set waits for room, get
 * waits for its key. */
#include <gaterpc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ITEMS = 1000, ROOM = 8 };

static gate_bytes_t key(const int *i) { return (gate_bytes_t){i, sizeof *i}; }

static void *produce(void *arg) {
    gate_dict_t *dict = arg;
    for (int i = 0; i < ITEMS; i++) {
        int *square = malloc(sizeof *square);
        if (!square)
            return arg;
        *square = i * i;
        if (gate_dict_set(dict, key(&i), square, 5000)) {
            free(square); /* taken on GATE_OK only */
            return arg;
        }
    }
    return NULL;
}

int main(void) {
    GATE_OWN(gate_dict) dict = gate_dict_new(ROOM, free);
    pthread_t producer;
    int none = -1;
    void *value, *failed;
    if (pthread_create(&producer, NULL, produce, dict))
        return 1;
    long sum = 0;
    for (int i = 0; i < ITEMS; i++) {
        if (gate_dict_get(dict, key(&i), &value, 5000))
            return gate_perror("get");
        sum += *(int *)value;
        free(value);
    }
    pthread_join(producer, &failed);
    printf("sum of squares %ld, %zu left\n", sum, gate_dict_size(dict));
    return failed || sum != 332833500 || gate_dict_size(dict) ||
           gate_dict_get(dict, key(&none), &value, 10) != GATE_TIMEOUT;
}
