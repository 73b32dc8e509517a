/* SPDX-License-Identifier: BSD-3-Clause */
/* handover.h -- tells ThreadSanitizer what libzmq guarantees and it cannot see
 * (libzmq is not instrumented): what was written before a send is seen after
 * the receive. Nothing in other builds. */
#ifndef GI_HANDOVER_H
#define GI_HANDOVER_H

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
extern char gi_handover_mark;
#define GI_HANDOVER_SENDS() __tsan_release(&gi_handover_mark)
#define GI_HANDOVER_RECEIVED() __tsan_acquire(&gi_handover_mark)
#else
#define GI_HANDOVER_SENDS() ((void)0)
#define GI_HANDOVER_RECEIVED() ((void)0)
#endif

#endif
