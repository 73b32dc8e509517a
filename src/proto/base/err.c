/* SPDX-License-Identifier: BSD-3-Clause */
/* err.c -- the thread's story and errors that own their strings.
 *
 * A story is three strings in one block. Each thread has two rooms for it and
 * changes between them, so that a new story may be made of the old one's
 * strings. Longer ones lie on the heap, freed when the thread ends.
 * Survives: no memory; strings are then cut, the code never is. */
#include "base/err.h"
#include "base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <threads.h>

typedef struct s_row {
    const char *name, *cls, *text;
    int exit_code;
} s_row_t;

static const s_row_t s_rows[GATE_ERR_COUNT] = {
#define GATE_X(code, cls, exit_code, text) \
    [GATE_##code] = {#code, cls, text, exit_code},
#include <gaterpc/errors.def>
#undef GATE_X
};

/* Classes that stand for a code when a peer names them; all others are its own
 * exceptions. */
static const struct {
    const char *cls;
    gate_err_t code;
} s_classes[] = {
    {"ServiceUnAvailableError", GATE_NOSERVICE},
    {"GateUnAvailableError", GATE_NOSERVICE},
    {"BusyWorkerError", GATE_BUSY},
    {"BusyGateError", GATE_BUSY},
    {"StreamOverflowError", GATE_BUSY},
    {"ConnectionLostError", GATE_LOST},
    {"WorkerLostError", GATE_WORKERLOST},
    {"AccessDeniedError", GATE_REFUSED},
    {"AttributeError", GATE_NOMETHOD},
    {"NotImplementedError", GATE_NOTIMPL},
    {"CancelledError", GATE_CANCELLED},
};

static const s_row_t *s_row(gate_err_t e) {
    static const s_row_t unknown = {"UNKNOWN", "RuntimeError",
                                    "no code of this library", 1};
    return (unsigned)e < GATE_ERR_COUNT ? &s_rows[e] : &unknown;
}

const char *gate_err_name(gate_err_t e) { return s_row(e)->name; }
const char *gate_err_text(gate_err_t e) { return s_row(e)->text; }
int gate_exit_code(gate_err_t e) { return s_row(e)->exit_code; }
const char *gi_err_class(gate_err_t code) { return s_row(code)->cls; }

gate_err_t gi_err_of_class(const char *cls) {
    for (size_t i = 0; i < sizeof s_classes / sizeof *s_classes; i++)
        if (!strcmp(cls, s_classes[i].cls))
            return s_classes[i].code;
    return GATE_RAISED;
}

/* ---- three strings in one block ------------------------------------------ */
static size_t s_block_size(const gate_error_t *story) {
    return strlen(story->cls) + strlen(story->text) + strlen(story->traceback) +
           3;
}

static char *s_put(char *at, const char *end, const char *s, const char **out) {
    size_t room = (size_t)(end - at);
    size_t size = strnlen(s, room - 1);
    memcpy(at, s, size);
    at[size] = '\0';
    *out = at;
    return at + size + 1;
}

/* Copies src's strings to block, cut where they do not fit; room >= 3. */
static void s_fill(gate_error_t *dst, const gate_error_t *src, char *block,
                   size_t room) {
    const char *end = block + room;
    dst->code = src->code;
    char *at = s_put(block, end - 2, src->cls, &dst->cls);
    at = s_put(at, end - 1, src->text, &dst->text);
    s_put(at, end, src->traceback, &dst->traceback);
}

static gate_error_t s_story(gate_err_t code, const char *cls, const char *text,
                            const char *traceback) {
    return (gate_error_t){code, cls && *cls ? cls : gi_err_class(code),
                          text ? text : "", traceback ? traceback : ""};
}

/* ---- the thread's story -------------------------------------------------- */
enum { S_ROOM = 1000 };

static _Thread_local struct {
    gate_error_t story;
    char room[2][S_ROOM];
    char *heap; /* when the story is longer than a room */
    int at;     /* the room in use */
    unsigned long count;
} t_last = {.story = {GATE_OK, "", "", ""}};

static tss_t s_key;
static once_flag s_key_once = ONCE_FLAG_INIT;
static bool s_key_made;

static void s_make_key(void) {
    s_key_made = tss_create(&s_key, gi_mem_free) == thrd_success;
}

/* A block that dies with the thread. */
static char *s_thread_block(size_t size) {
    call_once(&s_key_once, s_make_key);
    char *block = s_key_made ? gi_mem_alloc(size) : NULL;
    if (block && tss_set(s_key, block) != thrd_success) {
        gi_mem_free(block);
        return NULL;
    }
    return block;
}

static gate_err_t s_publish(const gate_error_t *story) {
    gate_error_t made;
    size_t size = s_block_size(story);
    char *old = t_last.heap;
    char *heap = size > S_ROOM ? s_thread_block(size) : NULL;
    if (heap) {
        s_fill(&made, story, heap, size);
    } else {
        t_last.at = !t_last.at;
        s_fill(&made, story, t_last.room[t_last.at], S_ROOM);
        if (old)
            tss_set(s_key, NULL);
    }
    t_last.heap = heap;
    t_last.story = made;
    t_last.count++;
    gi_mem_free(old);
    return made.code;
}

const gate_error_t *gate_error(void) { return &t_last.story; }

unsigned long gi_err_count(void) { return t_last.count; }

gate_err_t gi_err_story(gate_err_t code, const char *cls, const char *text,
                        const char *traceback) {
    gate_error_t story = s_story(code, cls, text, traceback);
    return s_publish(&story);
}

gate_err_t gi_err(gate_err_t code, const char *fmt, ...) {
    char text[S_ROOM];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return gi_err_story(code, NULL, text, NULL);
}

void gi_err_null_say(const char *what) {
    (void)gi_err(GATE_BADARG, "%s: it is NULL", what);
}

/* Which limit such an error is about, and what it is; "": of none. */
static const char *s_limit(int error, char *to, size_t room) {
    static const rlim_t usual = 1024;
    struct rlimit limit;
    *to = '\0';
    if (error == EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        snprintf(to, room, " (ulimit -n is %llu%s)",
                 (unsigned long long)limit.rlim_cur,
                 limit.rlim_cur < usual ? ": raise it, 1024 is usual"
                                        : ", and all are in use: raise it");
    else if (error == ENFILE)
        snprintf(to, room, " (of the whole machine: sysctl fs.file-max)");
    else if (error == ENOMEM && getrlimit(RLIMIT_AS, &limit) == 0 &&
             limit.rlim_cur != RLIM_INFINITY)
        snprintf(to, room, " (ulimit -v is %llu KiB)",
                 (unsigned long long)limit.rlim_cur / 1024);
    return to;
}

gate_err_t gi_err_errno(const char *fmt, ...) {
    int error = errno;
    char text[S_ROOM], why[128], limit[96];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    gate_err_t code = error == ENOMEM ? GATE_NOMEM : GATE_SYSTEM;
    return gi_err(code, "%s: %s%s", text, strerror_r(error, why, sizeof why),
                  s_limit(error, limit, sizeof limit));
}

int gate_perror(const char *what) {
    const gate_error_t *e = gate_error();
    fprintf(stderr, "%s: %s%s%s\n", what ? what : "gate", e->cls,
            *e->cls && *e->text ? ": " : "", e->text);
    if (*e->traceback) {
        size_t size = strlen(e->traceback);
        fprintf(stderr, "%s%s", e->traceback,
                e->traceback[size - 1] == '\n' ? "" : "\n");
    }
    return gate_exit_code(e->code);
}

/* ---- errors with strings of their own ------------------------------------ */
void gi_error_init(gi_error_t *self) {
    *self = (gi_error_t){.story = {GATE_OK, "", "", ""}};
}

void gi_error_fini(gi_error_t *self) {
    gi_mem_free(self->owned);
    gi_error_init(self);
}

void gi_error_set(gi_error_t *self, const gate_error_t *story) {
    gate_err_t code = story->code;
    gate_error_t made = {code, gi_err_class(code), gate_err_text(code), ""};
    char *owned = NULL;
    if (story->cls && story->text && story->traceback) {
        size_t size = s_block_size(story);
        if (size == 3) /* no word in it: no block either */
            made = (gate_error_t){code, "", "", ""};
        else if ((owned = gi_mem_alloc(size)))
            s_fill(&made, story, owned, size);
    }
    gi_mem_free(self->owned); /* story may have lain in it */
    *self = (gi_error_t){made, owned};
}

void gi_error_story(gi_error_t *self, gate_err_t code, const char *cls,
                    const char *text, const char *traceback) {
    gate_error_t story = s_story(code, cls, text, traceback);
    gi_error_set(self, &story);
}

gate_err_t gi_error_publish(const gi_error_t *self) {
    const gate_error_t *e = &self->story;
    return gi_err_story(e->code, e->cls, e->text, e->traceback);
}
