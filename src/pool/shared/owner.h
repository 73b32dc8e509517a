/* SPDX-License-Identifier: BSD-3-Clause */
/* owner.h -- what a pool or a queue is made for: whose settings it copies, and
 * who is let go of when it has ended. */
#ifndef GI_OWNER_H
#define GI_OWNER_H

#include <gaterpc/runtime.h>
#include <gaterpc/settings.h>
#include "value/value.h"

typedef struct gi_pool_base {
    const gate_settings_t *settings;
    gate_runtime_t *runtime; /* for calls; never looked into here */
    gi_release_fn *release_owner;
    void *owner;
} gi_pool_base_t;

#endif
