/* SPDX-License-Identifier: BSD-3-Clause */
/* journal.h -- lines to journald by its native protocol (systemd's
 * JOURNAL_NATIVE_PROTOCOL: a datagram of fields), which is its documented
 * interface. No library is needed for that.
 * Thread: one. Blocks: never; a journald that does not read has no line. */
#ifndef GI_JOURNAL_H
#define GI_JOURNAL_H

#include "mail/logring.h"

#define GI_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* A descriptor to send by; -1: there is no journald, or no descriptor. */
int gi_journal_open(void);
/* MESSAGE ("part: text"), PRIORITY, SYSLOG_IDENTIFIER (the program's name), TID,
 * GATE_PART, and, of a line about one of many, GATE_SERVICE and GATE_METHOD.
 * False: it did not go out. */
bool gi_journal_send(int fd, const gi_log_line_t *line);
/* syslog's number of a level, 0 .. 7. */
int gi_journal_priority(gate_level_t level);

#endif
