/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_top.c -- gate top: a broker as it is now, again and again. On a terminal
 * with keys, else as lines for scripts. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "watch/top.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "top [OPTION]...",
    "Shows services, methods, workers, clients, errors, slow calls, pools and\n"
    "warnings of a broker and its workers, as they are now. On a terminal with "
    "keys (h tells them); with\n"
    "--batch, or where stdout is none, as tab-separated lines, with --json as\n"
    "one object a view and interval."};

enum { S_WAIT_MS = 3000, S_PAGE = 10 };

typedef struct s_top {
    gi_peer_t peer;
    int64_t interval_s, count;
    const char *view, *sort, *filter;
    bool batch, json, once;
    gi_top_look_t now, before;
    gi_top_table_t table;
    gi_top_state_t state;
    int64_t asked_ms, answered_ms;
} s_top_t;

static volatile sig_atomic_t s_leave;
static void s_on_signal(int number) {
    s_leave = number == SIGWINCH ? s_leave : 1;
}

static int64_t s_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- looking ------------------------------------------------------------- */
static gate_err_t s_ask(s_top_t *top, gate_value_t **out) {
    gate_err_t e =
        gi_top_look_ask(top->peer.client, top->now.value == NULL, out);
    if (e != GATE_NOMETHOD && e != GATE_TIMEOUT)
        return e;
    /* an older broker, or Python's, which says nothing to what it lacks */
    GATE_OWN(gate_value) names = NULL;
    e = gate_client_services(top->peer.client, &names);
    if (e)
        return e;
    *out = gate_value_new(
        gate_map(gate_kw("broker", gate_map(gate_kw("limited", true),
                                            gate_kw("state", "ready"))),
                 gate_kw("names", names)));
    return *out ? GATE_OK : GATE_NOMEM;
}

/* The look before becomes this one. A broker that was started anew has counted
 * from 0. */
static gate_err_t s_look(s_top_t *top) {
    gate_value_t *value = NULL;
    gate_err_t e = s_ask(top, &value);
    top->asked_ms = s_now_ms();
    if (e)
        return e;
    top->answered_ms = top->asked_ms;
    gi_top_look_t old = top->before;
    top->before = top->now;
    top->now = (gi_top_look_t){0};
    gi_top_look_fini(&old);
    gi_top_look_set(&top->now, &value);
    top->state.restarted = false;
    if (top->before.value &&
        (top->now.at_ms < top->before.at_ms ||
         llabs(top->now.start_ms - top->before.start_ms) > 2000)) {
        gi_top_look_fini(&top->before);
        top->state.restarted = true;
    }
    return GATE_OK;
}

static bool s_fill(s_top_t *top) {
    gi_top_table_t *t = &top->table;
    t->view = &gi_top_tables_views[top->state.view];
    t->now = &top->now;
    t->before = &top->before;
    t->seconds = (double)(top->now.at_ms - top->before.at_ms) / 1000;
    return gi_top_tables_fill(t, top->state.filter, top->state.sort,
                              top->state.reverse);
}

/* ---- lines for scripts --------------------------------------------------- */
static void s_print_lines(const gi_top_table_t *t) {
    for (unsigned i = 0; i < t->view->n; i++)
        printf("%s%s", i ? "\t" : "", t->view->column[i].title);
    printf("\n");
    for (size_t r = 0; r < t->n; r++) {
        for (unsigned i = 0; i < t->view->n; i++)
            printf("%s%s", i ? "\t" : "", t->rows[r].cell[i].text);
        printf("\n");
    }
}

static json_t *s_row(const gi_top_table_t *t, const gi_top_row_t *row) {
    json_t *o = json_object();
    for (unsigned i = 0; i < t->view->n; i++) {
        double key = row->cell[i].key;
        json_t *v = isnan(key) ? json_string(row->cell[i].text)
                    : key < 0  ? json_null()
                    : key == floor(key) && key < 1e15
                        ? json_integer((json_int_t)key)
                        : json_real(key);
        json_object_set_new(o, t->view->column[i].title, v ? v : json_null());
    }
    return o;
}

/* -1: not known. */
static void s_set(json_t *all, const char *name, double value) {
    json_object_set_new(all, name, value < 0 ? json_null() : json_real(value));
}

static void s_print_json(const gi_top_table_t *t) {
    double sum[5];
    gi_top_tables_sum(t->now, t->before, sum);
    json_t *all = json_object(), *rows = json_array();
    json_object_set_new(all, "view", json_string(t->view->name));
    s_set(all, "calls_per_s", sum[0]);
    s_set(all, "errors_per_s", sum[1]);
    s_set(all, "p50_us", sum[3]);
    s_set(all, "p99_us", sum[4]);
    for (size_t i = 0; i < t->n; i++)
        json_array_append_new(rows, s_row(t, &t->rows[i]));
    json_object_set_new(all, "rows", rows);
    char *text = json_dumps(all, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (text)
        puts(text);
    free(text);
    json_decref(all);
}

static int s_batch(s_top_t *top) {
    int64_t left = top->count ? top->count : 1;
    for (; left > 0 && !s_leave; left--) {
        gate_err_t e = s_look(top);
        if (e)
            return gi_peer_fail(e, true);
        if (!s_fill(top))
            return gi_peer_fail(GATE_NOMEM, false);
        (top->json ? s_print_json : s_print_lines)(&top->table);
        if (fflush(stdout)) {
            gi_main_stdout_lost();
            break;
        }
        if (left > 1)
            poll(NULL, 0, (int)(1000 * top->interval_s));
    }
    return GI_EXIT_OK;
}

/* ---- keys ---------------------------------------------------------------- */
static void s_write(const s_top_t *top) {
    char name[64];
    char *json = gate_value_json(top->now.value);
    snprintf(name, sizeof name, "gate-top-%lld.json", (long long)time(NULL));
    FILE *f = json ? fopen(name, "wxe") : NULL;
    if (f) {
        fprintf(f, "%s\n", json);
        fclose(f);
    }
    free(json);
}

static void s_type(gi_top_state_t *state, char c) {
    size_t n = strlen(state->filter);
    if (c == '\r' || c == '\n' || c == 27)
        state->typing = false;
    if (c == 27)
        state->filter[0] = 0;
    else if ((c == 127 || c == 8) && n)
        state->filter[n - 1] = 0;
    else if ((unsigned char)c >= ' ' && c != 127 &&
             n < sizeof state->filter - 1)
        state->filter[n] = c, state->filter[n + 1] = 0;
}

static void s_show(gi_top_state_t *state, unsigned view) {
    state->view = view % GI_TOP_VIEWS;
    state->sort = GI_TOP_COLUMNS;
    state->cursor = state->first = 0;
    state->reverse = state->help = false;
}

static void s_sort(s_top_t *top, int step) {
    const gi_top_view_t *view = &gi_top_tables_views[top->state.view];
    unsigned at = top->state.sort < view->n ? top->state.sort : view->sort;
    top->state.sort =
        (at + view->n + (unsigned)(step + (int)view->n)) % view->n;
}

static void s_move(gi_top_state_t *state, int by) {
    if (by < 0 && state->cursor < (size_t)-by)
        state->cursor = 0;
    else
        state->cursor += (size_t)by;
}

static void s_pace(gi_top_state_t *state, double times) {
    double s = state->interval_s * times;
    state->interval_s = s < .5 ? .5 : s > 60 ? 60 : s;
}

static void s_key(s_top_t *top, char c) {
    gi_top_state_t *state = &top->state;
    if (c >= '1' && c < '1' + GI_TOP_VIEWS)
        s_show(state, (unsigned)(c - '1'));
    switch (c) {
    case 'q':
    case 3:
        s_leave = 1;
        break;
    case '\t':
        s_show(state, state->view + 1);
        break;
    case 'h':
    case '?':
        state->help = !state->help;
        break;
    case 'j':
        s_move(state, 1);
        break;
    case 'k':
        s_move(state, -1);
        break;
    case 's':
    case '>':
        s_sort(top, 1);
        break;
    case '<':
        s_sort(top, -1);
        break;
    case 'r':
        state->reverse = !state->reverse;
        break;
    case '/':
        state->typing = true;
        break;
    case ' ':
        state->paused = !state->paused;
        break;
    case '+':
        s_pace(state, .5);
        break;
    case '-':
        s_pace(state, 2);
        break;
    case 'w':
        s_write(top);
        break;
    case 27:
        state->filter[0] = 0;
        state->help = false;
        break;
    default:
        break;
    }
}

/* Arrows and page keys come as ESC [ letter. */
static size_t s_sequence(s_top_t *top, const char *keys, size_t n) {
    if (n < 3 || keys[0] != 27 || keys[1] != '[')
        return 0;
    int by = keys[2] == 'A'   ? -1
             : keys[2] == 'B' ? 1
             : keys[2] == '5' ? -S_PAGE
             : keys[2] == '6' ? S_PAGE
                              : 0;
    s_move(&top->state, by);
    return n > 3 && keys[3] == '~' ? 4 : 3;
}

static void s_keys(s_top_t *top) {
    char keys[64];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
        s_leave = 1; /* the terminal is gone */
    for (size_t i = 0; n > 0 && i < (size_t)n;) {
        size_t taken = s_sequence(top, keys + i, (size_t)n - i);
        if (!taken && top->state.typing)
            s_type(&top->state, keys[i]);
        else if (!taken)
            s_key(top, keys[i]);
        i += taken ? taken : 1;
    }
}

/* ---- the screen ---------------------------------------------------------- */
static int64_t s_due_ms(const s_top_t *top) {
    return top->asked_ms + (int64_t)(1000 * top->state.interval_s);
}

static int s_live(s_top_t *top, gi_top_screen_t *screen) {
    struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
    int64_t left = top->count;
    while (!s_leave) {
        int64_t now_ms = s_now_ms();
        if (!top->state.paused && now_ms >= s_due_ms(top)) {
            if (s_look(top) == GATE_OK && top->count && left-- == 0)
                break;
        }
        now_ms = s_now_ms();
        int64_t silent_ms = now_ms - top->answered_ms;
        top->state.silent_ms =
            !top->state.paused &&
                    silent_ms > 1500 + (int64_t)(1000 * top->state.interval_s)
                ? silent_ms
                : 0;
        gi_top_screen_measure(screen);
        if (s_fill(top))
            gi_top_screen_draw(screen, &top->table, &top->state);
        int64_t wait_ms = s_due_ms(top) - now_ms;
        wait_ms = wait_ms < 0 || wait_ms > 1000 ? 1000 : wait_ms;
        if (poll(&keys, 1, (int)wait_ms) > 0)
            s_keys(top);
    }
    return GI_EXIT_OK;
}

static int s_run(s_top_t *top) {
    const struct sigaction on = {.sa_handler = s_on_signal};
    gi_top_screen_t screen;
    sigaction(SIGTERM, &on, NULL);
    sigaction(SIGWINCH, &on, NULL);
    int code = gi_peer_open(&top->peer);
    if (code || top->batch || top->json || top->once || !isatty(STDOUT_FILENO))
        return code ? code : s_batch(top);
    gate_err_t e = s_look(top);
    if (e)
        return gi_peer_fail(e, true);
    if (!gi_top_screen_begin(&screen))
        return s_batch(top);
    code = s_live(top, &screen);
    gi_top_screen_end(&screen);
    return code;
}

static int s_choose(s_top_t *top) {
    unsigned i = 0;
    while (top->view && i < GI_TOP_VIEWS &&
           strcmp(gi_top_tables_views[i].name, top->view) != 0)
        i++;
    if (i == GI_TOP_VIEWS)
        return gi_opts_fail(&s_usage, "--view is services, methods, workers, "
                                      "clients, errors, slow, pools or log");
    s_show(&top->state, i);
    const gi_top_view_t *view = &gi_top_tables_views[i];
    for (i = 0; top->sort && i < view->n; i++)
        if (strcasecmp(view->column[i].title, top->sort) == 0)
            top->state.sort = i;
    if (top->sort && top->state.sort >= view->n)
        return gi_opts_fail(&s_usage, "--sort: %s has no column %s", view->name,
                            top->sort);
    if (top->interval_s < 1 || top->interval_s > 3600)
        return gi_opts_fail(&s_usage, "--interval is 1 to 3600");
    top->state.interval_s = (double)top->interval_s;
    if (top->filter)
        snprintf(top->state.filter, sizeof top->state.filter, "%s",
                 top->filter);
    return -1;
}

int gi_top_main(int argc, char **argv) {
    s_top_t top = {.interval_s = 2};
    const gi_opt_t table[] = {
        GI_PEER_OPTS(top.peer),
        {"interval", GI_OPT_NUMBER, &top.interval_s, "S", "seconds (2)"},
        {"view", GI_OPT_TEXT, &top.view, "NAME",
         "services, methods, workers, clients, errors, slow"},
        {"sort", GI_OPT_TEXT, &top.sort, "COLUMN", "the largest first"},
        {"filter", GI_OPT_TEXT, &top.filter, "TEXT", "rows that have it"},
        {"batch", GI_OPT_FLAG, &top.batch, NULL, "tab-separated lines"},
        {"json", GI_OPT_FLAG, &top.json, NULL, "one object an interval"},
        {"count", GI_OPT_NUMBER, &top.count, "N", "intervals, then leave"},
        {"once", GI_OPT_FLAG, &top.once, NULL, "one look, without rates"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, NULL);
    if (code < 0)
        code = s_choose(&top);
    if (code < 0)
        code = gi_peer_check(&top.peer, &s_usage);
    if (code < 0) {
        code = s_run(&top);
        gi_peer_close(&top.peer);
    }
    gi_top_look_fini(&top.now);
    gi_top_look_fini(&top.before);
    free(top.table.rows);
    gi_peer_forget(&top.peer.auth);
    return code;
}
