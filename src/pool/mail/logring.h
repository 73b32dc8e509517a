/* SPDX-License-Identifier: BSD-3-Clause */
/* logring.h -- the ring between gate_log() and the log actor: many producers,
 * one consumer, fixed-size cells, never waits; full drops and counts. One for
 * the process. */
#ifndef GI_LOGRING_H
#define GI_LOGRING_H

#include <gaterpc/log.h>
#include <gaterpc/settings.h>

typedef struct gi_log_line {
    int64_t wall_us; /* real time, for people */
    gate_level_t level;
    uint64_t thread; /* the kernel's thread id */
    char part[64];
    char method[64]; /* what the line is about; "": no method */
    char text[1000];
} gi_log_line_t;

/* A line about one of many, as gate_log: its part is "part.whose", for which the
 * rules of part hold, too. method: of whose, or NULL. */
void gi_logring_about(gate_level_t level, const char *part, const char *whose,
                      const char *method, const char *fmt, ...)
    GATE_PRINTF(5, 6);
/* Level rules: "part=level,part=level" over a general level; the longest that is
 * the part, or stands before a dot of it, decides. Thread: any. */
void gi_log_levels(gate_level_t general, const char *rules);
bool gi_log_enabled(gate_level_t level, const char *part);
/* The consumer: attach (one at a time) makes lines go to the ring instead of
 * stderr; fd is its doorbell. */
gate_err_t gi_logring_attach(int *fd) GATE_MUST;
void gi_logring_detach(void);
bool gi_logring_pop(gi_log_line_t *out);
bool gi_logring_sleep(void); /* as gi_mailbox_sleep */
void gi_logring_wake(void);
/* Told by the consumer after it wrote all it popped, for gate_log_flush. */
void gi_logring_written(void);
/* A line that the consumer could not write: counted with those dropped. */
void gi_logring_lose(void);
/* "2026-01-02 03:04:05.678 INFO  broker: text\n"; returns the length. */
size_t gi_log_format(const gi_log_line_t *line, bool colour, char *out,
                     size_t room);
/* Whether n lines more have room now. Without a consumer all have. */
bool gi_logring_room(unsigned n);
/* For whom this process works: stands before what it says on stderr; NULL:
 * nobody. By one thread; those that speak may be others. */
void gi_logring_speak_for(const char *whom);
/* What gi_log_format made: level, and the text with its part; false for
 * anything else. Cuts line. */
bool gi_logring_parse(char *line, gate_level_t *level, const char **text);
/* Calls the user's sink, if there is one. */
void gi_log_call_sink(const gi_log_line_t *line);

#endif
