/* SPDX-License-Identifier: BSD-3-Clause */
/* sysmem.h -- how much memory this process may have: of the machine, of its
 * control groups (v1 and v2), of its resource limits, whichever is least.
 * Thread: any. Blocks: for the reading of some files. */
#ifndef GI_SYSMEM_H
#define GI_SYSMEM_H

#include <gaterpc/settings.h>
#include <stdint.h>

/* Bytes; INT64_MAX when nothing can be learnt. */
int64_t gi_sysmem_limit(void);
/* What a broker's queues may hold unless it is set: a share of that, so that they
 * are not what the kernel kills it for. */
void gi_sysmem_fit(gate_settings_t *settings);

#endif
