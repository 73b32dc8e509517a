/* SPDX-License-Identifier: BSD-3-Clause */
/* html.c -- a report that needs nothing but itself: inline style, SVG plots,
 * tables; black on white, so that it prints. */
#include "plot.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>

static const char s_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<title>gate bench</title>\n<style>\n"
    "body{font:15px/1.45 system-ui,sans-serif;color:#111;background:#fff;"
    "max-width:62em;margin:2em auto;padding:0 1em}\n"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}\n"
    "table{border-collapse:collapse;font-size:.85em;margin:1em 0}\n"
    "td,th{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:right}\n"
    "td:first-child,th:first-child{text-align:left}\n"
    "tr.ref td{color:#555}svg{width:100%;max-width:46em;height:auto}\n"
    "figure{margin:1em 0;break-inside:avoid}figcaption{font-size:.85em}\n"
    "text{font:11px system-ui,sans-serif;fill:#111}\n"
    "@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}\n"
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
    const char *verb, *system, *transport, *runs, *auth;
    double size;
    bool pinned;
} s_line_t;

static s_line_t s_line_of(const json_t *r) {
    return (s_line_t){
        s_text(r, "verb"), s_text(r, "system"), s_text(r, "transport"),
        s_text(r, "runs"), s_text(r, "auth"),   s_number(r, "size"),
        s_pinned(r)};
}

static bool s_on(const s_line_t *line, const json_t *r) {
    return !strcmp(line->verb, s_text(r, "verb")) &&
           !strcmp(line->system, s_text(r, "system")) &&
           !strcmp(line->transport, s_text(r, "transport")) &&
           !strcmp(line->runs, s_text(r, "runs")) &&
           !strcmp(line->auth, s_text(r, "auth")) &&
           line->size == s_number(r, "size") && line->pinned == s_pinned(r);
}

static void s_name(const s_line_t *line, bool with_size, char *to,
                   size_t room) {
    snprintf(to, room, "%s%s %s%s%s%s", line->system,
             !strcmp(line->auth, "plain") ? "+auth" : "", line->transport,
             !strcmp(line->runs, "inline") ? "" : " ",
             !strcmp(line->runs, "inline") ? "" : line->runs,
             line->pinned ? " pinned" : "");
    size_t n = strlen(to);
    if (with_size && n < room)
        snprintf(to + n, room - n, " %.0f B", line->size);
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

/* Lines of at least two points: rates against what was outstanding. */
static void s_add_rates(gi_plot_t *plot, const json_t *list, const char *verb,
                        bool dashed) {
    size_t i;
    json_t *r;
    json_array_foreach(list, i, r) {
        s_line_t line = s_line_of(r);
        gi_plot_line_t *to = &plot->lines[plot->n];
        if (strcmp(line.verb, verb) != 0 || s_seen(list, i, &line) ||
            plot->n == GI_PLOT_LINES)
            continue;
        if (dashed && strcmp(line.system, "zmq_proxy") != 0 &&
            strcmp(line.system, "ring") != 0 &&
            strcmp(line.system, "mutex-list") != 0 &&
            strcmp(line.system, "pipes") != 0)
            continue; /* the main references are enough in a picture */
        *to = (gi_plot_line_t){.dashed = dashed};
        s_name(&line, false, to->name, sizeof to->name);
        s_points(to, list, &line);
        if (to->n > 1)
            plot->n++;
    }
}

static void s_rates(FILE *file, const json_t *report, const char *verb,
                    const char *y) {
    gi_plot_t *plot = calloc(1, sizeof *plot);
    if (!plot)
        return;
    plot->x_title = "outstanding";
    plot->y_title = y;
    s_add_rates(plot, json_object_get(report, "results"), verb, false);
    s_add_rates(plot, json_object_get(report, "references"), verb, true);
    if (plot->n) {
        fprintf(file,
                "<figure><figcaption>%s: %s against calls outstanding; "
                "dashed: the references; bars: min to max</figcaption>\n",
                verb, y);
        gi_plot_write(plot, file);
        fprintf(file, "</figure>\n");
    }
    free(plot);
}

static void s_latencies(FILE *file, const json_t *report, const char *verb) {
    static const char *const keys[] = {"p50", "p90", "p99", "p99.9"};
    static const double nines[] = {2, 10, 100, 1000};
    gi_plot_t *plot = calloc(1, sizeof *plot);
    size_t i;
    json_t *r;
    if (!plot)
        return;
    plot->x_title = "1 call in N is slower";
    plot->y_title = "latency, us";
    json_array_foreach(json_object_get(report, "results"), i, r) {
        const json_t *latency = json_object_get(r, "latency_us");
        gi_plot_line_t *to = &plot->lines[plot->n];
        s_line_t line = s_line_of(r);
        if (strcmp(line.verb, verb) != 0 || !json_is_object(latency) ||
            plot->n == GI_PLOT_LINES)
            continue;
        *to = (gi_plot_line_t){.n = 4};
        s_name(&line, false, to->name, sizeof to->name);
        size_t n = strlen(to->name);
        snprintf(to->name + n, sizeof to->name - n, " W=%.0f",
                 s_number(r, "outstanding"));
        for (int k = 0; k < 4; k++) {
            to->x[k] = nines[k];
            to->y[k] = to->low[k] = to->high[k] = s_number(latency, keys[k]);
        }
        plot->n++;
    }
    if (plot->n) {
        fprintf(file,
                "<figure><figcaption>%s: latency percentiles (p50, p90, "
                "p99, p99.9)</figcaption>\n",
                verb);
        gi_plot_write(plot, file);
        fprintf(file, "</figure>\n");
    }
    free(plot);
}

/* Rates against how many services or workers there are. */
static void s_scaling(FILE *file, const json_t *report) {
    static const char *const by[] = {"services", "workers"};
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
    if (plot->n) {
        fprintf(file, "<figure><figcaption>fanout: scaling</figcaption>\n");
        gi_plot_write(plot, file);
        fprintf(file, "</figure>\n");
    }
    free(plot);
}

/* ---- tables -------------------------------------------------------------- */
static void s_row(FILE *file, const json_t *r, bool reference) {
    const json_t *latency = json_object_get(r, "latency_us");
    const json_t *to = json_object_get(r, "to_reference");
    s_line_t line = s_line_of(r);
    char name[64];
    s_name(&line, false, name, sizeof name);
    fprintf(file,
            "<tr%s><td>%s %s</td><td>%.0f</td><td>%.0f</td>"
            "<td>%.4g</td><td>%.4g..%.4g</td><td>%s</td>",
            reference ? " class=\"ref\"" : "", name, s_text(r, "label"),
            s_number(r, "outstanding"), s_number(r, "size"),
            s_number(r, "median"), s_number(r, "min"), s_number(r, "max"),
            s_text(r, "unit"));
    if (json_is_object(latency))
        fprintf(file, "<td>%.1f</td><td>%.1f</td><td>%.1f</td>",
                s_number(latency, "p50"), s_number(latency, "p99"),
                s_number(latency, "p99.9"));
    else
        fprintf(file, "<td></td><td></td><td></td>");
    fprintf(file, "<td>%.3f</td><td>%.1f</td>", s_number(r, "cpu_s_per_100k"),
            s_number(r, "peak_rss_kib") / 1024);
    if (to)
        fprintf(file, "<td>%.2f of %s</td></tr>\n", s_number(to, "rate"),
                s_text(to, "system"));
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
    fprintf(file, "<table><tr><th>what</th><th>outstanding</th><th>bytes</th>"
                  "<th>median</th><th>min..max</th><th></th><th>p50 us</th>"
                  "<th>p99</th><th>p99.9</th><th>CPU s / 100 k</th>"
                  "<th>MiB</th><th>in the same run</th></tr>\n");
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
        fprintf(file, "<h2>%s</h2>\n", verbs[i].verb);
        s_rates(file, report, verbs[i].verb, verbs[i].unit);
        s_latencies(file, report, verbs[i].verb);
        if (!strcmp(verbs[i].verb, "fanout"))
            s_scaling(file, report);
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
