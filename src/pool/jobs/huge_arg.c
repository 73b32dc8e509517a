/* SPDX-License-Identifier: BSD-3-Clause */
/* huge_arg.c -- huge values that stand among the arguments of a client's call:
 * made here, fed and ended as results are (huge_feed.c). */
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "jobs/huge_feed.h"
#include "base/mem.h"

static gate_err_t s_check(const gate_huge_options_t *o, uint64_t size) {
    if (size == UINT64_MAX)
        return gi_err(GATE_BADARG, "a huge argument: its size must be given");
    if (o->kind != GATE_HUGE_PACKED && size > UINT32_MAX)
        return gi_err(GATE_TOOBIG, "a huge argument: a bin or str has at most "
                                   "4 GiB - 1 bytes");
    if (o->codec && strlen(o->codec) >= GI_HUGE_CODEC_MAX)
        return gi_err(GATE_NOTIMPL, "a huge argument: no codec %.40s...",
                      o->codec);
    return GATE_OK;
}

static const gate_huge_options_t s_none = {0};

static gate_huge_t *s_new(const gate_huge_options_t *options, uint64_t size) {
    const gate_huge_options_t *o = options ? options : &s_none;
    if (s_check(o, size))
        return NULL;
    gate_huge_t *self = gi_mem_calloc(1, sizeof *self);
    gi_huge_source_t *source = self ? gi_huge_source_new(size) : NULL;
    if (!source) {
        gi_mem_free(self);
        (void)gi_err(GATE_NOMEM, "no memory for a huge argument");
        return NULL;
    }
    *self = (gate_huge_t){.source = source, .left = size};
    self->value.size = size;
    self->value.n_head =
        (unsigned char)gi_huge_head(o->kind, size, self->value.head);
    strcpy(self->begin.codec, o->codec ? o->codec : "");
    self->begin.level = o->level;
    self->begin.size = size;
    return self;
}

gate_huge_t *gate_huge_arg_new(const gate_huge_options_t *options) {
    const gate_huge_options_t *o = options ? options : &s_none;
    bool unknown = o->kind == GATE_HUGE_PACKED && !o->size;
    return s_new(o, unknown ? UINT64_MAX : o->size);
}

gate_huge_t *gate_huge_arg_data(const void *data, size_t size,
                                void (*release)(void *data),
                                const gate_huge_options_t *options) {
    gate_huge_t *self = s_new(options, size);
    if (self) {
        self->left = 0;
        gi_huge_source_memory(self->source, data, release);
    } else if (release) {
        release((void *)(uintptr_t)data); /* what it was given, writable */
    }
    return self;
}

gate_huge_t *gate_huge_arg_fd(int fd, const gate_huge_options_t *options) {
    gi_huge_file_t file;
    gate_huge_t *self = NULL;
    gate_err_t e = gi_huge_file_look(fd, options, &file);
    if (!e && file.content.data)
        self = gate_huge_arg_data(file.content.data, file.content.size,
                                  gi_mem_free, options);
    else if (!e)
        self = s_new(options, file.size);
    if (!self || file.content.data) {
        close(fd);
        return self;
    }
    self->left = 0;
    gi_huge_source_file(self->source, fd, file.regular);
    return self;
}
