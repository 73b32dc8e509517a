/* SPDX-License-Identifier: BSD-3-Clause */
/* top_screen.c -- the other screen of a terminal, raw; a frame is made in memory
 * and goes out in one write. No ncurses: five sequences that every terminal of
 * the last decades knows. */
#include "watch/top.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct termios s_before;

/* ---- the terminal -------------------------------------------------------- */
static void s_out(const char *text, size_t size) {
    while (size) {
        ssize_t n = write(STDOUT_FILENO, text, size);
        if (n < 0 && errno != EINTR)
            return;
        text += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

bool gi_top_screen_begin(gi_top_screen_t *self) {
    static const char enter[] = "\033[?1049h\033[?25l";
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    *self = (gi_top_screen_t){.colour = !no_colour || !*no_colour};
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !term || !*term ||
        strcmp(term, "dumb") == 0 || tcgetattr(STDIN_FILENO, &s_before))
        return false;
    struct termios raw = s_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw))
        return false;
    s_out(enter, sizeof enter - 1);
    return true;
}

void gi_top_screen_end(gi_top_screen_t *self) {
    static const char leave[] = "\033[0m\033[?25h\033[?1049l";
    s_out(leave, sizeof leave - 1);
    tcsetattr(STDIN_FILENO, TCSANOW, &s_before);
    free(self->text);
    self->text = NULL;
}

void gi_top_screen_measure(gi_top_screen_t *self) {
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    self->rows = size.ws_row ? size.ws_row : 24;
    self->columns = size.ws_col ? size.ws_col : 80;
}

/* ---- lines --------------------------------------------------------------- */
static void s_add(gi_top_screen_t *self, const char *text, size_t size) {
    if (self->room - self->size < size) {
        size_t room = 2 * (self->room + size);
        char *more = realloc(self->text, room);
        if (more == NULL)
            return;
        self->text = more;
        self->room = room;
    }
    memcpy(self->text + self->size, text, size);
    self->size += size;
}

/* The bytes of text's first columns; how many there are in *columns. */
static size_t s_fit(const char *text, int *columns) {
    size_t i = 0;
    int n = 0;
    while (text[i] && n < *columns) {
        i++;
        while (((unsigned char)text[i] & 0xc0) == 0x80)
            i++;
        n++;
    }
    *columns = n;
    return i;
}

/* A line of the frame, cut at its right; style: SGR, "" plain. */
static void s_line(gi_top_screen_t *self, int *row, const char *style,
                   const char *text) {
    int columns = self->columns;
    char to[32];
    if (*row > self->rows)
        return;
    size_t n = s_fit(text, &columns);
    bool styled = *style && (self->colour || strcmp(style, "7") == 0);
    int head = snprintf(to, sizeof to, "\033[%d;1H\033[%sm", *row,
                        styled ? style : "0");
    s_add(self, to, (size_t)head);
    s_add(self, text, n);
    s_add(self, "\033[K\033[0m", 7);
    ++*row;
}

/* Appends a cell of that width to a line. */
static void s_cell(char *line, size_t room, const char *text, int width) {
    int left = width < 0 ? -width : width, columns = left;
    size_t at = strlen(line), n = s_fit(text, &columns);
    int pad = left - columns;
    snprintf(line + at, room - at, "%*s%.*s%*s ", width < 0 ? 0 : pad, "",
             (int)n, text, width < 0 ? pad : 0, "");
}

/* ---- the head ------------------------------------------------------------ */
static void s_up(char to[32], int64_t s) {
    if (s >= 86400)
        snprintf(to, 32, "%lldd %02lld:%02lld", (long long)(s / 86400),
                 (long long)(s / 3600 % 24), (long long)(s / 60 % 60));
    else
        snprintf(to, 32, "%02lld:%02lld:%02lld", (long long)(s / 3600),
                 (long long)(s / 60 % 60), (long long)(s % 60));
}

static const char *s_str(const msgpack_object *map, const char *key,
                         char to[GI_TOP_TEXT]) {
    const msgpack_object *v = gi_top_look_get(map, key);
    *to = 0;
    if (v && v->type == MSGPACK_OBJECT_STR)
        snprintf(to, GI_TOP_TEXT, "%.*s", (int)v->via.str.size, v->via.str.ptr);
    return to;
}

static void s_who(const gi_top_look_t *now, const gi_top_state_t *state,
                  char *line, size_t room) {
    const msgpack_object *p = gi_top_look_get(now->broker, "process");
    char host[GI_TOP_TEXT], version[GI_TOP_TEXT], is[GI_TOP_TEXT], up[32];
    s_up(up, (gi_top_look_number(p, "now_ms") - now->start_ms) / 1000);
    int n = snprintf(line, room, "gate top  %s  up %s  %s  %s",
                     s_str(p, "host", host), up, s_str(p, "version", version),
                     s_str(now->broker, "state", is));
    if (n < 0 || (size_t)n >= room)
        return;
    if (state->silent_ms > 0)
        snprintf(line + n, room - (size_t)n, "   no answer for %lld s",
                 (long long)(state->silent_ms / 1000));
    else if (now->limited)
        snprintf(line + n, room - (size_t)n, "   tells names alone");
    else
        snprintf(line + n, room - (size_t)n, "   every %.1f s%s%s",
                 state->interval_s, state->paused ? "  PAUSED" : "",
                 state->restarted ? "  restarted" : "");
}

static void s_sums(const gi_top_table_t *t, char *line, size_t room,
                   bool brief) {
    char rate[GI_TOP_TEXT], errors[GI_TOP_TEXT], p50[GI_TOP_TEXT],
        p99[GI_TOP_TEXT];
    double sum[5];
    gi_top_tables_sum(t->now, t->before, sum);
    gi_top_tables_rate(rate, sum[0]);
    gi_top_tables_rate(errors, sum[1]);
    gi_top_tables_time(p50, sum[3]);
    gi_top_tables_time(p99, sum[4]);
    if (brief) {
        snprintf(line, room, "%s/s err %.2f%% p99 %s", rate, sum[2], p99);
        return;
    }
    const msgpack_object *p = gi_top_look_get(t->now->broker, "process");
    snprintf(line, room,
             "calls %s/s  err %s/s %.2f%%  p50 %s p99 %s  under way %lld  "
             "wait %lld  peers %lld  wrk %lld  rss %.1fM",
             rate, errors, sum[2], p50, p99,
             (long long)gi_top_look_number(t->now->broker, "in_flight"),
             (long long)gi_top_look_number(t->now->broker, "queued"),
             (long long)gi_top_look_number(t->now->broker, "peers"),
             (long long)gi_top_look_number(t->now->broker, "workers"),
             (double)gi_top_look_number(p, "rss_bytes") / 1e6);
}

static void s_tabs(const gi_top_state_t *state, char *line, size_t room) {
    *line = 0;
    for (unsigned i = 0; i < GI_TOP_VIEWS; i++) {
        size_t n = strlen(line);
        snprintf(line + n, room - n, i == state->view ? "[%u %s] " : "%u %s  ",
                 i + 1, gi_top_tables_views[i].name);
    }
}

/* ---- the rows ------------------------------------------------------------ */
static void s_titles(const gi_top_table_t *t, const gi_top_state_t *state,
                     char *line, size_t room) {
    char title[GI_TOP_TEXT];
    strcpy(line, "  ");
    for (unsigned i = 0; i < t->view->n; i++) {
        unsigned sort = state->sort < t->view->n ? state->sort : t->view->sort;
        snprintf(title, sizeof title, "%s%s", t->view->column[i].title,
                 i != sort        ? ""
                 : state->reverse ? "^"
                                  : "v");
        s_cell(line, room, title, t->view->column[i].width);
    }
}

static void s_rows(gi_top_screen_t *self, const gi_top_table_t *t,
                   const gi_top_state_t *state, int *at, int last) {
    char line[1024];
    for (size_t i = state->first; i < t->n && *at <= last; i++) {
        const gi_top_row_t *row = &t->rows[i];
        snprintf(line, sizeof line, "%c%c", i == state->cursor ? '>' : ' ',
                 row->bad ? '!' : ' ');
        for (unsigned k = 0; k < t->view->n; k++)
            s_cell(line, sizeof line, row->cell[k].text,
                   t->view->column[k].width);
        s_line(self, at, i == state->cursor ? "7" : row->bad ? "31" : "", line);
    }
}

static void s_help(gi_top_screen_t *self, int *row) {
    static const char *const lines[] = {
        "",
        "  q ^C       leave",
        "  1-8 Tab    view",
        "  j k arrows PgUp PgDn   move",
        "  s < >      sort column",
        "  r          reverse",
        "  / Esc      filter, clear it",
        "  space      pause",
        "  + -        pace",
        "  w          write what is seen to gate-top-TIME.json",
        "  h ?        this"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        s_line(self, row, "", lines[i]);
}

/* The cursor stays among the rows, and the rows around it on the screen. */
static void s_scroll(const gi_top_table_t *t, gi_top_state_t *state,
                     size_t shown) {
    if (state->cursor >= t->n)
        state->cursor = t->n ? t->n - 1 : 0;
    if (state->cursor < state->first)
        state->first = state->cursor;
    if (shown && state->cursor >= state->first + shown)
        state->first = state->cursor - shown + 1;
    if (t->n <= shown)
        state->first = 0;
}

void gi_top_screen_draw(gi_top_screen_t *self, const gi_top_table_t *t,
                        gi_top_state_t *state) {
    char line[1024];
    int row = 1;
    self->size = 0;
    if (self->columns < 40 || self->rows < 8) {
        s_sums(t, line, sizeof line, true);
        s_line(self, &row, "", line);
    } else {
        s_who(t->now, state, line, sizeof line);
        s_line(self, &row, state->silent_ms > 0 ? "7" : "1", line);
        s_sums(t, line, sizeof line, false);
        s_line(self, &row, "", line);
        s_tabs(state, line, sizeof line);
        s_line(self, &row, "36", line);
        s_titles(t, state, line, sizeof line);
        s_line(self, &row, "1", line);
        s_scroll(t, state, (size_t)(self->rows - row));
        if (state->help)
            s_help(self, &row);
        else
            s_rows(self, t, state, &row, self->rows - 1);
    }
    while (row < self->rows)
        s_line(self, &row, "", "");
    if (row == self->rows && self->rows > 1) {
        snprintf(line, sizeof line,
                 state->typing || *state->filter
                     ? "/%s%s"
                     : "q quit  h help  s sort  r reverse  / filter  space "
                       "pause  + - pace",
                 state->filter, state->typing ? "_" : "   (Esc clears)");
        s_line(self, &row, "", line);
    }
    s_out(self->text, self->size);
}
