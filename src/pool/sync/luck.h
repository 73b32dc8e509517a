/* SPDX-License-Identifier: BSD-3-Clause */
/* luck.h -- lingering (wait.h) for who cannot know whether its sleep will be
 * short: how it went last decides. After each time in vain it is tried half as
 * often, down to one in 128. Thread: whose it is. */
#ifndef GI_LUCK_H
#define GI_LUCK_H

#include "sync/wait.h"

typedef struct gi_luck { /* zeroed: it is tried */
    unsigned vain, skip;
} gi_luck_t;

static inline gi_linger_t gi_luck_begin(gi_luck_t *self) {
    if (!self->skip)
        return gi_linger_begin();
    self->skip--;
    return (gi_linger_t){0, 0};
}

/* came: what was waited for. */
static inline void gi_luck_end(gi_luck_t *self, const gi_linger_t *linger,
                               bool came) {
    if (came) {
        self->vain = 0;
    } else if (linger->at_ns) { /* it was tried */
        if (self->vain < 7)
            self->vain++;
        self->skip = (1U << self->vain) - 1;
    }
}

#endif
