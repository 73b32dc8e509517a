/* SPDX-License-Identifier: BSD-3-Clause */
/* fault_stray.c -- HTTP, random bytes, half a handshake and silence at the
 * ports: an honest caller is served meanwhile and the broker's descriptors come
 * back. */
#include "child.h"
#include "lanes.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELD 200

static int s_connect(const char *endpoint) {
    const char *port = strrchr(endpoint, ':');
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(port + 1)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        child_die("cannot connect to %s", endpoint);
    return fd;
}

static void s_send(int fd, const void *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return; /* it has thrown us out already: as it should */
}

static void s_one_stray(const char *endpoint, unsigned kind) {
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const unsigned char greeting[64] = {
        0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
    unsigned char noise[512];
    int fd = s_connect(endpoint);
    if (getrandom(noise, sizeof noise, 0) != (ssize_t)sizeof noise)
        child_die("no random bytes");
    switch (kind % 5) {
    case 0:
        s_send(fd, http, sizeof http - 1);
        break;
    case 1:
        s_send(fd, noise, sizeof noise);
        break;
    case 2: /* a whole ZMTP greeting, then noise */
        s_send(fd, greeting, sizeof greeting);
        s_send(fd, noise, sizeof noise);
        break;
    case 3: /* half a greeting */
        s_send(fd, greeting, 10);
        break;
    default: /* nothing */
        break;
    }
    close(fd);
}

static void s_strays(const char *front, const char *back) {
    int held[HELD];
    for (int i = 0; i < HELD; i++) /* half open until the end */
        held[i] = s_connect(i % 2 ? front : back);
    size_t n = child_scaled(20000, 200);
    for (unsigned i = 0; i < n; i++) {
        s_one_stray(i % 2 ? front : back, i / 2);
        if (i % 20 == 0)
            child_sleep_ms(5);
    }
    for (int i = 0; i < HELD; i++)
        close(held[i]);
    printf("stray: %zu connections and %d held open\n", n, HELD);
}

int main(int argc, char **argv) {
    child_t broker, service;
    char front[128], back[128];
    setenv("GATE_HANDSHAKE_IVL_MS", "1000", 1);
    child_init(argc, argv);
    child_broker(&broker, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*");
    child_endpoint(&broker, "frontend=", front, sizeof front);
    child_endpoint(&broker, "backend=", back, sizeof back);
    child_service(&service, back, "2");
    gate_runtime_t *runtime = lanes_runtime();
    gate_client_t *client = lanes_client(runtime, front);
    int fds = lanes_fds(client, broker.pid);

    ledger_t *ledger = ledger_new("honest beside strays", 4000000);
    lanes_t *lanes = lanes_start(client, ledger, 4, 10000, 0.2);
    child_sleep_ms(200);
    s_strays(front, back);
    child_check(lanes_all_back(lanes, 5000 * child_slow()) >= 0, "served");
    lanes_stop(&lanes);
    child_check(ledger_close(ledger), "the ledger");
    double limit = child_now_ms() + 10000;
    while (lanes_fds(client, broker.pid) > fds && child_now_ms() < limit)
        child_sleep_ms(50);
    printf("stray: broker's descriptors %d before, %d after\n", fds,
           lanes_fds(client, broker.pid));
    child_check(lanes_fds(client, broker.pid) <= fds, "descriptors came back");
    ledger_destroy(&ledger);
    gate_client_destroy(&client);
    gate_runtime_destroy(&runtime);
    child_end(&service);
    child_end(&broker);
    return child_result();
}
