/* SPDX-License-Identifier: BSD-3-Clause */
/* html.c -- a report that needs nothing but itself: inline style, SVG plots,
 * tables; black on white, so that it prints. */
#include "bench/plot.h"
#include "bench/report.h"

#include <stdlib.h>
#include <string.h>

static const char s_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<title>gate bench</title>\n<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;color:#111;background:#fff;"
    "max-width:78em;margin:2em auto;padding:0 1em}\n"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\n"
    "table{border-collapse:collapse;font-size:.85em;margin:1em 0}\n"
    "td,th{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:right}\n"
    "td{white-space:nowrap}td:first-child,th:first-child{text-align:left}\n"
    "tr.ref td{color:#555}svg{width:100%;max-width:44em;height:auto}\n"
    ".plots{display:grid;gap:0 2em;"
    "grid-template-columns:repeat(auto-fit,minmax(33em,1fr))}\n"
    "figure{margin:1em 0;break-inside:avoid}"
    "figcaption{font-size:.85em;margin-bottom:.4em}\n"
    "text{font:11px system-ui,sans-serif;fill:#111}\n"
    "@media print{body{margin:0;max-width:none;font-size:11px}"
    ".plots{display:block}tr{break-inside:avoid}h2{break-after:avoid}}\n"
    "</style></head><body>\n<h1>gate bench</h1>\n";

static const char *s_text(const json_t *o, const char *key) {
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static double s_number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static bool s_pinned(const json_t *o) {
    return !json_is_string(json_object_get(o, "pin"));
}

/* ---- plots --------------------------------------------------------------- */
/* Which results belong to one line of a plot. */
typedef struct s_line {
    const char *verb, *system, *transport, *runs, *auth, *wire;
    double size;
    bool pinned;
} s_line_t;

static s_line_t s_line_of(const json_t *r) {
    return (s_line_t){s_text(r, "verb"),      s_text(r, "system"),
                      s_text(r, "transport"), s_text(r, "runs"),
                      s_text(r, "auth"),      s_text(r, "wire"),
                      s_number(r, "size"),    s_pinned(r)};
}

static bool s_on(const s_line_t *line, const json_t *r) {
    return !strcmp(line->verb, s_text(r, "verb")) &&
           !strcmp(line->system, s_text(r, "system")) &&
           !strcmp(line->transport, s_text(r, "transport")) &&
           !strcmp(line->runs, s_text(r, "runs")) &&
           !strcmp(line->auth, s_text(r, "auth")) &&
           !strcmp(line->wire, s_text(r, "wire")) &&
           line->size == s_number(r, "size") && line->pinned == s_pinned(r);
}

static const char *s_word(bool said, const char *word) {
    return said ? word : "";
}

/* Without the transport where a plot shows but one. */
static void s_name(const s_line_t *line, bool transport, char *to,
                   size_t room) {
    bool inline_ = !strcmp(line->runs, "inline");
    snprintf(to, room, "%s%s%s%s%s%s%s%s", line->system,
             s_word(!strcmp(line->auth, "plain"), "+auth"),
             !strcmp(line->wire, "frames") ? " frames"
             : !strcmp(line->wire, "lane") ? " lane"
                                           : "",
             s_word(transport, " "), s_word(transport, line->transport),
             s_word(!inline_, " "), s_word(!inline_, line->runs),
             s_word(line->pinned, " pinned"));
}

/* As people read it: 12.3 k. */
static const char *s_short(double v, char *to, size_t room) {
    double by = v >= 1e6 ? 1e6 : v >= 1e4 ? 1e3 : 1;
    const char *unit = v >= 1e6 ? " M" : v >= 1e4 ? " k" : "";
    v /= by;
    snprintf(to, room, "%.*f%s", v >= 100 ? 0 : v >= 10 ? 1 : 2, v, unit);
    return to;
}

static bool s_seen(const json_t *list, size_t until, const s_line_t *line) {
    for (size_t i = 0; i < until; i++)
        if (s_on(line, json_array_get(list, i)))
            return true;
    return false;
}

static void s_points(gi_plot_line_t *to, const json_t *list,
                     const s_line_t *line) {
    size_t i;
    json_t *r;
    json_array_foreach(list, i, r) {
        if (s_on(line, r) && to->n < GI_PLOT_POINTS) {
            to->x[to->n] = s_number(r, "outstanding");
            to->y[to->n] = s_number(r, "median");
            to->low[to->n] = s_number(r, "min");
            to->high[to->n++] = s_number(r, "max");
        }
    }
}

/* What one picture shows. */
typedef struct s_view {
    const json_t *report;
    const char *verb, *transport, *unit;
} s_view_t;

static bool s_shows(const s_view_t *view, const s_line_t *line) {
    return !strcmp(line->verb, view->verb) &&
           !strcmp(line->transport, view->transport);
}

/* Begins a line, if there is room. */
static gi_plot_line_t *s_begin(gi_plot_t *plot, const s_line_t *line,
                               bool dashed) {
    gi_plot_line_t *to = &plot->lines[plot->n];
    if (plot->n == GI_PLOT_LINES)
        return NULL;
    *to = (gi_plot_line_t){.dashed = dashed};
    s_name(line, false, to->name, sizeof to->name);
    return to;
}

/* Lines from one x to another: rates against what was outstanding. */
static void s_add_rates(gi_plot_t *plot, const s_view_t *view, bool dashed) {
    const json_t *list =
        json_object_get(view->report, dashed ? "references" : "results");
    size_t i;
    json_t *r;
    json_array_foreach(list, i, r) {
        s_line_t line = s_line_of(r);
        gi_plot_line_t *to = NULL;
        if (s_shows(view, &line) && !s_seen(list, i, &line))
            to = s_begin(plot, &line, dashed);
        if (!to)
            continue;
        s_points(to, list, &line);
        plot->n += to->n > 1 && to->x[to->n - 1] > to->x[0];
    }
}

static void s_write(FILE *file, const gi_plot_t *plot, const s_view_t *view,
                    const char *caption) {
    if (!plot->n)
        return;
    fprintf(file, "<figure><figcaption>%s%s%s: %s</figcaption>\n", view->verb,
            s_word(*view->transport, " "), view->transport, caption);
    gi_plot_write(plot, file);
    fprintf(file, "</figure>\n");
}

static void s_rates(FILE *file, const s_view_t *view) {
    gi_plot_t *plot = calloc(1, sizeof *plot);
    if (!plot)
        return;
    plot->x_title = "outstanding";
    plot->y_title = view->unit;
    s_add_rates(plot, view, false);
    s_add_rates(plot, view, true);
    s_write(file, plot, view, "rate; dashed: the references; bars: min to max");
    free(plot);
}

static const gi_plot_tick_t s_percentiles[] = {
    {2, "p50"}, {10, "p90"}, {100, "p99"}, {1000, "p99.9"}};
enum { S_PERCENTILES = sizeof s_percentiles / sizeof *s_percentiles };

static void s_add_latencies(gi_plot_t *plot, const s_view_t *view,
                            bool dashed) {
    size_t i;
    json_t *r;
    json_array_foreach(
        json_object_get(view->report, dashed ? "references" : "results"), i,
        r) {
        const json_t *latency = json_object_get(r, "latency_us");
        s_line_t line = s_line_of(r);
        gi_plot_line_t *to = NULL;
        if (s_shows(view, &line) && json_is_object(latency) &&
            (!dashed || !strcmp(line.system, "zmq_proxy")))
            to = s_begin(plot, &line, dashed);
        if (!to)
            continue;
        size_t n = strlen(to->name);
        snprintf(to->name + n, sizeof to->name - n, " %s%sW=%.0f",
                 s_text(r, "label"), s_word(*s_text(r, "label"), " "),
                 s_number(r, "outstanding"));
        for (; to->n < S_PERCENTILES; to->n++) {
            const gi_plot_tick_t *tick = &s_percentiles[to->n];
            to->x[to->n] = tick->at;
            to->y[to->n] = s_number(latency, tick->label);
            to->low[to->n] = to->high[to->n] = to->y[to->n];
        }
        plot->n++;
    }
}

static void s_latencies(FILE *file, const s_view_t *view) {
    gi_plot_t *plot = calloc(1, sizeof *plot);
    if (!plot)
        return;
    plot->x_title = "percentile";
    plot->y_title = "latency, us";
    plot->ticks = s_percentiles;
    plot->n_ticks = S_PERCENTILES;
    s_add_latencies(plot, view, false);
    s_add_latencies(plot, view, true);
    s_write(file, plot, view, "latency");
    free(plot);
}

/* Rates against how many services or workers there are. */
static void s_scaling(FILE *file, const json_t *report) {
    static const char *const by[] = {"services", "workers"};
    const s_view_t view = {report, "fanout", "", ""};
    gi_plot_t *plot = calloc(1, sizeof *plot);
    size_t i;
    json_t *r;
    if (!plot)
        return;
    plot->x_title = "services, or workers of one service";
    plot->y_title = "calls/s against one of each";
    for (int b = 0; b < 2; b++) {
        gi_plot_line_t *to = &plot->lines[plot->n];
        snprintf(to->name, sizeof to->name, "%s", by[b]);
        json_array_foreach(json_object_get(report, "results"), i, r) {
            double ratio = s_number(json_object_get(r, "to_reference"), "rate");
            if (strcmp(s_text(r, "verb"), "fanout") != 0 ||
                strcmp(s_text(r, "label"), by[b]) != 0 ||
                to->n == GI_PLOT_POINTS)
                continue;
            to->x[to->n] = s_number(r, by[b]);
            to->y[to->n] = to->low[to->n] = to->high[to->n] = ratio;
            to->n++;
        }
        plot->n += to->n > 1;
    }
    s_write(file, plot, &view, "against one service of one worker");
    free(plot);
}

static void s_pictures(FILE *file, const json_t *report, const char *verb,
                       const char *unit) {
    static const char *const transports[] = {"registry", "inproc", "ipc",
                                             "tcp",      "pool",   "broker"};
    if (!strcmp(verb, "fanout"))
        s_scaling(file, report);
    for (size_t t = 0; t < sizeof transports / sizeof *transports; t++) {
        const s_view_t view = {report, verb, transports[t], unit};
        s_rates(file, &view);
        s_latencies(file, &view);
    }
}

/* ---- tables -------------------------------------------------------------- */
static void s_row(FILE *file, const json_t *r, bool reference) {
    const json_t *latency = json_object_get(r, "latency_us");
    const json_t *to = json_object_get(r, "to_reference");
    s_line_t line = s_line_of(r);
    char name[64], median[24], min[24], max[24];
    s_name(&line, true, name, sizeof name);
    fprintf(file,
            "<tr%s><td>%s %s</td><td>%.0f</td><td>%.0f</td>"
            "<td>%s</td><td>%s..%s</td><td>%s</td>",
            s_word(reference, " class=\"ref\""), name, s_text(r, "label"),
            s_number(r, "outstanding"), s_number(r, "size"),
            s_short(s_number(r, "median"), median, sizeof median),
            s_short(s_number(r, "min"), min, sizeof min),
            s_short(s_number(r, "max"), max, sizeof max), s_text(r, "unit"));
    if (json_is_object(latency))
        fprintf(file, "<td>%.1f</td><td>%.1f</td><td>%.1f</td>",
                s_number(latency, "p50"), s_number(latency, "p99"),
                s_number(latency, "p99.9"));
    else
        fprintf(file, "<td></td><td></td><td></td>");
    fprintf(file, "<td>%.3f</td><td>%.1f</td>", s_number(r, "cpu_s_per_100k"),
            s_number(r, "peak_rss_kib") / 1024);
    if (to)
        fprintf(file, "<td>%.2f (%.2f..%.2f) of %s</td></tr>\n",
                s_number(to, "rate"), s_number(to, "rate_min"),
                s_number(to, "rate_max"), s_text(to, "system"));
    else if (reference && json_is_true(json_object_get(r, "unsteady")))
        fprintf(file, "<td>unsteady: something else ran</td></tr>\n");
    else
        fprintf(file, "<td></td></tr>\n");
}

static void s_rows(FILE *file, const json_t *list, const char *verb,
                   bool reference) {
    size_t i;
    json_t *r;
    json_array_foreach(list, i, r) if (!strcmp(s_text(r, "verb"), verb))
        s_row(file, r, reference);
}

static bool s_has(const json_t *report, const char *verb) {
    size_t i;
    json_t *r;
    json_array_foreach(json_object_get(report, "results"), i,
                       r) if (!strcmp(s_text(r, "verb"), verb)) return true;
    return false;
}

static void s_table(FILE *file, const json_t *report, const char *verb) {
    fprintf(
        file,
        "<table><tr><th>what</th><th>outstanding</th><th>bytes</th>"
        "<th>median</th><th>min..max</th><th></th><th>p50 us</th>"
        "<th>p99</th><th>p99.9</th><th>CPU s / 100 k</th>"
        "<th>MiB</th><th>ratio of the rounds: median (min..max)</th></tr>\n");
    s_rows(file, json_object_get(report, "results"), verb, false);
    s_rows(file, json_object_get(report, "references"), verb, true);
    fprintf(file, "</table>\n");
}

static void s_machine(FILE *file, const json_t *machine) {
    fprintf(file,
            "<p>%s, %.0f cores, Linux %s %s; gaterpc %s, libzmq %s; %s. "
            "Medians of rounds; each figure was taken in turns with its "
            "references.</p>\n",
            s_text(machine, "cpu"), s_number(machine, "cores"),
            s_text(machine, "kernel"), s_text(machine, "arch"),
            s_text(machine, "gaterpc"), s_text(machine, "libzmq"),
            s_text(machine, "when"));
}

bool gi_report_html(const json_t *report, const char *name) {
    static const struct {
        const char *verb, *unit;
    } verbs[] = {{"echo", "calls/s"},      {"stream", "items/s"},
                 {"huge", "MB/s"},         {"threads", "tasks/s"},
                 {"processes", "tasks/s"}, {"fanout", "calls/s"},
                 {"scale", "calls/s"}};
    FILE *file = fopen(name, "w");
    if (!file) {
        perror(name);
        return false;
    }
    fputs(s_head, file);
    s_machine(file, json_object_get(report, "machine"));
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (!s_has(report, verbs[i].verb))
            continue;
        fprintf(file, "<h2>%s</h2>\n<div class=\"plots\">\n", verbs[i].verb);
        s_pictures(file, report, verbs[i].verb, verbs[i].unit);
        fprintf(file, "</div>\n");
        s_table(file, report, verbs[i].verb);
    }
    fputs("</body></html>\n", file);
    bool ok = !ferror(file);
    if (fclose(file) || !ok) {
        perror(name);
        return false;
    }
    return true;
}
