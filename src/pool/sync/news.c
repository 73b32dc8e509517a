/* SPDX-License-Identifier: BSD-3-Clause */
#include "sync/news.h"

#include "sync/wait.h"

void gi_news_init(gi_news_t *self) { atomic_init(&self->word, 0); }

unsigned gi_news_read(gi_news_t *self) { return atomic_load(&self->word); }

void gi_news_tell(gi_news_t *self) {
    atomic_fetch_add(&self->word, 1);
    gi_wait_word_wake(&self->word);
}

bool gi_news_wait(gi_news_t *self, unsigned seen, int64_t deadline_ms) {
    int64_t deadline_ns =
        deadline_ms >= INT64_MAX / 1000000 ? INT64_MAX : deadline_ms * 1000000;
    bool in_time = true;
    while (in_time && atomic_load(&self->word) == seen)
        in_time = gi_wait_word(&self->word, seen, deadline_ns);
    return in_time || atomic_load(&self->word) != seen;
}
