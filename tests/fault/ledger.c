/* SPDX-License-Identifier: BSD-3-Clause */
/* ledger.c -- a flat array of entries, each written by the two threads that
 * open and end the call; a second final is seen by its counter. */
#include "ledger.h"
#include "child.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct entry {
    int64_t want;
    double begin, end;
    atomic_int finals;
    gate_err_t code;
    bool right;
} entry_t;

struct ledger {
    const char *name;
    entry_t *entries;
    size_t room;
    atomic_size_t opened, right, double_, wrong;
    atomic_size_t errors[GATE_ERR_COUNT];
    bool allowed[GATE_ERR_COUNT];
    double begin;
};

ledger_t *ledger_new(const char *name, size_t calls) {
    ledger_t *self = calloc(1, sizeof *self);
    if (self)
        self->entries = calloc(calls, sizeof *self->entries);
    if (!self || !self->entries)
        child_die("no memory for the ledger");
    self->name = name;
    self->room = calls;
    self->begin = child_now_ms();
    return self;
}

void ledger_destroy(ledger_t **self_p) {
    if (*self_p)
        free((*self_p)->entries);
    free(*self_p);
    *self_p = NULL;
}

void ledger_allow(ledger_t *self, gate_err_t e) { self->allowed[e] = true; }

size_t ledger_open(ledger_t *self, int64_t want) {
    size_t id = atomic_fetch_add(&self->opened, 1);
    if (id >= self->room) {
        atomic_fetch_sub(&self->opened, 1);
        return SIZE_MAX;
    }
    self->entries[id].want = want;
    self->entries[id].begin = child_now_ms();
    return id;
}

/* True for the first final of the call. */
static bool s_end(ledger_t *self, size_t id) {
    entry_t *entry = &self->entries[id];
    if (atomic_fetch_add(&entry->finals, 1) > 0) {
        atomic_fetch_add(&self->double_, 1);
        return false;
    }
    entry->end = child_now_ms();
    return true;
}

void ledger_value(ledger_t *self, size_t id, int64_t got) {
    if (!s_end(self, id))
        return;
    entry_t *entry = &self->entries[id];
    entry->right = got == entry->want;
    atomic_fetch_add(entry->right ? &self->right : &self->wrong, 1);
    if (!entry->right)
        fprintf(stderr, "%s: call %zu: %lld instead of %lld\n", self->name, id,
                (long long)got, (long long)entry->want);
}

void ledger_error(ledger_t *self, size_t id, gate_err_t e) {
    if (!s_end(self, id))
        return;
    self->entries[id].code = e;
    atomic_fetch_add(&self->errors[e], 1);
    if (self->allowed[e])
        return;
    if (atomic_fetch_add(&self->wrong, 1) < 5)
        fprintf(stderr, "%s: call %zu ended with %s (%s: %s)\n", self->name, id,
                gate_err_name(e), gate_error()->cls, gate_error()->text);
}

void ledger_final(ledger_t *self, size_t id, gate_err_t e, int64_t got) {
    if (e == GATE_OK)
        ledger_value(self, id, got);
    else
        ledger_error(self, id, e);
}

size_t ledger_opened(const ledger_t *self) {
    return atomic_load(&self->opened);
}

size_t ledger_right(const ledger_t *self) { return atomic_load(&self->right); }

static int s_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double ledger_longest_ms(const ledger_t *self) {
    double longest = 0, now = child_now_ms();
    for (size_t i = 0; i < ledger_opened(self); i++) {
        const entry_t *entry = &self->entries[i];
        double end = atomic_load(&entry->finals) ? entry->end : now;
        if (end - entry->begin > longest)
            longest = end - entry->begin;
    }
    return longest;
}

/* The latencies of right answers, sorted; their number in *n. */
static double *s_latencies(const ledger_t *self, size_t *n) {
    double *ms = calloc(ledger_opened(self) + 1, sizeof *ms);
    if (!ms)
        child_die("no memory for the latencies");
    *n = 0;
    for (size_t i = 0; i < ledger_opened(self); i++)
        if (self->entries[i].right)
            ms[(*n)++] = self->entries[i].end - self->entries[i].begin;
    qsort(ms, *n, sizeof *ms, s_compare);
    return ms;
}

double ledger_p99_ms(const ledger_t *self) {
    size_t n = 0;
    double *ms = s_latencies(self, &n), p99 = n ? ms[n * 99 / 100] : 0;
    free(ms);
    return p99;
}

static size_t s_lost(const ledger_t *self) {
    size_t lost = 0;
    for (size_t i = 0; i < ledger_opened(self); i++)
        lost += atomic_load(&self->entries[i].finals) == 0;
    return lost;
}

bool ledger_close(ledger_t *self) {
    size_t n = 0, lost = s_lost(self);
    double *ms = s_latencies(self, &n);
    double seconds = (child_now_ms() - self->begin) / 1000;
    printf("%s: calls %zu right %zu lost %zu double %zu wrong %zu", self->name,
           ledger_opened(self), ledger_right(self), lost,
           atomic_load(&self->double_), atomic_load(&self->wrong));
    for (int e = 0; e < GATE_ERR_COUNT; e++)
        if (atomic_load(&self->errors[e]))
            printf(" %s %zu", gate_err_name((gate_err_t)e),
                   atomic_load(&self->errors[e]));
    if (n)
        printf(" | %.0f/s p50 %.2f p99 %.2f max %.2f ms", (double)n / seconds,
               ms[n / 2], ms[n * 99 / 100], ms[n - 1]);
    printf("\n");
    fflush(stdout);
    free(ms);
    return !lost && !atomic_load(&self->double_) && !atomic_load(&self->wrong);
}
