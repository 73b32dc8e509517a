/* SPDX-License-Identifier: BSD-3-Clause */
/* zmtp.c -- epoll over plain sockets. A client is a small state machine: each
 * answer that came whole sends the next request. */
#include "zmtp.h"
#include "child.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GREETING 64
#define BURST 256 /* that are under way to a connection at once */
#define IN 512

typedef enum state { CONNECTING, GREETED, TALKING, DONE, LOST } state_t;

typedef struct client {
    int fd;
    state_t state;
    int asked, answered;
    size_t n_in;
    unsigned char in[IN];
} client_t;

struct zmtp {
    char endpoint[128];
    client_t *client;
    size_t n, begun, greeted, right, wrong, over;
    client_t **due; /* a ring of those that wait for their turn to ask */
    size_t n_due, first_due, asked;
    double rate, began; /* asks a second, since */
    int calls, epoll;
};

int zmtp_knock(const char *endpoint) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    at.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) &&
        errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- out ----------------------------------------------------------------- */
static void s_over(zmtp_t *self, client_t *client, state_t state) {
    if (client->state < TALKING)
        self->greeted++; /* others need not wait for it */
    if (client->state < DONE)
        self->over++;
    if (state == LOST && client->state != LOST) {
        self->wrong++;
        epoll_ctl(self->epoll, EPOLL_CTL_DEL, client->fd, NULL);
    }
    client->state = state;
}

/* Small, and never more than one request: the kernel takes it whole. */
static void s_write(zmtp_t *self, client_t *client, const void *data,
                    size_t size) {
    if (send(client->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
        s_over(self, client, LOST);
}

static void s_greet(zmtp_t *self, client_t *client) {
    static const unsigned char greeting[GREETING] = {
        0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    client->state = GREETED;
    s_write(self, client, greeting, sizeof greeting);
}

static size_t s_frame(unsigned char *to, const void *data, size_t size,
                      bool more) {
    to[0] = more;
    to[1] = (unsigned char)size;
    memcpy(to + 2, data, size);
    return size + 2;
}

/* add(n, 1) with the request id "....n", for n the count of calls. */
static void s_ask(zmtp_t *self, client_t *client) {
    unsigned char out[128], id[16] = {0};
    unsigned char args[] = {0x92, (unsigned char)(client->asked & 0x7f), 1};
    size_t n = 0;
    memcpy(id, &client->asked, sizeof client->asked);
    n += s_frame(out + n, "", 0, true);
    n += s_frame(out + n, "MDPC01", 6, true);
    n += s_frame(out + n, "Demo", 4, true);
    n += s_frame(out + n, id, sizeof id, true);
    n += s_frame(out + n,
                 "\xa3"
                 "add",
                 4, true);
    n += s_frame(out + n, args, sizeof args, true);
    n += s_frame(out + n, "\x80", 1, false);
    client->asked++;
    s_write(self, client, out, n);
}

static void s_next(zmtp_t *self, client_t *client) {
    if (client->asked < self->calls)
        self->due[(self->first_due + self->n_due++) % self->n] = client;
    else
        s_over(self, client, DONE);
}

/* Those whose turn it is. */
static void s_turns(zmtp_t *self) {
    double may = (child_now_ms() - self->began) * self->rate / 1000;
    while (self->n_due > 0 && (double)self->asked < may) {
        client_t *client = self->due[self->first_due];
        self->first_due = (self->first_due + 1) % self->n;
        self->n_due--;
        self->asked++;
        if (client->state == TALKING)
            s_ask(self, client);
    }
}

/* ---- in ------------------------------------------------------------------ */
/* The size of the frame at data, or 0 while it is not whole. */
static size_t s_whole(const unsigned char *data, size_t n, size_t *head) {
    size_t size = 0;
    if (n < 2)
        return 0;
    *head = data[0] & 2 ? 9 : 2;
    if (n < *head)
        return 0;
    for (size_t i = 1; i < *head; i++)
        size = size << 8 | data[i];
    return size <= IN && n >= *head + size ? *head + size : 0;
}

static void s_answer(zmtp_t *self, client_t *client, const unsigned char *body,
                     size_t size) {
    unsigned char want[20] = "\x82\xa6result";
    size_t n = 8;
    int sum = ((client->asked - 1) & 0x7f) + 1;
    if (sum > 127)
        want[n++] = 0xcc;
    want[n++] = (unsigned char)sum;
    if (size > n && memcmp(body, want, n) == 0)
        self->right++;
    else
        self->wrong++;
    client->answered++;
    s_next(self, client);
}

/* READY, or a PING: 4 "PING" and 2 bytes, the rest goes back. */
static void s_command(zmtp_t *self, client_t *client, const unsigned char *body,
                      size_t size) {
    unsigned char pong[64] = "\4\0\4PONG";
    if (size > 6 && size < 60 && memcmp(body, "\4PING", 5) == 0) {
        pong[1] = (unsigned char)(size - 2);
        memcpy(pong + 7, body + 7, size - 7);
        s_write(self, client, pong, size);
    } else if (size > 5 && body[0] == 5 && client->state == GREETED) {
        client->state = TALKING;
        self->greeted++;
        s_next(self, client);
    }
}

/* Takes whole frames off the front; how many bytes. */
static size_t s_frames(zmtp_t *self, client_t *client) {
    size_t at = 0, whole = 0, head = 0;
    while (client->state != LOST &&
           (whole = s_whole(client->in + at, client->n_in - at, &head))) {
        const unsigned char *frame = client->in + at;
        at += whole;
        if (frame[0] & 4) {
            s_command(self, client, frame + head, whole - head);
        } else if (!(frame[0] & 1)) { /* the last frame is the body */
            s_answer(self, client, frame + head, whole - head);
        }
    }
    return at;
}

static void s_greeted(zmtp_t *self, client_t *client) {
    static const char ready[] = "\4\x1c\5READY\x0bSocket-Type\0\0\0\6DEALER";
    memmove(client->in, client->in + GREETING, client->n_in - GREETING);
    client->n_in -= GREETING;
    client->asked = 0; /* from here on, frames */
    s_write(self, client, ready, sizeof ready - 1);
}

static void s_read(zmtp_t *self, client_t *client) {
    ssize_t got = recv(client->fd, client->in + client->n_in,
                       sizeof client->in - client->n_in, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        s_over(self, client, LOST);
        return;
    }
    client->n_in += (size_t)got;
    if (client->state == GREETED && client->asked < 0) {
        if (client->n_in < GREETING)
            return;
        s_greeted(self, client);
    }
    size_t used = s_frames(self, client);
    client->n_in -= used;
    memmove(client->in, client->in + used, client->n_in);
}

/* ---- life ---------------------------------------------------------------- */
static void s_begin(zmtp_t *self) {
    client_t *client = &self->client[self->begun];
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    client->fd = zmtp_knock(self->endpoint);
    if (client->fd < 0)
        return;         /* the next round tries again */
    client->asked = -1; /* the greeting has not come */
    self->begun++;
    epoll_ctl(self->epoll, EPOLL_CTL_ADD, client->fd, &event);
}

zmtp_t *zmtp_new(const char *endpoint, size_t n, int calls, double rate) {
    zmtp_t *self = calloc(1, sizeof *self);
    if (!self || !(self->client = calloc(n, sizeof *self->client)) ||
        !(self->due = calloc(n, sizeof(client_t *))))
        child_die("no memory for %zu clients", n);
    snprintf(self->endpoint, sizeof self->endpoint, "%s", endpoint);
    self->n = n;
    self->calls = calls;
    self->rate = rate;
    self->began = child_now_ms();
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    return self;
}

void zmtp_destroy(zmtp_t **self_p) {
    zmtp_t *self = *self_p;
    for (size_t i = 0; i < self->begun; i++)
        close(self->client[i].fd);
    close(self->epoll);
    free(self->client);
    free(self->due);
    free(self);
    *self_p = NULL;
}

static void s_event(zmtp_t *self, const struct epoll_event *event) {
    client_t *client = event->data.ptr;
    struct epoll_event in = {.events = EPOLLIN, .data.ptr = client};
    if (client->state == CONNECTING) {
        if (event->events & (EPOLLERR | EPOLLHUP)) {
            s_over(self, client, LOST);
            return;
        }
        epoll_ctl(self->epoll, EPOLL_CTL_MOD, client->fd, &in);
        s_greet(self, client);
    } else {
        s_read(self, client);
    }
}

bool zmtp_run(zmtp_t *self, double ms) {
    double end = child_now_ms() + ms;
    struct epoll_event event[256];
    while (self->over < self->n && child_now_ms() < end) {
        for (int i = 0; i < 32 && self->begun < self->n &&
                        self->begun - self->greeted < BURST;
             i++)
            s_begin(self);
        s_turns(self);
        int n = epoll_wait(self->epoll, event, 256, 1);
        for (int i = 0; i < n; i++)
            s_event(self, &event[i]);
    }
    return self->over == self->n;
}

size_t zmtp_connected(const zmtp_t *self) {
    size_t n = 0;
    for (size_t i = 0; i < self->begun; i++)
        n += self->client[i].answered > 0;
    return n;
}

size_t zmtp_right(const zmtp_t *self) { return self->right; }

size_t zmtp_wrong(const zmtp_t *self) { return self->wrong; }
