/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of NATS servers: what is one, which of them are by TLS, which are
 * not on loopback. */
#include <criterion/criterion.h>
#include <string.h>
#include "base/bytes.h"
#include "uplink/uplink_urls.h"

Test(uplink_urls, addresses_and_what_is_none) {
    static const char *const good[] = {"nats://h",
                                       "nats://h:4222",
                                       "tls://h",
                                       "h:1",
                                       "127.0.0.1:65535",
                                       "nats://[::1]:4222",
                                       "nats://[fe80::1%eth0]",
                                       "nats://a:1, nats://b:2,,tls://c:3 ,"};
    static const char *const bad[] = {"",
                                      ",",
                                      "h",
                                      "://h:1",
                                      "nats://",
                                      "nats://:1",
                                      "nats:h:1",
                                      "nats://h:",
                                      "h:0",
                                      "h:65536",
                                      "h:1x",
                                      "nats://h/",
                                      "nats://[::1",
                                      "ws://h:1",
                                      "nats://[]:1",
                                      "NATS://h",
                                      "nats://h:-1",
                                      "nats://u@h",
                                      "h:1,h",
                                      "h:100000000000"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect_eq(gi_uplink_urls_check(good[i]), GATE_OK, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq(gi_uplink_urls_check(bad[i]), GATE_BADARG, "%s", bad[i]);
}

Test(uplink_urls, so_many_and_no_more) {
    char many[17 * 5 + 1] = "", *at = many;
    for (int i = 0; i < 17; i++)
        at = stpcpy(at, "h:12,");
    cr_expect_eq(gi_uplink_urls_check(many), GATE_TOOBIG);
    cr_expect_eq(gi_uplink_urls_check(many + 5), GATE_OK);
}

static bool s_is_away(const char *urls, const char *which) {
    return gi_bytes_is(gi_uplink_urls_away(urls), which);
}

Test(uplink_urls, tls_and_places) {
    cr_expect(gi_uplink_urls_secure("nats://a:1,tls://b:2"));
    cr_expect(!gi_uplink_urls_secure("nats://tls:1,nats://b:2"));
    cr_expect(s_is_away("nats://127.0.0.1:1,localhost:2,nats://[::1]:3", ""));
    cr_expect(
        s_is_away("nats://127.0.0.1:1,nats://10.0.0.1:2", "nats://10.0.0.1:2"));
    cr_expect(
        s_is_away("nats://127.0.0.1.example:1", "nats://127.0.0.1.example:1"));
    cr_expect(s_is_away("nats://[::2]", "nats://[::2]"));
}
