/* SPDX-License-Identifier: BSD-3-Clause */
/* rings.c -- see rings.h. Why it is safe to believe what is at the other end:
 * the offer comes over a connection whose broker is known. A peer takes it only
 * where that broker's kernel, network and process namespaces are its own (so that
 * a name which no file has can belong to nobody else while the broker lives),
 * and only if who listens there is that process. The broker knows its peer by the
 * nonce, which is given on the Unix socket and comes back over ZeroMQ. Memory is
 * made by the broker, for peers that it knows, and sealed: nobody can make it
 * smaller under who reads it. */
#include "rings/rings.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include "base/err.h"
#include "base/identity.h"
#include "shared/rights.h"
#include "shared/shm.h"
#include "sync/fd.h"

#define S_MAGIC 4
#define S_BACKLOG 64
#define S_VERSION "2" /* 1: without down; offered by default by none */
#define S_NAME "gaterpc-"
#define S_NAME_MAX 64
#define S_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* ---- over ZeroMQ ---------------------------------------------------------- */
gi_rings_word_t gi_rings_read(gate_bytes_t frame,
                              unsigned char nonce[GI_RINGS_NONCE]) {
    const unsigned char *p = frame.data;
    if (frame.size < S_MAGIC || memcmp(p, GI_RINGS_MAGIC, S_MAGIC) != 0)
        return GI_RINGS_NOTHING;
    if (frame.size == S_MAGIC + 1 && p[S_MAGIC] == 'u')
        return GI_RINGS_UP;
    if (frame.size == S_MAGIC + 1 && p[S_MAGIC] == 'd')
        return GI_RINGS_DOWN;
    if (frame.size != GI_RINGS_SAID || p[S_MAGIC] != 'a')
        return GI_RINGS_NONSENSE;
    memcpy(nonce, p + S_MAGIC + 1, GI_RINGS_NONCE);
    return GI_RINGS_ASK;
}

static size_t s_write(char word, const void *more, size_t size,
                      unsigned char *to) {
    memcpy(to, GI_RINGS_MAGIC, S_MAGIC);
    to[S_MAGIC] = (unsigned char)word;
    if (size)
        memcpy(to + S_MAGIC + 1, more, size);
    return S_MAGIC + 1 + size;
}

size_t gi_rings_write(gi_rings_word_t word,
                      const unsigned char nonce[GI_RINGS_NONCE],
                      unsigned char to[GI_RINGS_SAID]) {
    if (word == GI_RINGS_ASK)
        return s_write('a', nonce, GI_RINGS_NONCE, to);
    return s_write(word == GI_RINGS_UP ? 'u' : 'd', NULL, 0, to);
}

/* ---- the setting lane ----------------------------------------------------- */
bool gi_rings_always(const gate_settings_t *settings) {
    return strcmp(settings->lane, "always") == 0;
}

bool gi_rings_wanted(const gate_settings_t *settings, bool encrypted) {
    return gi_rings_always(settings) ||
           (!encrypted && strcmp(settings->lane, "off") != 0);
}

/* ---- the offer ------------------------------------------------------------ */
static uint64_t s_hash(uint64_t hash, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static bool s_hash_link(uint64_t *hash, const char *path) {
    char text[128];
    ssize_t n = readlink(path, text, sizeof text);
    *hash = s_hash(*hash, text, n > 0 ? (size_t)n : 0);
    return n > 0;
}

static bool s_hash_file(uint64_t *hash, const char *path) {
    char text[128];
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text, f) : 0;
    if (f)
        fclose(f);
    *hash = s_hash(*hash, text, n);
    return n > 0;
}

/* Which kernel since when, and which of its namespaces; false: not to be known.
 */
static bool s_where(uint64_t *hash) {
    *hash = UINT64_C(0xcbf29ce484222325);
    return s_hash_file(hash, "/proc/sys/kernel/random/boot_id") &&
           s_hash_link(hash, "/proc/self/ns/net") &&
           s_hash_link(hash, "/proc/self/ns/pid");
}

static socklen_t s_address(struct sockaddr_un *at, const char *name) {
    size_t n = strlen(name);
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(at->sun_path + 1, name, n);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static int s_socket(void) {
    return gi_fd_high(
        socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

gate_err_t gi_rings_listen(char offer[GI_RINGS_OFFER], int *fd) {
    unsigned char random[16];
    char name[S_NAME_MAX] = S_NAME;
    struct sockaddr_un at;
    uint64_t where;
    if (!s_where(&where))
        return gi_err_errno("no lanes: /proc does not say where we are");
    gi_random(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++)
        snprintf(name + strlen(S_NAME) + 2 * i, 3, "%02x", random[i]);
    socklen_t size = s_address(&at, name);
    *fd = s_socket();
    if (*fd < 0 || bind(*fd, (struct sockaddr *)&at, size) < 0 ||
        listen(*fd, S_BACKLOG) < 0) {
        gate_err_t e = gi_err_errno("no lanes: no Unix socket to listen on");
        gi_fd_close(fd);
        return e;
    }
    snprintf(offer, GI_RINGS_OFFER, S_VERSION " %016" PRIx64 " %ld %s", where,
             (long)getpid(), name);
    return GATE_OK;
}

typedef struct s_offer {
    uint64_t where;
    long pid;
    char name[S_NAME_MAX];
} s_offer_t;

static bool s_read_offer(gate_bytes_t offer, s_offer_t *out) {
    char text[GI_RINGS_OFFER], *at;
    if (offer.size < 2 || offer.size >= sizeof text ||
        memcmp(offer.data, S_VERSION " ", 2) != 0)
        return false;
    memcpy(text, offer.data, offer.size);
    text[offer.size] = 0;
    out->where = strtoull(text + 2, &at, 16);
    if (at == text + 2 || *at != ' ')
        return false;
    char *digits = at + 1;
    out->pid = strtol(digits, &at, 10);
    size_t n = strlen(at);
    if (at == digits || *at != ' ' || n < 2 || n > sizeof out->name ||
        out->pid <= 0)
        return false;
    memcpy(out->name, at + 1, n);
    return true;
}

bool gi_rings_who(int fd, pid_t *process, uid_t *user) {
    struct ucred who;
    socklen_t size = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
        return false;
    *process = who.pid;
    *user = who.uid;
    return true;
}

static bool s_is_of(int fd, long pid) {
    pid_t process;
    uid_t user;
    return gi_rings_who(fd, &process, &user) && process == pid;
}

int gi_rings_connect(gate_bytes_t text) {
    s_offer_t offer;
    uint64_t where;
    struct sockaddr_un at;
    if (!s_read_offer(text, &offer) || !s_where(&where) || where != offer.where)
        return -1;
    socklen_t size = s_address(&at, offer.name);
    int fd = s_socket();
    if (fd >= 0 && (connect(fd, (struct sockaddr *)&at, size) < 0 ||
                    !s_is_of(fd, offer.pid)))
        gi_fd_close(&fd);
    return fd;
}

/* ---- by the lane ---------------------------------------------------------- */
bool gi_rings_put(gi_ringway_t *way, gi_rings_word_t word) {
    unsigned char said[GI_RINGS_SAID];
    size_t n = gi_rings_write(word, NULL, said);
    void *to = gi_ringway_room(way, n);
    if (!to)
        return false;
    memcpy(to, said, n);
    gi_ringway_sent(way, n);
    return true;
}

/* ---- over the Unix socket ------------------------------------------------- */
bool gi_rings_hello(int fd, const unsigned char nonce[GI_RINGS_NONCE]) {
    unsigned char said[GI_RINGS_SAID];
    size_t n = s_write('h', nonce, GI_RINGS_NONCE, said);
    return gi_rights_send(fd, said, n, NULL, 0, MSG_DONTWAIT);
}

/* All of it is there from the start: who has no memory is told now, and not by
 * a signal later. */
int gi_rings_memory(size_t ring) {
    size_t bytes = gi_ringpair_bytes(ring);
    void *at;
    int fd;
    if (gi_shm_memfd("gaterpc-lane", bytes, &fd, &at))
        return -1;
    munmap(at, bytes);
    return fd;
}

bool gi_rings_give(int fd, int memory, size_t ring) {
    unsigned char said[GI_RINGS_SAID];
    uint64_t size = ring;
    size_t n = s_write('m', &size, sizeof size, said);
    return gi_rights_send(fd, said, n, &memory, 1, MSG_DONTWAIT);
}

/* What cannot be cut short under us, and has just that size. */
static bool s_is_sound(int memory, uint64_t ring) {
    struct stat st;
    if (ring < GI_RINGPAIR_MIN || ring > GI_RINGPAIR_MAX || (ring & (ring - 1)))
        return false;
    int seals = fcntl(memory, F_GET_SEALS);
    return fstat(memory, &st) == 0 && seals >= 0 &&
           (seals & S_SEALS) == S_SEALS &&
           (uint64_t)st.st_size == gi_ringpair_bytes((size_t)ring);
}

gi_rings_told_t gi_rings_hear(int fd, unsigned char nonce[GI_RINGS_NONCE],
                              int *memory, size_t *ring) {
    unsigned char said[GI_RINGS_SAID];
    uint64_t size;
    int n_fds = 0, given = -1;
    ssize_t n =
        gi_rights_recv(fd, said, sizeof said, &given, 1, &n_fds, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return GI_RINGS_WAIT;
    bool ours = n > S_MAGIC && memcmp(said, GI_RINGS_MAGIC, S_MAGIC) == 0;
    if (ours && said[S_MAGIC] == 'h' && n == GI_RINGS_SAID && n_fds == 0) {
        memcpy(nonce, said + S_MAGIC + 1, GI_RINGS_NONCE);
        return GI_RINGS_HELLO;
    }
    if (ours && said[S_MAGIC] == 'm' &&
        n == (ssize_t)(S_MAGIC + 1 + sizeof size) && n_fds == 1) {
        memcpy(&size, said + S_MAGIC + 1, sizeof size);
        if (s_is_sound(given, size)) {
            *memory = given;
            *ring = (size_t)size;
            return GI_RINGS_MEMORY;
        }
    }
    gi_rights_close(&given, n_fds);
    return GI_RINGS_END;
}
