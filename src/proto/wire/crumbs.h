/* SPDX-License-Identifier: BSD-3-Clause */
/* crumbs.h -- messages of too many frames, seen in what ZeroMQ's peers write.
 * Pure. */
#ifndef GI_CRUMBS_H
#define GI_CRUMBS_H

#include <stdbool.h>
#include <stddef.h>

/* Whether bytes from the middle of a ZMTP stream are a message in crumbs: frame
 * after frame with MORE, more than max of them. The bytes may begin anywhere in
 * a frame of up to 255. */
bool gi_crumbs(const void *data, size_t size, unsigned max);

#endif
