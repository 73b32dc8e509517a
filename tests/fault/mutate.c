/* SPDX-License-Identifier: BSD-3-Clause */
/* mutate.c -- the vectors are read by looking for the two keys that matter;
 * changed frames lie in one arena that each change begins anew. */
#include "mutate.h"
#include "child.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VECTORS "tests/wire/vectors"
#define VECTORS_MAX 256
#define ARENA (1 << 20)

struct mutate {
    message_t vector[VECTORS_MAX];
    size_t n_vectors, count;
    message_t changed; /* the last that was given out */
    message_t packed;  /* the same, packed */
    unsigned char *arena;
    size_t used;
    char *text[VECTORS_MAX]; /* files, decoded in place: the frames' bytes */
    size_t n_texts;
    uint64_t state;
};

uint32_t mutate_random(mutate_t *self, uint32_t below) {
    self->state ^= self->state << 13; /* xorshift64 */
    self->state ^= self->state >> 7;
    self->state ^= self->state << 17;
    return (uint32_t)(self->state >> 32) % below;
}

/* ---- vectors ------------------------------------------------------------- */
static int s_nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

/* Hex digits become bytes in their own place. */
static gate_bytes_t s_hex(char *text, size_t digits) {
    for (size_t i = 0; i < digits / 2; i++)
        text[i] =
            (char)(s_nibble(text[2 * i]) << 4 | s_nibble(text[2 * i + 1]));
    return (gate_bytes_t){text, digits / 2};
}

/* The strings of the array that begins at text; where it ends. */
static char *s_array(char *text, message_t *to) {
    for (to->n = 0; *text && *text != ']'; text++)
        if (*text == '"') {
            size_t digits = strcspn(text + 1, "\"");
            char *end = text + 1 + digits;
            if (to->n < MUTATE_FRAMES)
                to->frame[to->n++] = s_hex(text + 1, digits);
            text = end;
        }
    return text;
}

/* Each object has "direction" and "frames", in whatever order. */
static void s_objects(mutate_t *self, char *text, const char *direction) {
    while ((text = strchr(text, '{'))) {
        char *end = strchr(text, '}'), wanted[64];
        if (!end)
            return;
        *end = '\0';
        snprintf(wanted, sizeof wanted, "\"direction\": \"%s\"", direction);
        char *frames = strstr(text, "\"frames\": [");
        if (strstr(text, wanted) && frames && self->n_vectors < VECTORS_MAX) {
            s_array(frames + 11, &self->vector[self->n_vectors]);
            self->n_vectors++;
        }
        text = end + 1;
    }
}

static char *s_read(const char *name) {
    char path[512], *text = NULL;
    snprintf(path, sizeof path, VECTORS "/%s", name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        child_die("cannot read %s", path);
    long size = ftell(file);
    rewind(file);
    text = calloc(1, (size_t)size + 1);
    if (!text || fread(text, 1, (size_t)size, file) != (size_t)size)
        child_die("cannot read %s", path);
    fclose(file);
    return text;
}

mutate_t *mutate_new(const char *direction, uint64_t seed) {
    mutate_t *self = calloc(1, sizeof *self);
    struct dirent **names = NULL;
    int n = scandir(VECTORS, &names, NULL, alphasort);
    if (!self || !(self->arena = malloc(ARENA)))
        child_die("no memory for the vectors");
    self->state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < n; i++) {
        if (strstr(names[i]->d_name, ".json") && self->n_texts < VECTORS_MAX) {
            char *text = s_read(names[i]->d_name);
            self->text[self->n_texts++] = text;
            if (*text == '[') /* the others hold no messages */
                s_objects(self, text, direction);
        }
        free(names[i]);
    }
    free(names);
    if (!self->n_vectors)
        child_die("no vectors %s in " VECTORS " (run in the project's root)",
                  direction);
    return self;
}

void mutate_destroy(mutate_t **self_p) {
    mutate_t *self = *self_p;
    if (self) {
        while (self->n_texts)
            free(self->text[--self->n_texts]);
        free(self->arena);
    }
    free(self);
    *self_p = NULL;
}

void mutate_add(mutate_t *self, const message_t *message) {
    if (self->n_vectors < VECTORS_MAX)
        self->vector[self->n_vectors++] = *message;
}

const message_t *mutate_pick(mutate_t *self) {
    return &self->vector[mutate_random(self, (uint32_t)self->n_vectors)];
}

/* ---- changes ------------------------------------------------------------- */
/* A copy that may be written, with room for more at its end. */
static unsigned char *s_own(mutate_t *self, gate_bytes_t *frame, size_t more) {
    if (self->used + frame->size + more > ARENA)
        return NULL;
    unsigned char *copy = self->arena + self->used;
    if (frame->size)
        memcpy(copy, frame->data, frame->size);
    self->used += frame->size + more;
    frame->data = copy;
    return copy;
}

static void s_bytes(mutate_t *self, gate_bytes_t *frame, uint32_t most) {
    size_t more = 1 + mutate_random(self, most);
    unsigned char *data = s_own(self, frame, more);
    if (!data)
        return;
    for (size_t i = 0; i < more; i++)
        data[frame->size + i] = (unsigned char)mutate_random(self, 256);
    frame->size += more;
}

static void s_byte(mutate_t *self, gate_bytes_t *frame) {
    unsigned char *data = frame->size ? s_own(self, frame, 0) : NULL;
    if (!data)
        return;
    unsigned char *at = data + mutate_random(self, (uint32_t)frame->size);
    if (mutate_random(self, 2))
        *at ^= (unsigned char)(1u << mutate_random(self, 8));
    else
        *at = (unsigned char)mutate_random(self, 256);
}

/* A msgpack head that promises much, and its length. */
static void s_promise(mutate_t *self, gate_bytes_t *frame) {
    static const unsigned char heads[] = {0xc6, 0xc9, 0xdb, 0xdd, 0xdf,
                                          0xdc, 0xde, 0xd9, 0xcf, 0xc1};
    unsigned char *data = frame->size ? s_own(self, frame, 5) : NULL;
    if (!data)
        return;
    size_t at = mutate_random(self, (uint32_t)frame->size);
    data[at] = heads[mutate_random(self, sizeof heads)];
    memset(data + at + 1, mutate_random(self, 3) ? 0xff : 0x00, 4);
    if (frame->size < at + 5)
        frame->size = at + 5;
}

static void s_insert(message_t *m, size_t at, gate_bytes_t frame) {
    if (m->n >= MUTATE_FRAMES)
        return;
    memmove(&m->frame[at + 1], &m->frame[at], (m->n - at) * sizeof frame);
    m->frame[at] = frame;
    m->n++;
}

static void s_remove(message_t *m, size_t at) {
    m->n--;
    memmove(&m->frame[at], &m->frame[at + 1], (m->n - at) * sizeof *m->frame);
}

static gate_bytes_t s_other_frame(mutate_t *self) {
    const message_t *other = mutate_pick(self);
    return other->frame[mutate_random(self, (uint32_t)other->n)];
}

static void s_change(mutate_t *self, message_t *m) {
    size_t at = mutate_random(self, (uint32_t)m->n);
    gate_bytes_t *frame = &m->frame[at], none = {"", 0};
    switch (mutate_random(self, 14)) {
    case 0:
    case 1:
    case 2:
        s_byte(self, frame);
        break;
    case 3:
        if (frame->size)
            frame->size = mutate_random(self, (uint32_t)frame->size);
        break;
    case 4:
        s_bytes(self, frame, mutate_random(self, 64) ? 32 : 65536);
        break;
    case 5:
        if (m->n > 1)
            s_remove(m, at);
        break;
    case 6:
        s_insert(m, at, *frame);
        break;
    case 7:
        s_insert(m, at, none);
        s_bytes(self, &m->frame[at], 16);
        break;
    case 8:
        *frame = s_other_frame(self);
        break;
    case 9:
        s_insert(m, at, s_other_frame(self));
        break;
    case 10:
        *frame = none;
        break;
    case 11:
    case 12:
        s_promise(self, frame);
        break;
    default: /* the end is missing, or there is far too much of it */
        if (mutate_random(self, 16))
            m->n = at + 1;
        else
            while (m->n < MUTATE_FRAMES)
                s_insert(m, at, *frame);
    }
}

const message_t *mutate_change(mutate_t *self, const message_t *message) {
    message_t *m = &self->changed;
    *m = *message;
    self->used = 0;
    self->count++;
    if (mutate_random(self, 16))
        for (uint32_t i = 1 + mutate_random(self, 4); i > 0; i--)
            s_change(self, m);
    return m;
}

/* ---- packed -------------------------------------------------------------- */
static size_t s_length(unsigned char *to, size_t size) {
    if (size <= 253) {
        *to = (unsigned char)size;
        return 1;
    }
    *to = 254;
    for (int i = 1; i < 5; i++)
        to[i] = (unsigned char)(size >> (32 - 8 * i));
    return 5;
}

const message_t *mutate_pack(mutate_t *self, const message_t *message) {
    enum { FRAMES_MAX = 63, INSIDE_MAX = 1024 };
    message_t *m = &self->packed;
    size_t n = message->n - (message->n > 0), at = 5, end;
    if (n == 0 || n > FRAMES_MAX || message->frame[0].size ||
        self->used + 5 + (size_t)FRAMES_MAX * (5 + INSIDE_MAX) > ARENA)
        return message;
    unsigned char *data = self->arena + self->used;
    bool inside[FRAMES_MAX];
    memcpy(data, "\xc1GXP", 4);
    data[4] = (unsigned char)n;
    for (size_t i = 0; i < n; i++) {
        size_t size = message->frame[i + 1].size;
        inside[i] = size <= INSIDE_MAX && mutate_random(self, 16);
        if (inside[i])
            at += s_length(data + at, size);
        else
            data[at++] = 255;
    }
    m->n = 1;
    end = at;
    for (size_t i = 0; i < n; i++) {
        const gate_bytes_t *f = &message->frame[i + 1];
        if (inside[i] && f->size)
            memcpy(data + end, f->data, f->size);
        if (inside[i])
            end += f->size;
        else
            m->frame[m->n++] = *f;
    }
    m->frame[0] = (gate_bytes_t){data, end};
    self->used += end;
    return m;
}

const message_t *mutate_packed(mutate_t *self, const message_t *message) {
    switch (mutate_random(self, 4)) {
    case 0:
        return mutate_pack(self, mutate_change(self, message));
    case 1:
        self->used = 0;
        self->count++;
        self->changed = *mutate_pack(self, message);
        for (uint32_t i = 1 + mutate_random(self, 3); i > 0; i--)
            s_change(self, &self->changed);
        return &self->changed;
    default:
        return mutate_change(self, message);
    }
}

size_t mutate_count(const mutate_t *self) { return self->count; }

uint64_t mutate_seed(void) {
    const char *text = getenv("GATE_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    unsetenv("GATE_SEED");
    printf("seed %llu (GATE_SEED)\n", (unsigned long long)seed);
    return seed;
}
