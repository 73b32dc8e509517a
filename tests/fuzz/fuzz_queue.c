/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_queue.c -- a queue whose other end writes whatever it likes into the
 * memory that both have, before and between our own puts and gets. It may make
 * us fail, it may not make us read outside, hang, or believe an item that was
 * never whole. */
#include <fcntl.h>
#include <gaterpc/queue.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/err.h"
#include "shared/queue.h"
#include "settings/settings.h"
#include "input.h"

enum { ITEMS = 6, BYTES = 400, STEPS = 64, HEADER = 256 };

typedef struct s_world {
    fuzz_input_t in;
    unsigned char *memory; /* as the other end sees it */
    size_t memory_size;
} s_world_t;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Made once; each input opens it as a worker does. */
static gate_queue_t *s_queue(void) {
    static gate_queue_t *queue;
    if (!queue) {
        gi_pool_base_t base = {.settings = gi_settings_defaults()};
        queue = gi_queue_new(&base, ITEMS, BYTES);
        fuzz_must(queue);
    }
    return queue;
}

static unsigned char *s_memory(size_t *size) {
    static unsigned char *memory;
    off_t all = lseek(gi_queue_fd(s_queue()), 0, SEEK_END);
    *size = (size_t)all;
    if (!memory)
        memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      gi_queue_fd(s_queue()), 0);
    fuzz_must(memory != MAP_FAILED);
    return memory;
}

/* ---- the other end ------------------------------------------------------- */
/* Up to 8 bytes at a word of the header, or anywhere in the ring. */
static void s_scribble(s_world_t *w, unsigned how) {
    unsigned at = fuzz_byte(&w->in), n = how % 8 + 1;
    unsigned char *to = how & 8 ? w->memory + HEADER + 2 * at
                                : w->memory + at % (HEADER / 4) * 4;
    for (; n > 0 && to < w->memory + w->memory_size; n--)
        *to++ = (unsigned char)fuzz_byte(&w->in);
}

/* An item as it should be, but for its bytes and its length. */
static void s_forge(s_world_t *w, unsigned how) {
    uint64_t put, size = w->memory_size - HEADER;
    uint32_t len = fuzz_byte(&w->in);
    memcpy(&put, w->memory + 64, sizeof put);
    unsigned char item[4 + 255];
    memcpy(item, &len, sizeof len);
    for (unsigned i = 0; i < len; i++)
        item[4 + i] = (unsigned char)(how & 1 ? fuzz_byte(&w->in) : 0x90);
    for (unsigned i = 0; i < 4 + len; i++)
        w->memory[HEADER + (put + i) % size] = item[i];
    put += 4 + len - (how & 2 ? how % 5 : 0);
    memcpy(w->memory + 64, &put, sizeof put);
}

/* ---- our end ------------------------------------------------------------- */
static void s_put(s_world_t *w, gate_queue_t *queue, unsigned how) {
    static const char text[1024];
    size_t size = fuzz_byte(&w->in) * (how & 1 ? 4u : 1u);
    gate_err_t e = gate_queue_put_(queue, gate_bin(text, size), 0);
    fuzz_must(e != GATE_OK || size <= BYTES + 4 * ITEMS);
}

static void s_get_value(gate_queue_t *queue) {
    gate_value_t *value = NULL;
    gate_err_t e = gate_queue_get_(queue, gate_oval(&value), 0);
    fuzz_must((e == GATE_OK) == (value != NULL));
    char *json = value ? gate_value_json(value) : NULL;
    fuzz_must(!value || json);
    free(json);
    gate_value_destroy(&value);
}

static void s_get(gate_queue_t *queue, unsigned how) {
    const char *text = NULL;
    gate_bytes_t bytes = {NULL, 0};
    int64_t number;
    gate_err_t e;
    volatile unsigned char sum = 0;
    switch (how % 4) {
    case 0:
        e = gate_queue_get_(queue, gate_oi64(&number), 0);
        break;
    case 1:
        e = gate_queue_get_(queue, gate_ostr(&text), 0);
        fuzz_must(e != GATE_OK || !text || strlen(text) < BYTES + 4 * ITEMS);
        break;
    case 2:
        e = gate_queue_get_(queue, gate_obytes(&bytes), 0);
        for (size_t i = 0; e == GATE_OK && i < bytes.size; i++)
            sum = (unsigned char)(sum + ((const char *)bytes.data)[i]);
        break;
    default:
        s_get_value(queue);
    }
}

static void s_step(s_world_t *w, gate_queue_t *queue) {
    unsigned op = fuzz_byte(&w->in), how = op / 8;
    switch (op % 8) {
    case 0:
    case 1:
        s_scribble(w, how);
        break;
    case 2:
        s_forge(w, how);
        break;
    case 3:
        s_put(w, queue, how);
        break;
    case 4:
        if (how == 31)
            gate_queue_close(queue);
        break;
    case 5: /* a job comes and goes */
        gi_queue_attach(queue);
        gi_queue_detach(queue, (int)fuzz_byte(&w->in), how & 1);
        break;
    default:
        s_get(queue, how);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    s_world_t w = {.in = {data, size}};
    gate_queue_t *queue = NULL;
    uint64_t ring;
    w.memory = s_memory(&w.memory_size);
    ring = w.memory_size - HEADER;
    memset(w.memory, 0, w.memory_size);
    memcpy(w.memory, &ring, sizeof ring);
    w.memory[8] = ITEMS;
    if (size & 1) /* another worker had it before us */
        s_scribble(&w, fuzz_byte(&w.in));
    int fd = fcntl(gi_queue_fd(s_queue()), F_DUPFD_CLOEXEC, 3);
    if (gi_queue_open(fd, gi_settings_defaults(), &queue) == GATE_OK)
        for (int i = 0; i < STEPS && w.in.size > 0; i++)
            s_step(&w, queue);
    gate_queue_destroy(&queue);
    return 0;
}
