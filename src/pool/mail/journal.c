/* SPDX-License-Identifier: BSD-3-Clause */
/* journal.c -- see journal.h. A field is NAME=value and a line end: a line of ours has
 * none inside (logring.c). Addressed by name each time: the socket is systemd's own and
 * stays when journald is started again. */
#include "mail/journal.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syslog.h>
#include <sys/un.h>
#include <unistd.h>

#define S_SERVICE "service."
enum { S_DATAGRAM_MAX = 2048 };

int gi_journal_open(void) {
    if (access(GI_JOURNAL_SOCKET, W_OK) != 0)
        return -1;
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int gi_journal_priority(gate_level_t level) {
    static const int priority[] = {LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERR};
    return (unsigned)level < GATE_SILENT ? priority[level] : LOG_ERR;
}

static const char *s_service(const gi_log_line_t *line) {
    size_t n = strlen(S_SERVICE);
    return strncmp(line->part, S_SERVICE, n) == 0 ? line->part + n : "";
}

/* Appends a field that says something. */
static size_t s_field(char *to, size_t used, const char *name,
                      const char *value) {
    int n = *value ? snprintf(to + used, S_DATAGRAM_MAX - used, "%s=%s\n", name,
                              value)
                   : 0;
    return n > 0 && (size_t)n < S_DATAGRAM_MAX - used ? used + (size_t)n : used;
}

static size_t s_compose(char to[static S_DATAGRAM_MAX],
                        const gi_log_line_t *line) {
    int n =
        snprintf(to, S_DATAGRAM_MAX, "MESSAGE=%s: %s\nPRIORITY=%d\nTID=%llu\n",
                 line->part, line->text, gi_journal_priority(line->level),
                 (unsigned long long)line->thread);
    size_t used = n > 0 ? (size_t)n : 0;
    used =
        s_field(to, used, "SYSLOG_IDENTIFIER", program_invocation_short_name);
    used = s_field(to, used, "GATE_PART", line->part);
    used = s_field(to, used, "GATE_SERVICE", s_service(line));
    return s_field(to, used, "GATE_METHOD", line->method);
}

bool gi_journal_send(int fd, const gi_log_line_t *line) {
    static const struct sockaddr_un at = {.sun_family = AF_UNIX,
                                          .sun_path = GI_JOURNAL_SOCKET};
    char text[S_DATAGRAM_MAX];
    size_t size = s_compose(text, line);
    ssize_t n;
    do {
        n = sendto(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL,
                   (const void *)&at, sizeof at);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)size;
}
