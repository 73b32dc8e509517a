/* SPDX-License-Identifier: BSD-3-Clause */
/* handover.h -- tells ThreadSanitizer what libzmq guarantees and it cannot see
 * (libzmq is not instrumented): what was written before a send is seen after
 * the receive. Nothing in other builds.
 * Law: one key a thing that is handed over (a message's bytes, an actor's
 * pipe), so that no hand-over orders anything but itself: a mark for all would
 * hide each race between two talkers behind any traffic. */
#ifndef GI_HANDOVER_H
#define GI_HANDOVER_H

#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *key);
void __tsan_release(void *key);
#define GI_HANDOVER_SENDS(key) __tsan_release(key)
#define GI_HANDOVER_RECEIVED(key) __tsan_acquire(key)
#else
#define GI_HANDOVER_SENDS(key) ((void)sizeof(key)) /* named, not evaluated */
#define GI_HANDOVER_RECEIVED(key) ((void)sizeof(key))
#endif

#endif
