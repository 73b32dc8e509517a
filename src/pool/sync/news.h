/* SPDX-License-Identifier: BSD-3-Clause */
/* news.h -- a word that changes with each piece of news, so that who waits for
 * something to become true looks again when it may have, and not before.
 *
 *   seen = gi_news_read(news);      then looks: is it true?
 *   gi_news_wait(news, seen, ...);  sleeps unless something was told since
 *
 * Thread: any. Blocks: wait alone. Law: what is told after read is not slept
 * over. */
#ifndef GI_NEWS_H
#define GI_NEWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct gi_news {
    atomic_uint word;
} gi_news_t;

void gi_news_init(gi_news_t *self);
unsigned gi_news_read(gi_news_t *self);
void gi_news_tell(gi_news_t *self);
/* False when deadline_ms (gi_clock_ms; INT64_MAX: never) has passed first. */
bool gi_news_wait(gi_news_t *self, unsigned seen, int64_t deadline_ms);

#endif
