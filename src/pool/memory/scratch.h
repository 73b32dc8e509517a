/* SPDX-License-Identifier: BSD-3-Clause */
/* scratch.h -- a buffer of this thread's own, reused from call to call. */
#ifndef GI_SCRATCH_H
#define GI_SCRATCH_H

#include "base/buf.h"

/* Empty, with the memory of the last use; freed when the thread ends. NULL: no
 * memory. Valid until the thread's next gi_scratch. */
gi_buf_t *gi_scratch(void);

#endif
