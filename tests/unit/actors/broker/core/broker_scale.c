/* SPDX-License-Identifier: BSD-3-Clause */
/* What watching costs where there is much to see: 1,000 services of 16 methods,
 * 10,000 clients. Bytes have bounds here; times are told, and depend. */
#include "broker_kit.h"

#include <gaterpc/monitor.h>
#include <malloc.h>
#include "mail/logring.h"
#include "sync/clock.h"

enum { SERVICES = 1000, METHODS = 16, CLIENTS = 10000 };

#define MIB (1024.0 * 1024.0)

/* Without the core's law after each event, which walks everything. */
static void s_say(kit_t *k, unsigned socket, const char *from, ...) {
    gi_frames_t in;
    va_list list;
    in.n = 0;
    cr_assert(gi_frames_add(&in, from, strlen(from)));
    va_start(list, from);
    for (const char *s; (s = va_arg(list, const char *)) != NULL;)
        cr_assert(gi_frames_add(&in, s, strlen(s)));
    va_end(list);
    gi_broker_core_message(k->core, socket, &in, -1, k->now);
    kit_forget(k);
}

static void s_call(kit_t *k, int client, int service, int method) {
    static const char *const answers[] = {
        "\x82\xa6result\x05\xa9"
        "exception\xc0",
        "\x82\xa6result\xc0\xa9"
        "exception\x93\xa9TypeError\xa1t\xa0"};
    char c[16], w[16], s[16], id[16], func[16];
    snprintf(c, sizeof c, "c%d", client);
    snprintf(w, sizeof w, "w%d", service);
    snprintf(s, sizeof s, "Service%d", service);
    snprintf(id, sizeof id, "%d", method);
    snprintf(func, sizeof func, "\xa8method%02d", method);
    s_say(k, FRONT, c, "", "MDPC01", s, id, func, "\x90", "\x80", NULL);
    k->now += (client * 7 + method) % 50;
    s_say(k, BACK, w, "", "MDPW01", "\3", c, "", id, answers[client % 10 == 0],
          NULL);
}

static void s_fill(kit_t *k) {
    char w[16], line[32];
    for (int i = 0; i < SERVICES; i++) {
        snprintf(w, sizeof w, "w%d", i);
        snprintf(line, sizeof line, "Service%d:d:100", i);
        s_say(k, BACK, w, "", "MDPW01", "\1", line, NULL);
        s_say(k, BACK, w, "", "MDPW01", "\4", HELLO, NULL);
    }
    for (int i = 0; i < SERVICES * METHODS; i++)
        s_call(k, i % CLIENTS, i % SERVICES, i / SERVICES);
}

static gate_err_t s_count(void *ctx, const char *text, size_t size) {
    (void)text;
    *(size_t *)ctx += size;
    return GATE_OK;
}

Test(scale, a_thousand_services_and_ten_thousand_clients) {
    kit_t k;
    gi_buf_t out = {0};
    gate_value_t *seen = NULL;
    size_t metrics = 0;
    long ended = 0;
    gi_log_levels(GATE_ERROR, "");
    kit_begin(&k);
    size_t before = mallinfo2().uordblks;
    s_fill(&k);
    size_t taken = mallinfo2().uordblks - before; /* 0: not malloc's own */
    int64_t t0 = gi_clock_ns();
    cr_assert_eq(gi_broker_core_observe(k.core, &out), GATE_OK);
    int64_t t1 = gi_clock_ns();
    cr_assert_eq(gate_value_decode(out.data, out.size, NULL, &seen), GATE_OK);
    int64_t t2 = gi_clock_ns();
    cr_assert_eq(gate_monitor_metrics(seen, false, s_count, &metrics), GATE_OK);
    int64_t t3 = gi_clock_ns();
    fprintf(stderr,
            "broker %.1f MiB, Gate.observe %.2f MiB in %.1f ms, read in %.1f "
            "ms, /metrics %.2f MiB in %.1f ms\n",
            (double)taken / MIB, (double)out.size / MIB,
            (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6,
            (double)metrics / MIB, (double)(t3 - t2) / 1e6);
    cr_expect_lt(metrics, 2u << 20);
    cr_expect_lt(taken, 64u << 20);
    cr_expect_lt(out.size, 16u << 20);
    cr_expect_eq(gate_value_read(seen, "services.1.outcomes.ok", &ended),
                 GATE_OK);
    cr_expect_gt(ended, 0);
    cr_expect(gi_broker_core_valid(k.core));
    gate_value_destroy(&seen);
    gi_buf_fini(&out);
    kit_end(&k);
}
