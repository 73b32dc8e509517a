/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_endless.c -- raw ZMTP peers send frames with the MORE flag for ever:
 * they are cut off, the broker's memory stays bounded and an honest client is
 * served. A large message of an honest one passes. */
#include "child.h"
#include "lanes.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX (8 << 20) /* message_bytes_max of the broker */
#define FRAME (64 << 10)
#define PEERS 4
#define MEMORY_KB (PEERS * 96 * 1024)

static int s_connect(const char *endpoint) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct timeval limit = {.tv_sec = 1};
    at.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0)
        child_die("no connection: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

/* ZMTP 3.0, mechanism NULL, a DEALER. */
static void s_handshake(int fd) {
    static const unsigned char greeting[64] =
        "\xff\0\0\0\0\0\0\0\0\x7f\3\0NULL";
    static const unsigned char ready[] =
        "\4\x1c\5READY\xbSocket-Type\0\0\0\6DEALER";
    char in[64];
    if (send(fd, greeting, 64, MSG_NOSIGNAL) != 64 ||
        recv(fd, in, 64, MSG_WAITALL) != 64 ||
        send(fd, ready, sizeof ready - 1, MSG_NOSIGNAL) !=
            (ssize_t)sizeof ready - 1)
        child_die("no handshake: %s", strerror(errno));
}

/* The other side has closed, whatever our kernel makes of what it has left. */
static bool s_is_cut(int fd) {
    char drop[4096];
    ssize_t n;
    while ((n = recv(fd, drop, sizeof drop, MSG_DONTWAIT)) > 0)
        continue;
    return n == 0 || errno == ECONNRESET;
}

/* Bytes that went until the connection broke; 0: it never did. */
static double s_pour(int fd, double most) {
    static unsigned char frame[9 + FRAME];
    double sent = 0;
    frame[0] = 3; /* MORE and LARGE */
    frame[6] = FRAME >> 16;
    frame[7] = (FRAME >> 8) & 255;
    frame[8] = FRAME & 255;
    while (sent < most) {
        ssize_t n = send(fd, frame, sizeof frame, MSG_NOSIGNAL);
        if (n < (ssize_t)sizeof frame) /* broken, or stuck for a second */
            return n < 0 && errno == EAGAIN && !s_is_cut(fd) ? 0 : sent;
        sent += (double)n;
    }
    return 0;
}

static void s_flood(const char *front, const child_t *broker) {
    long before = child_rss_kb(broker), most = before;
    for (int i = 0; i < PEERS; i++) {
        int fd = s_connect(front);
        s_handshake(fd);
        double sent = s_pour(fd, 4e9);
        long now = child_rss_kb(broker);
        most = now > most ? now : most;
        printf("cut off after %.0f MiB; the broker has %ld MiB\n",
               sent / 1048576, now / 1024);
        child_check(sent > MESSAGE_MAX, "it is cut, and not too early");
        close(fd);
    }
    child_check(most - before < MEMORY_KB, "its memory is bounded");
}

static void s_large(gate_client_t *client) {
    size_t size = MESSAGE_MAX - 4096;
    char *data = calloc(1, size);
    int64_t got = -1;
    for (int i = 0; i < 20; i++) {
        gate_err_t e = gate_client_call(client, "Demo.blob", &got,
                                        ((gate_bytes_t){data, size}),
                                        gate_timeout_ms(20000));
        child_check(e == GATE_OK && got == (int64_t)size, "a large one passes");
    }
    free(data);
}

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_MESSAGE_BYTES_MAX", "8388608", 1);
    child_init(argc, argv);
    child_broker(&broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&broker, "frontend=", front, sizeof front);
    child_endpoint(&broker, "backend=", back, sizeof back);
    child_service(&service, back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    ledger_t *ledger = ledger_new("beside endless messages", 1000000);
    lanes_t *lanes = lanes_start(client, ledger, 2, 20000, 1);
    s_large(client);
    s_flood(front, &broker);
    s_flood(back, &broker);
    s_large(client);
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
