/* SPDX-License-Identifier: BSD-3-Clause */
/* replay.c -- runs a fuzz target over the files of its corpus, where libFuzzer
 * is not linked in. An empty or missing corpus is a failure. Before the
 * directories may stand -random=COUNT: so many inputs made at random (with
 * GATE_LONG fifty times as many), of up to RANDOM_SIZE bytes; GATE_SEED names
 * the first of them, to find one again. */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANDOM_SIZE 320 /* half of it makes 50 steps of broker_core */

static volatile uint64_t s_seed;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int s_run_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    static uint8_t data[1 << 20];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    /* a copy of the exact size, so that ASan sees reads past the end */
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        return 0;
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

static uint64_t s_next(uint64_t *state) {
    *state ^= *state << 13; /* xorshift64 */
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Each input has a seed of its own: first, first + 1, ... A crash names it. */
static void s_run_random(long count) {
    const char *text = getenv("GATE_SEED");
    uint64_t first = text ? strtoull(text, NULL, 0) : 1;
    for (uint64_t seed = first; seed < first + (uint64_t)count; seed++) {
        uint64_t state = seed * 0x9e3779b97f4a7c15u | 1;
        size_t size = RANDOM_SIZE / 2 + s_next(&state) % (RANDOM_SIZE / 2);
        uint8_t *data = malloc(size);
        if (!data)
            return;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)(s_next(&state) >> 32);
        s_seed = seed;
        LLVMFuzzerTestOneInput(data, size);
        free(data);
    }
    printf("%ld inputs at random, seeds %llu to %llu\n", count,
           (unsigned long long)first,
           (unsigned long long)(first + (uint64_t)count - 1));
}

/* Which input it was, when the target aborts. */
static void s_tell(int number) {
    char text[64];
    int n = snprintf(text, sizeof text, "died of GATE_SEED=%llu\n",
                     (unsigned long long)s_seed);
    if (write(2, text, (size_t)n) < 0)
        n = 0;
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv) {
    int n = 0;
    signal(SIGABRT, s_tell);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "-random=", 8) == 0) {
            s_run_random(atol(argv[i] + 8) * (getenv("GATE_LONG") ? 50 : 1));
            continue;
        }
        DIR *dir = opendir(argv[i]);
        if (!dir)
            continue;
        for (struct dirent *e; (e = readdir(dir));) {
            char path[4096];
            if (e->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            n += s_run_file(path);
        }
        closedir(dir);
    }
    printf("%d inputs replayed\n", n);
    return n > 0 ? 0 : 1;
}
