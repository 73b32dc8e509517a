/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_doctor.c -- gate doctor: a snapshot in words. Each rule is one function
 * and one line of a const table; it says what is wrong, by which number, and
 * what to do. */
#include "cli/cli.h"
#include "text/json_arg.h"
#include "text/clean.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "watch/top.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const gi_usage_t s_usage = {
    "doctor [OPTION]...",
    "Reads what a broker tells and says in words what is wrong and what to "
    "do,\n"
    "a line each: what it is about, the finding, the cure. Exit code 0: "
    "nothing\n"
    "was found, 1: something was. With --file a snapshot that was kept\n"
    "(gate call Gate.observe\n"
    "'[\"workers\",\"clients\",\"slow\",\"reports\"]' > FILE)."};

typedef struct s_doctor {
    gi_top_look_t look;
    const msgpack_object *all;
    unsigned found;
    bool json;
} s_doctor_t;

/* ---- saying -------------------------------------------------------------- */
/* A peer's text, without what would move a cursor. */
static void s_name(char to[GI_TOP_TEXT], const msgpack_object *text) {
    bool is = text && text->type == MSGPACK_OBJECT_STR;
    gi_clean_copy(to, GI_TOP_TEXT, is ? text->via.str.ptr : "",
                  is ? text->via.str.size : 0);
}

enum { S_FINDING_MAX = 2000 };

static void s_say_json(const s_doctor_t *self, const char *about,
                       const char *finding, const char *cure) {
    fputs(self->found ? "," : "", stdout);
    fputs("{\"about\":", stdout);
    gi_json_put(about);
    fputs(",\"finding\":", stdout);
    gi_json_put(finding);
    fputs(",\"cure\":", stdout);
    gi_json_put(cure);
    fputs("}", stdout);
}

__attribute__((format(printf, 4, 5))) static void s_say(s_doctor_t *self,
                                                        const char *about,
                                                        const char *cure,
                                                        const char *fmt, ...) {
    char finding[S_FINDING_MAX];
    va_list list;
    va_start(list, fmt);
    vsnprintf(finding, sizeof finding, fmt, list);
    va_end(list);
    if (self->json)
        s_say_json(self, about, finding, cure);
    else
        printf("%s: %s. %s.\n", about, finding, cure);
    self->found++;
}

static int64_t s_of(const msgpack_object *map, const char *key) {
    return gi_top_look_number(map, key);
}

/* ---- rules about a service ----------------------------------------------- */
/* Those that were told to leave, and left, are meant to be away. */
static void s_no_workers(s_doctor_t *self, const char *name,
                         const msgpack_object *s) {
    const msgpack_object *left = gi_top_look_get(s, "left");
    bool meant = left && left->type == MSGPACK_OBJECT_BOOLEAN &&
                 left->via.boolean && s_of(s, "queued") == 0;
    if (gi_top_look_get(s, "workers") && s_of(s, "workers") == 0 && !meant)
        s_say(self, name, "Start one, or look at the log of the last",
              "no worker is registered");
}

static void s_few_workers(s_doctor_t *self, const char *name,
                          const msgpack_object *s) {
    int64_t total = s_of(gi_top_look_get(s, "total"), "sum_us");
    int64_t wait = s_of(gi_top_look_get(s, "wait"), "sum_us");
    if (total < 10000 || wait * 2 < total)
        return;
    s_say(self, name, "More workers, or more calls at once in each",
          "%lld %% of its calls' time is the broker's queue: too few workers "
          "(%lld)",
          (long long)(100 * wait / total), (long long)s_of(s, "workers"));
}

static void s_queue_now(s_doctor_t *self, const char *name,
                        const msgpack_object *s) {
    if (s_of(s, "queued") > 0 && s_of(s, "oldest_ms") > 1000)
        s_say(self, name, "More workers; or are those there stuck? gate top",
              "%lld calls wait, the oldest for %.1f s",
              (long long)s_of(s, "queued"),
              (double)s_of(s, "oldest_ms") / 1000);
}

static const msgpack_object *s_most(const msgpack_object *classes) {
    const msgpack_object *most = NULL;
    for (uint32_t i = 0; i < gi_top_look_size(classes); i++) {
        const msgpack_object *c = &classes->via.array.ptr[i];
        if (!most || s_of(c, "n") > s_of(most, "n"))
            most = c;
    }
    return most;
}

static void s_errors(s_doctor_t *self, const char *name,
                     const msgpack_object *s) {
    char cls[GI_TOP_TEXT], text[GI_TOP_TEXT];
    const msgpack_object *most = s_most(gi_top_look_get(s, "classes"));
    int64_t bad, all = gi_top_look_ended(s, &bad);
    if (all < 20 || bad * 100 <= all)
        return;
    s_name(cls, gi_top_look_get(most, "name"));
    s_name(text, gi_top_look_get(most, "text"));
    s_say(self, name, "Its log has the tracebacks; docs/errors.md the classes",
          "%.1f %% of its calls did not end well, most of them %s (%s)",
          100 * (double)bad / (double)all, cls, text);
}

/* A tenth of its calls' time is the broker's queue. */
static bool s_waits(const msgpack_object *s) {
    int64_t total = s_of(gi_top_look_get(s, "total"), "sum_us");
    int64_t wait = s_of(gi_top_look_get(s, "wait"), "sum_us");
    return wait > 0 && wait * 10 >= total;
}

/* One method is slow beside all others of its service, and others wait for it:
 * one that is slow by itself does no harm. */
static void s_slow_method(s_doctor_t *self, const char *name,
                          const msgpack_object *s) {
    const msgpack_object *methods = gi_top_look_get(s, "methods");
    char method[GI_TOP_TEXT];
    int64_t sum = 0, most = 0, calls = 0;
    const msgpack_object *slow = NULL;
    for (uint32_t i = 0; i < gi_top_look_size(methods); i++) {
        const msgpack_object *run =
            gi_top_look_get(&methods->via.array.ptr[i], "run");
        sum += s_of(run, "sum_us");
        calls += s_of(run, "n");
        if (s_of(run, "sum_us") > most) {
            most = s_of(run, "sum_us");
            slow = &methods->via.array.ptr[i];
        }
    }
    int64_t n = s_of(gi_top_look_get(slow, "run"), "n");
    if (gi_top_look_size(methods) < 2 || most < 1000000 ||
        most * 10 < sum * 8 || n * 4 > calls || !s_waits(s))
        return;
    s_name(method, gi_top_look_get(slow, "name"));
    s_say(self, name, "Give it a pool or a service of its own",
          "%s takes %lld %% of the time with %lld %% of the calls", method,
          (long long)(100 * most / sum), (long long)(100 * n / calls));
}

static void s_lost(s_doctor_t *self, const char *name,
                   const msgpack_object *s) {
    int64_t lost = s_of(gi_top_look_get(s, "outcomes"), "lost");
    if (lost > 0)
        s_say(self, name,
              "Why did its workers go? Mark methods that may run twice "
              "idempotent",
              "%lld calls were lost with their workers", (long long)lost);
}

static void (*const s_of_service[])(s_doctor_t *, const char *,
                                    const msgpack_object *) = {
    s_no_workers, s_few_workers, s_queue_now, s_errors, s_slow_method, s_lost};

/* ---- rules about the broker ---------------------------------------------- */
static void s_state(s_doctor_t *self) {
    char state[GI_TOP_TEXT];
    s_name(state, gi_top_look_get(self->look.broker, "state"));
    if (*state && strcmp(state, "ready") != 0)
        s_say(self, "broker", "Clients are to go to the next one",
              "it is %s and takes no new calls", state);
}

static void s_readers(s_doctor_t *self) {
    const msgpack_object *list =
        gi_top_look_get(gi_top_look_get(self->all, "clients"), "clients");
    char who[GI_TOP_TEXT], where[GI_TOP_TEXT];
    unsigned said = 0;
    for (uint32_t i = 0; i < gi_top_look_size(list); i++) {
        const msgpack_object *c = &list->via.array.ptr[i];
        if (s_of(c, "queued_bytes") == 0)
            continue;
        s_name(who, gi_top_look_get(c, "user"));
        s_name(where, gi_top_look_get(c, "address"));
        said++;
        s_say(self, "client", "Look at that program: it is stuck, or too slow",
              "%s%s%s does not read: %lld bytes wait for it", who,
              *who ? " at " : "", where, (long long)s_of(c, "queued_bytes"));
    }
    if (!said && s_of(self->look.broker, "blocked_peers") > 0)
        s_say(self, "broker", "gate top, views clients and workers",
              "%lld peers do not read",
              (long long)s_of(self->look.broker, "blocked_peers"));
}

static void s_counters(s_doctor_t *self) {
    static const struct {
        const char *counter, *what, *cure;
    } rules[] = {
        {"no_memory", "messages were dropped for want of memory",
         "A larger limit of memory, or a smaller broker_queue_max_bytes"},
        {"queue_full", "calls were refused: queues were full",
         "More workers, or fewer calls at once; queue_max"},
        {"workers_expired", "workers fell silent",
         "Do handlers block their actor? Run them on threads"},
        {"streams_overflowed", "streams ended: their readers were too slow",
         "Readers that give credit (gaterpc's), or read faster"},
        {"astray", "messages of peers came to the wrong side",
         "Clients connect to a frontend, services to a backend: the log says "
         "which came where"},
        {"malformed", "messages were malformed",
         "Something that is no peer talks to these ports"},
        {"zap_outages", "questions got no answer from the ZAP service",
         "Is gate zap there? zap_addr"},
        {"listeners_shut", "times descriptors ran out",
         "A larger limit (ulimit -n)"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        int64_t n = s_of(self->look.broker, rules[i].counter);
        if (n > 0)
            s_say(self, "broker", rules[i].cure, "%lld %s", (long long)n,
                  rules[i].what);
    }
}

/* ---- rules about what workers report ------------------------------------- */
static const char *s_pool_cure(const char *state) {
    return strcmp(state, "degraded") == 0
               ? "Its workers die and are born again with pauses: its log says "
                 "why"
           : strcmp(state, "broken") == 0
               ? "No worker comes up: its log says why; jobs are refused"
           : strcmp(state, "lost") == 0
               ? "It can have no workers any more: start that process again"
               : NULL;
}

static void s_pool(s_doctor_t *self, const char *about,
                   const msgpack_object *pool) {
    char state[GI_TOP_TEXT], kind[GI_TOP_TEXT];
    s_name(state, gi_top_look_get(pool, "state"));
    s_name(kind, gi_top_look_get(pool, "kind"));
    const char *cure = s_pool_cure(state);
    int64_t queued = s_of(pool, "queued"), oldest = s_of(pool, "oldest_ms");
    if (cure)
        s_say(self, about, cure, "its pool of %s is %s", kind, state);
    else if (queued > 0 && oldest > 1000)
        s_say(self, about, "A larger pool, or more workers of the service",
              "%lld jobs wait in its pool of %s, the oldest for %.1f s",
              (long long)queued, kind, (double)oldest / 1000);
}

static void s_reports(s_doctor_t *self) {
    char name[GI_TOP_TEXT], host[GI_TOP_TEXT], about[3 * GI_TOP_TEXT];
    const msgpack_object *entry;
    for (uint32_t i = 0; (entry = gi_top_look_report(&self->look, i)); i++) {
        const msgpack_object *report = gi_top_look_get(entry, "report");
        const msgpack_object *process = gi_top_look_get(report, "process");
        const msgpack_object *pools = gi_top_look_get(report, "pools");
        s_name(name, gi_top_look_get(entry, "service"));
        s_name(host, gi_top_look_get(process, "host"));
        snprintf(about, sizeof about, "%s at %s:%lld", name, host,
                 (long long)s_of(process, "pid"));
        for (uint32_t k = 0; k < gi_top_look_size(pools); k++)
            s_pool(self, about, &pools->via.array.ptr[k]);
        if (s_of(entry, "age_ms") > 5000)
            s_say(self, about, "Do handlers block its actor? Is it stopped?",
                  "it has told nothing of itself for %.1f s",
                  (double)s_of(entry, "age_ms") / 1000);
    }
}

static void (*const s_of_broker[])(s_doctor_t *) = {s_state, s_readers,
                                                    s_counters, s_reports};

/* ---- the visit ----------------------------------------------------------- */
static int s_conclude(const s_doctor_t *self) {
    if (self->json)
        puts("]");
    else if (self->found == 0)
        puts("nothing found");
    return self->found ? GI_EXIT_REMOTE : GI_EXIT_OK;
}

static int s_examine(gate_value_t **snapshot, bool json) {
    s_doctor_t self = {.json = json};
    char name[GI_TOP_TEXT];
    gi_top_look_set(&self.look, snapshot);
    self.all = gate_value_object(self.look.value);
    if (!self.look.broker || !self.look.services) {
        fprintf(stderr, "ValueError: a snapshot has broker and services\n");
        gi_top_look_fini(&self.look);
        return GI_EXIT_USAGE;
    }
    fputs(json ? "[" : "", stdout);
    for (size_t i = 0; i < sizeof s_of_broker / sizeof *s_of_broker; i++)
        s_of_broker[i](&self);
    for (uint32_t i = 0; i < gi_top_look_size(self.look.services); i++) {
        const msgpack_object *s = &self.look.services->via.array.ptr[i];
        s_name(name, gi_top_look_get(s, "name"));
        for (size_t k = 0; k < sizeof s_of_service / sizeof *s_of_service; k++)
            s_of_service[k](&self, name, s);
    }
    int code = s_conclude(&self);
    gi_top_look_fini(&self.look);
    return code;
}

static int s_from_broker(gi_peer_t *peer, bool json) {
    GATE_OWN(gate_value) snapshot = NULL;
    int code = gi_peer_open(peer);
    if (code)
        return code;
    gate_err_t e = gi_top_look_ask(peer->client, true, &snapshot);
    return e ? gi_peer_fail(e, true) : s_examine(&snapshot, json);
}

static char *s_read(const char *file) {
    size_t size = 0, room = 1 << 16;
    char *text = malloc(room);
    FILE *f = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    while (f && text) {
        size_t n = fread(text + size, 1, room - size - 1, f);
        size += n;
        if (n == 0)
            break;
        if (size == room - 1) {
            char *more = realloc(text, room *= 2);
            if (more == NULL)
                free(text);
            text = more;
        }
    }
    if (text)
        text[size] = 0;
    if (f == NULL) {
        perror(file);
        free(text);
        return NULL;
    }
    if (f != stdin)
        fclose(f);
    return text;
}

static int s_from_file(const char *file, bool json) {
    GATE_OWN(gate_value) snapshot = NULL;
    msgpack_sbuffer packed;
    char why[256] = "", *text = s_read(file);
    if (text == NULL)
        return GI_EXIT_USAGE;
    msgpack_sbuffer_init(&packed);
    bool ok = gi_json_pack(text, &packed, why, sizeof why);
    gate_err_t e =
        ok ? gate_value_decode(packed.data, packed.size, NULL, &snapshot)
           : GATE_OK;
    msgpack_sbuffer_destroy(&packed);
    free(text);
    if (!ok)
        return gi_opts_fail(&s_usage, "%s: %s", file, why);
    return e ? gi_peer_fail(e, false) : s_examine(&snapshot, json);
}

int gi_doctor_main(int argc, char **argv) {
    gi_peer_t peer = {0};
    const char *file = NULL;
    bool json = false;
    const gi_opt_t table[] = {
        GI_PEER_OPTS(peer),
        {"file", GI_OPT_TEXT, &file, "FILE", "a kept snapshot; -: stdin"},
        {"json", GI_OPT_FLAG, &json, NULL,
         "a list of {about, finding, cure}, in one line"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0 && !file)
        code = gi_peer_check(&peer, &s_usage);
    if (code < 0) {
        code = file ? s_from_file(file, json) : s_from_broker(&peer, json);
        gi_peer_close(&peer);
    }
    gi_peer_forget(&peer.auth);
    return code;
}
