/* SPDX-License-Identifier: BSD-3-Clause */
/* How calls end, as Gate.observe tells it: each once, by outcome, class of
 * error and method; of workers in any language. */
#include "broker_kit.h"

#include <gaterpc/monitor.h>

#define OK_REPLY             \
    "\x82\xa6result\x05\xa9" \
    "exception\xc0"
#define FAILED(cls)          \
    "\x82\xa6result\xc0\xa9" \
    "exception\x93" cls "\xa1t\xa0"
#define CALL(k, c, id, func) \
    say(k, FRONT, c, "", "MDPC01", "S", id, func, "\x90", "\x80")

static gate_value_t *s_observe(kit_t *k) {
    gi_buf_t out = {0};
    gate_value_t *value = NULL;
    cr_assert_eq(gi_broker_core_observe(k->core, &out), GATE_OK);
    cr_assert_eq(gate_value_decode(out.data, out.size, NULL, &value), GATE_OK);
    gi_buf_fini(&out);
    return value;
}

static long s_at(kit_t *k, const char *path) {
    gate_value_t *all = s_observe(k);
    long n = -1;
    if (gate_value_read(all, path, &n))
        n = -1;
    gate_value_destroy(&all);
    return n;
}
#define at(k, path, n)                                \
    do {                                              \
        long is_ = s_at(k, path);                     \
        cr_expect_eq(is_, n, "%s is %ld", path, is_); \
    } while (0)
#define outcome(k, name, n) at(k, "services.0.outcomes." name, n)

static gate_err_t s_append(void *ctx, const char *text, size_t size) {
    gi_buf_append(ctx, text, size);
    return GATE_OK;
}

static bool s_says(kit_t *k, const char *text) {
    gate_value_t *all = s_observe(k);
    char *json = gate_value_json(all);
    bool is = strstr(json, text) != NULL;
    free(json);
    gate_value_destroy(&all);
    return is;
}

Test(seen, answers_and_exceptions_by_method_and_class) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9"); /* a plain one: Python */
    CALL(&k, "c", "1",
         "\xa3"
         "add");
    k.now += 20;
    reply(&k, "w", "c", "1", OK_REPLY);
    CALL(&k, "c", "2",
         "\xa3"
         "add");
    reply(&k, "w", "c", "2",
          FAILED("\xa9"
                 "TypeError"));
    CALL(&k, "c", "3",
         "\xa3"
         "nix");
    reply(&k, "w", "c", "3",
          FAILED("\xae"
                 "AttributeError"));
    outcome(&k, "ok", 1);
    outcome(&k, "exception", 2);
    at(&k, "services.0.errors", 2);
    at(&k, "services.0.total.n", 3);
    at(&k, "services.0.total.sum_us", 20000);
    at(&k, "services.0.methods.0.outcomes.ok", 1);
    at(&k, "services.0.methods.0.outcomes.exception", 1);
    at(&k, "services.0.methods.1.outcomes.exception", 1); /* _other */
    cr_expect(s_says(&k, "\"name\":\"TypeError\",\"n\":1"));
    cr_expect(s_says(&k, "\"name\":\"_other\""));
    cr_expect_not(s_says(&k, "nix"));
    kit_end(&k);
}

Test(seen, a_stream_ends_well_or_with_its_exception) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    reply(&k, "w", "c", "1", STREAM, "\x01");
    outcome(&k, "ok", -1); /* nothing has ended */
    at(&k, "services.0.in_flight", 1);
    reply(&k, "w", "c", "1", STREAM, GI_STREAM_END);
    outcome(&k, "ok", 1);
    request(&k, "c", "S", "2");
    reply(&k, "w", "c", "2", STREAM, GI_STREAM_EXCEPTION,
          "\x93\xaa"
          "ValueError\xa1t\xa0");
    outcome(&k, "exception", 1);
    cr_expect(s_says(&k, "\"name\":\"ValueError\",\"n\":1"));
    kit_end(&k);
}

Test(seen, who_is_lost_cancelled_refused_or_gone) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:2");
    request(&k, "c", "S", "1");
    control(&k, "c", "1", CANCEL);
    outcome(&k, "cancelled", 1);
    reply(&k, "w", "c", "1", OK_REPLY); /* late: it counted already */
    outcome(&k, "ok", 0);
    request(&k, "c", "S", "2");
    request(&k, "c", "S", "3");
    request(&k, "c", "S", "4"); /* waits */
    at(&k, "services.0.queued", 1);
    kit_wait(&k, 100);
    at(&k, "services.0.oldest_ms", 100);
    bye(&k, "w");
    outcome(&k, "lost", 2);
    outcome(&k, "refused", 1);
    at(&k, "services.0.wait.sum_us", 100000);
    at(&k, "services.0.errors", 4);
    at(&k, "services.0.total.n", 4);
    kit_end(&k);
}

Test(seen, the_wait_in_the_queue_is_told_apart) {
    kit_t k;
    kit_begin(&k);
    kit_worker(&k, "w", "S:d:1");
    request(&k, "c", "S", "1");
    request(&k, "c", "S", "2");
    k.now += 30;
    reply(&k, "w", "c", "1", OK_REPLY);
    k.now += 40;
    reply(&k, "w", "c", "2", OK_REPLY);
    at(&k, "services.0.wait.sum_us", 30000);
    at(&k, "services.0.total.sum_us", 100000);
    at(&k, "services.0.methods.0.run.sum_us", 70000);
    kit_end(&k);
}

/* It was stopped: its timers were due all the time. */
Test(seen, time_in_which_the_broker_stood_is_not_the_workers) {
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:9");
    request(&k, "c", "S", "1");
    k.now += 10 * HB;
    reply(&k, "w", "c", "1", OK_REPLY);
    at(&k, "services.0.total.sum_us", 10000L * HB);
    long ran = s_at(&k, "services.0.methods.0.run.sum_us");
    cr_expect(ran >= 0 && ran <= 1000L * HB, "%ld", ran);
    request(&k, "c", "S", "2");
    for (int i = 0; i < 10; i++) { /* a slow worker, while the broker runs */
        kit_wait(&k, HB / 2);
        beat(&k, "w");
    }
    reply(&k, "w", "c", "2", OK_REPLY);
    long then = s_at(&k, "services.0.methods.0.run.sum_us");
    cr_expect_eq(then - ran, 5000L * HB, "%ld", then - ran);
    kit_end(&k);
}

Test(seen, names_of_strangers_stay_text_and_bounded) {
    kit_t k;
    static char func[2000];
    kit_begin(&k);
    kit_worker(&k, "w", "<img src=x onerror=alert(1)>:d:9");
    memset(func, 'm', sizeof func - 1);
    memcpy(func, "\xda\x07\xcc", 3);
    say(&k, FRONT, "c", "", "MDPC01", "<img src=x onerror=alert(1)>", "1", func,
        "\x90", "\x80");
    reply(&k, "w", "c", "1", OK_REPLY);
    cr_expect(s_says(&k, "\"name\":\"<img src=x onerror=alert(1)>\""));
    cr_expect(s_says(&k, "\"mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm\""));
    kit_end(&k);
}

/* What /metrics says of that service, and of how many "ok" there are. */
static long s_metric(kit_t *k, const char *service) {
    gate_value_t *all = s_observe(k);
    gi_buf_t text = {0};
    char line[128];
    cr_assert_eq(gate_monitor_metrics(all, false, s_append, &text), GATE_OK);
    gi_buf_append(&text, "", 1);
    snprintf(line, sizeof line,
             "\ngaterpc_broker_calls_total{service=\"%s\",outcome=\"ok\"} ",
             service);
    char *at = strstr((char *)text.data, line);
    long n = at ? atol(at + strlen(line)) : -1;
    cr_expect(!at || !strstr(at + 1, line), "%s stands there twice", service);
    gi_buf_fini(&text);
    gate_value_destroy(&all);
    return n;
}

static void s_one_call(kit_t *k, const char *service) {
    char name[32];
    snprintf(name, sizeof name, "%s:d:9", service);
    kit_worker(k, service, name);
    request(k, "c", service, "1");
    reply(k, service, "c", "1", OK_REPLY);
    kit_forget(k);
}

/* A hundred services have labels of their own, the others share one: what that
 * counts must not go back when one of either is forgotten, or when a place is
 * free again; nor may a service that calls itself so be a second one. */
Test(seen, what_others_share_never_goes_back) {
    kit_t k;
    char name[16];
    kit_begin(&k);
    s_one_call(&k, "_other");
    for (int i = 0; i < 103; i++) {
        snprintf(name, sizeof name, "S%d", i);
        s_one_call(&k, name);
    }
    cr_expect_eq(s_metric(&k, "S0"), 1);
    cr_expect_eq(s_metric(&k, "S99"), 1);
    cr_expect_eq(s_metric(&k, "S100"), -1);
    cr_expect_eq(s_metric(&k, "_other"), 4);
    bye(&k, "S0");
    bye(&k, "S101");
    kit_wait(&k, 600000); /* all are forgotten */
    at(&k, "services.0.queued", -1);
    cr_expect_eq(s_metric(&k, "S0"), -1);
    cr_expect_eq(s_metric(&k, "_other"), 4);
    s_one_call(&k, "S102");
    cr_expect_eq(s_metric(&k, "S102"), 1);
    cr_expect_eq(s_metric(&k, "_other"), 4);
    kit_end(&k);
}

/* Every one that had a service ends in one of its outcomes, whatever happened. */
Test(seen, each_call_is_counted_once) {
    static const char *const names[] = {"ok",      "exception", "refused",
                                        "lost",    "expired",   "cancelled",
                                        "orphaned"};
    kit_t k;
    kit_begin(&k);
    kit_ext_worker(&k, "w", "S:d:4");
    kit_ext_worker(&k, "v", "S:d:4");
    srand(7);
    char id[16], path[64];
    long ended = 0;
    for (int i = 0; i < 2000; i++) {
        snprintf(id, sizeof id, "%d", rand() % 50);
        const char *w = rand() % 2 ? "w" : "v";
        switch (rand() % 6) {
        case 0:
        case 1:
            request(&k, "c", "S", id);
            break;
        case 2:
            reply(&k, w, "c", id, OK_REPLY);
            break;
        case 3:
            reply(&k, w, "c", id,
                  FAILED("\xa1"
                         "E"));
            break;
        case 4:
            control(&k, "c", id, CANCEL);
            break;
        default:
            kit_wait(&k, 10);
        }
        kit_forget(&k);
    }
    long begun = (long)gi_broker_core_count(k.core, "requests") -
                 (long)gi_broker_core_count(k.core, "duplicate_ids");
    long under_way = s_at(&k, "broker.in_flight") + s_at(&k, "broker.queued");
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "services.0.outcomes.%s", names[i]);
        ended += s_at(&k, path);
    }
    at(&k, "services.0.total.n", ended);
    cr_expect(ended <= begun && begun <= ended + under_way,
              "%ld begun, %ld ended, %ld under way", begun, ended, under_way);
    kit_end(&k);
}
