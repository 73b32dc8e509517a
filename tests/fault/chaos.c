/* SPDX-License-Identifier: BSD-3-Clause */
/* chaos.c -- one thread, poll, two pipes a connection. A pipe is a queue of
 * chunks, each with the time when it may go on. */
#include "chaos.h"
#include "child.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 256
#define CHUNK 4096

typedef struct chunk {
    struct chunk *next;
    double due_ms;
    size_t at, size;
    char data[CHUNK];
} chunk_t;

typedef struct way {
    int from, to;
    chunk_t *first, **last;
    size_t bytes;
    double due_ms; /* of the last chunk: order is kept */
} way_t;

typedef struct link {
    bool open;
    int a, b;
    double end_ms; /* cut then; 0: never */
    way_t way[2];
} link_t;

struct chaos {
    pthread_t thread;
    pthread_mutex_t lock; /* of the next four */
    chaos_rules_t rules;
    bool stop, cut;
    size_t came;
    int listener;
    unsigned seed;
    struct sockaddr_in target;
    char endpoint[64];
    link_t link[LINKS_MAX];
};

static double s_random(chaos_t *self) {
    return (double)rand_r(&self->seed) / RAND_MAX;
}

/* ---- connections --------------------------------------------------------- */
static void s_close(link_t *link) {
    close(link->a);
    close(link->b);
    for (int i = 0; i < 2; i++)
        while (link->way[i].first) {
            chunk_t *next = link->way[i].first->next;
            free(link->way[i].first);
            link->way[i].first = next;
        }
    link->open = false;
}

static void s_life(chaos_t *self, link_t *link, double now) {
    double cut = self->rules.cut_ms;
    link->end_ms = cut > 0 ? now + cut * (0.5 + 1.5 * s_random(self)) : 0;
}

/* What is small waits for no acknowledgement: delays are the rules' alone. */
static void s_at_once(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void s_accept(chaos_t *self, double now) {
    int a = accept(self->listener, NULL, NULL);
    if (a < 0)
        return;
    link_t *link = self->link;
    while (link < self->link + LINKS_MAX && link->open)
        link++;
    int b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link == self->link + LINKS_MAX || b < 0 ||
        connect(b, (struct sockaddr *)&self->target, sizeof self->target) < 0) {
        close(a);
        if (b >= 0)
            close(b);
        return;
    }
    s_at_once(a);
    s_at_once(b);
    *link = (link_t){.open = true, .a = a, .b = b};
    link->way[0] = (way_t){.from = a, .to = b, .last = &link->way[0].first};
    link->way[1] = (way_t){.from = b, .to = a, .last = &link->way[1].first};
    s_life(self, link, now);
    self->came++;
}

/* ---- carrying ------------------------------------------------------------ */
/* False: the connection has ended. */
static bool s_read(chaos_t *self, way_t *way, double now) {
    chunk_t *chunk = malloc(sizeof *chunk);
    ssize_t n = chunk ? recv(way->from, chunk->data, CHUNK, MSG_DONTWAIT) : -1;
    if (n <= 0) {
        free(chunk);
        return n < 0 && errno == EAGAIN;
    }
    const chaos_rules_t *r = &self->rules;
    if (r->loss > 0 && s_random(self) < r->loss) {
        free(chunk);
        return false; /* what tcp cannot mend it ends */
    }
    double due = now + r->delay_ms + r->jitter_ms * s_random(self);
    if (due < way->due_ms)
        due = way->due_ms;
    if (r->bytes_per_s > 0)
        due += 1e3 * (double)n / r->bytes_per_s;
    chunk->next = NULL;
    chunk->at = 0;
    chunk->size = (size_t)n;
    chunk->due_ms = way->due_ms = due;
    *way->last = chunk;
    way->last = &chunk->next;
    way->bytes += (size_t)n;
    return true;
}

static bool s_write(way_t *way, double now) {
    chunk_t *chunk = way->first;
    while (chunk && chunk->due_ms <= now) {
        ssize_t n = send(way->to, chunk->data + chunk->at,
                         chunk->size - chunk->at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        chunk->at += (size_t)n;
        way->bytes -= (size_t)n;
        if (chunk->at < chunk->size)
            return true;
        way->first = chunk->next;
        if (!way->first)
            way->last = &way->first;
        free(chunk);
        chunk = way->first;
    }
    return true;
}

static void s_carry(chaos_t *self, link_t *link, double now) {
    bool alive = link->end_ms <= 0 || now < link->end_ms;
    for (int i = 0; i < 2 && alive; i++) {
        way_t *way = &link->way[i];
        if (way->bytes < CHAOS_BUFFER)
            alive = s_read(self, way, now);
        alive = alive && s_write(way, now);
    }
    if (!alive)
        s_close(link);
}

static void s_pass(chaos_t *self) {
    double now = child_now_ms();
    if (!self->rules.frozen)
        s_accept(self, now);
    for (int i = 0; i < LINKS_MAX; i++) {
        link_t *link = &self->link[i];
        if (link->open && self->cut)
            s_close(link);
        else if (link->open && !self->rules.frozen)
            s_carry(self, link, now);
    }
    self->cut = false;
}

/* At least every millisecond, as chunks get due. */
static void s_wait(chaos_t *self) {
    struct pollfd p[LINKS_MAX * 2 + 1] = {{self->listener, POLLIN, 0}};
    nfds_t n = 1;
    bool frozen = self->rules.frozen;
    for (int i = 0; i < LINKS_MAX && !frozen; i++)
        if (self->link[i].open) {
            p[n++] = (struct pollfd){self->link[i].a, POLLIN, 0};
            p[n++] = (struct pollfd){self->link[i].b, POLLIN, 0};
        }
    pthread_mutex_unlock(&self->lock);
    poll(p, frozen ? 0 : n, 1);
    pthread_mutex_lock(&self->lock);
}

static void *s_run(void *arg) {
    chaos_t *self = arg;
    pthread_mutex_lock(&self->lock);
    while (!self->stop) {
        s_pass(self);
        s_wait(self);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- from outside -------------------------------------------------------- */
chaos_t *chaos_new(const char *endpoint) {
    chaos_t *self = calloc(1, sizeof *self);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!self)
        child_die("no memory for a proxy");
    self->seed = 1;
    self->target = at;
    self->target.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    self->listener =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (self->listener < 0 ||
        bind(self->listener, (struct sockaddr *)&at, sizeof at) < 0 ||
        listen(self->listener, 128) < 0 ||
        getsockname(self->listener, (struct sockaddr *)&at, &size) < 0)
        child_die("no proxy: %s", strerror(errno));
    snprintf(self->endpoint, sizeof self->endpoint, "tcp://127.0.0.1:%u",
             ntohs(at.sin_port));
    pthread_mutex_init(&self->lock, NULL);
    if (pthread_create(&self->thread, NULL, s_run, self))
        child_die("no thread for a proxy");
    return self;
}

void chaos_destroy(chaos_t **self_p) {
    chaos_t *self = *self_p;
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
    for (int i = 0; i < LINKS_MAX; i++)
        if (self->link[i].open)
            s_close(&self->link[i]);
    close(self->listener);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *self_p = NULL;
}

const char *chaos_endpoint(const chaos_t *self) { return self->endpoint; }

void chaos_rule(chaos_t *self, chaos_rules_t rules) {
    pthread_mutex_lock(&self->lock);
    self->rules = rules;
    for (int i = 0; i < LINKS_MAX; i++)
        if (self->link[i].open)
            s_life(self, &self->link[i], child_now_ms());
    pthread_mutex_unlock(&self->lock);
}

void chaos_cut(chaos_t *self) {
    pthread_mutex_lock(&self->lock);
    self->cut = true;
    pthread_mutex_unlock(&self->lock);
}

size_t chaos_connections(chaos_t *self) {
    pthread_mutex_lock(&self->lock);
    size_t n = self->came;
    pthread_mutex_unlock(&self->lock);
    return n;
}
