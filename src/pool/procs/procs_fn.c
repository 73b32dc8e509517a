/* SPDX-License-Identifier: BSD-3-Clause */
/* procs_fn.c -- the snapshot is a list of (base, range, path) of every loaded
 * object, written right before the fork: once, or again when a lost zygote is
 * replaced, hence the lock. An object that was closed since and another one
 * loaded in its place differ in path, which is compared. */
#include "procs/procs_fn.h"
#include <dlfcn.h>
#include <link.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "base/mem.h"

typedef struct s_object {
    uintptr_t base, low, high; /* the executable segments lie in [low, high) */
    char *path;                /* "" = the program itself */
} s_object_t;

static pthread_mutex_t s_lock = PTHREAD_MUTEX_INITIALIZER; /* over these */
static s_object_t *s_objects;
static size_t s_n_objects;

static void s_fresh(void) { pthread_mutex_init(&s_lock, NULL); }

__attribute__((constructor)) static void s_watch_forks(void) {
    (void)pthread_atfork(NULL, NULL, s_fresh);
}

static void s_range(const struct dl_phdr_info *info, s_object_t *out) {
    out->base = info->dlpi_addr;
    out->low = UINTPTR_MAX;
    out->high = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        uintptr_t low = info->dlpi_addr + p->p_vaddr;
        if (low < out->low)
            out->low = low;
        if (low + p->p_memsz > out->high)
            out->high = low + p->p_memsz;
    }
}

static int s_note(struct dl_phdr_info *info, size_t size, void *ctx) {
    (void)size;
    gate_err_t *e = ctx;
    s_object_t *grown =
        gi_mem_realloc(s_objects, (s_n_objects + 1) * sizeof *grown);
    char *path = grown ? gi_mem_strdup(info->dlpi_name) : NULL;
    if (grown)
        s_objects = grown;
    if (!path) {
        *e = GATE_NOMEM;
        return 1;
    }
    s_range(info, &s_objects[s_n_objects]);
    s_objects[s_n_objects++].path = path;
    return 0;
}

gate_err_t gi_fn_snapshot(void) {
    gate_err_t e = GATE_OK;
    pthread_mutex_lock(&s_lock);
    for (size_t i = 0; i < s_n_objects; i++)
        gi_mem_free(s_objects[i].path);
    s_n_objects = 0;
    dl_iterate_phdr(s_note, &e);
    pthread_mutex_unlock(&s_lock);
    return e ? gi_err(e, "no memory for the list of loaded objects") : GATE_OK;
}

static int s_unloads(struct dl_phdr_info *info, size_t size, void *ctx) {
    (void)size;
    *(unsigned long long *)ctx = info->dlpi_subs;
    return 1; /* the first one knows */
}

unsigned long long gi_fn_unloads(void) {
    unsigned long long n = 0;
    dl_iterate_phdr(s_unloads, &n);
    return n;
}

typedef struct s_search {
    uintptr_t fn;
    s_object_t found;
    char path[sizeof((gi_fn_ref_t *)0)->object + 1];
    bool known;
} s_search_t;

static int s_look(struct dl_phdr_info *info, size_t size, void *ctx) {
    (void)size;
    s_search_t *s = ctx;
    s_range(info, &s->found);
    if (s->fn < s->found.low || s->fn >= s->found.high)
        return 0;
    s->known = true;
    strncpy(s->path, info->dlpi_name, sizeof s->path - 1);
    return 1;
}

static bool s_in_snapshot(const s_search_t *s) {
    bool found = false;
    pthread_mutex_lock(&s_lock);
    for (size_t i = 0; i < s_n_objects && !found; i++)
        found = s_objects[i].base == s->found.base &&
                s_objects[i].low == s->found.low &&
                strcmp(s_objects[i].path, s->path) == 0;
    pthread_mutex_unlock(&s_lock);
    return found;
}

gate_err_t gi_fn_refer(uintptr_t fn, const char *what, gi_fn_ref_t *out) {
    s_search_t s = {.fn = fn};
    memset(out, 0, sizeof *out);
    if (!fn)
        return GATE_OK;
    dl_iterate_phdr(s_look, &s);
    if (!s.known)
        return gi_err(GATE_BADARG,
                      "%s (%p) lies in no loaded object: it cannot run in a "
                      "worker process",
                      what, (void *)fn);
    out->at = fn;
    out->stays = !s.path[0];
    if (s_in_snapshot(&s))
        return GATE_OK;
    char whole[PATH_MAX]; /* workers may stand in another directory */
    if (!s.path[0] || !realpath(s.path, whole) ||
        strlen(whole) >= sizeof out->object)
        return gi_err(GATE_BADARG,
                      "%s lies in an object that was loaded after "
                      "gate_process_init and has no usable path: %.80s",
                      what, s.path);
    out->at = fn - s.found.base;
    strcpy(out->object, whole);
    return GATE_OK;
}

/* ---- in the worker ------------------------------------------------------- */

typedef struct s_loaded {
    char *path;
    uintptr_t base;
    struct s_loaded *next;
} s_loaded_t;

static s_loaded_t *s_load(const char *path) {
    struct link_map *map;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        gi_err(GATE_BADARG, "the worker cannot load %s: %s", path, dlerror());
        return NULL;
    }
    s_loaded_t *self = gi_mem_calloc(1, sizeof *self);
    if (self)
        self->path = gi_mem_strdup(path);
    if (!self || !self->path) {
        gi_mem_free(self);
        gi_err(GATE_NOMEM, "no memory to load %s", path);
        return NULL;
    }
    self->base = map->l_addr;
    return self;
}

gate_err_t gi_fn_resolve(const char *object, uint64_t at, uintptr_t *out) {
    static s_loaded_t *loaded; /* a worker has one thread of ours */
    uintptr_t base = 0;
    if (object[0]) {
        s_loaded_t *o = loaded;
        while (o && strcmp(o->path, object) != 0)
            o = o->next;
        if (!o) {
            o = s_load(object);
            if (!o)
                return gate_error()->code;
            o->next = loaded;
            loaded = o;
        }
        base = o->base;
    }
    *out = base + (uintptr_t)at;
    return GATE_OK;
}
