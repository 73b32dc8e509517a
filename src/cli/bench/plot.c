/* SPDX-License-Identifier: BSD-3-Clause */
/* plot.c -- colours from a palette that colour-blind readers tell apart; each
 * line has its own mark as well, for print. */
#include "bench/plot.h"

#include <math.h>

enum {
    S_LEFT = 66,
    S_TOP = 10,
    S_WIDTH = 330,
    S_HEIGHT = 230,
    S_LEGEND = 15,  /* a line of it */
    S_LEGENDS = 190 /* all of it: width */
};

static const char *const s_colours[] = {"#0072b2", "#d55e00", "#009e73",
                                        "#cc79a7", "#e69f00", "#56b4e9",
                                        "#000000", "#8c6d31"};

typedef struct s_axis {
    double low, high; /* powers of ten */
} s_axis_t;

static double s_log(double v) { return log10(v > 1e-9 ? v : 1e-9); }

static void s_grow(s_axis_t *axis, double v) {
    if (v <= 0)
        return;
    if (s_log(v) < axis->low)
        axis->low = s_log(v);
    if (s_log(v) > axis->high)
        axis->high = s_log(v);
}

static void s_axes(const gi_plot_t *self, s_axis_t *x, s_axis_t *y) {
    *x = *y = (s_axis_t){1e9, -1e9};
    for (int i = 0; i < self->n; i++)
        for (int k = 0; k < self->lines[i].n; k++) {
            s_grow(x, self->lines[i].x[k]);
            s_grow(y, self->lines[i].low[k]);
            s_grow(y, self->lines[i].high[k]);
            s_grow(y, self->lines[i].y[k]);
        }
    y->low = floor(y->low);
    y->high = ceil(y->high);
    if (y->high <= y->low)
        y->high = y->low + 1;
    if (x->high <= x->low)
        x->high = x->low + 1;
}

static double s_x(const s_axis_t *axis, double v) {
    return S_LEFT + 12 +
           (s_log(v) - axis->low) / (axis->high - axis->low) * (S_WIDTH - 24);
}

static double s_y(const s_axis_t *axis, double v) {
    double part = (s_log(v) - axis->low) / (axis->high - axis->low);
    return S_TOP + S_HEIGHT - (part < 0 ? 0 : part) * S_HEIGHT;
}

static void s_label(double v, char *to, size_t size) {
    if (v >= 1e6)
        snprintf(to, size, "%g M", v / 1e6);
    else if (v >= 1e3)
        snprintf(to, size, "%g k", v / 1e3);
    else
        snprintf(to, size, "%g", v);
}

static void s_grid_y(const s_axis_t *y, FILE *file) {
    char label[24];
    for (double p = y->low; p <= y->high; p++)
        for (int step = 1; step <= 5; step = step < 2 ? 2 : step + 3) {
            double v = step * pow(10, p), at = s_y(y, v);
            if (s_log(v) > y->high + 1e-9)
                continue;
            fprintf(file,
                    "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" "
                    "stroke=\"%s\"/>",
                    S_LEFT, at, S_LEFT + S_WIDTH, at,
                    step == 1 ? "#bbb" : "#eee");
            if (step > 1)
                continue;
            s_label(v, label, sizeof label);
            fprintf(file,
                    "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s"
                    "</text>\n",
                    S_LEFT - 6, at + 4, label);
        }
}

static void s_tick(double at, const char *label, FILE *file) {
    fprintf(file,
            "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" "
            "stroke=\"#bbb\"/><text x=\"%.1f\" y=\"%d\" "
            "text-anchor=\"middle\">%s</text>\n",
            at, S_TOP, at, S_TOP + S_HEIGHT, at, S_TOP + S_HEIGHT + 16, label);
}

static void s_grid_x(const gi_plot_t *self, const s_axis_t *x, FILE *file) {
    char label[24];
    for (int i = 0; i < self->n_ticks; i++)
        s_tick(s_x(x, self->ticks[i].at), self->ticks[i].label, file);
    if (self->n_ticks)
        return;
    for (double p = ceil(x->low); p <= x->high + 1e-9; p++) {
        s_label(pow(10, p), label, sizeof label);
        s_tick(s_x(x, pow(10, p)), label, file);
    }
}

static void s_grid(const gi_plot_t *self, const s_axis_t *x, const s_axis_t *y,
                   FILE *file) {
    s_grid_y(y, file);
    s_grid_x(self, x, file);
    fprintf(file,
            "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n"
            "<text transform=\"translate(14 %d) rotate(-90)\" "
            "text-anchor=\"middle\">%s</text>\n",
            S_LEFT + S_WIDTH / 2, S_TOP + S_HEIGHT + 32, self->x_title,
            S_TOP + S_HEIGHT / 2, self->y_title);
}

static void s_mark(FILE *file, int i, double x, double y, const char *colour) {
    if (i % 3 == 0)
        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>",
                x, y, colour);
    else if (i % 3 == 1)
        fprintf(file,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"6\" height=\"6\" "
                "fill=\"%s\"/>",
                x - 3, y - 3, colour);
    else
        fprintf(file, "<path d=\"M%.1f %.1fl4 7h-8z\" fill=\"%s\"/>", x, y - 4,
                colour);
}

static void s_line(const gi_plot_t *self, int i, const s_axis_t *x,
                   const s_axis_t *y, FILE *file) {
    const gi_plot_line_t *line = &self->lines[i];
    const char *colour = s_colours[i % 8];
    fprintf(file, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.6\"",
            colour);
    fprintf(file, "%s points=\"",
            line->dashed ? " stroke-dasharray=\"5 3\"" : "");
    for (int k = 0; k < line->n; k++)
        fprintf(file, "%.1f,%.1f ", s_x(x, line->x[k]), s_y(y, line->y[k]));
    fprintf(file, "\"/>");
    for (int k = 0; k < line->n; k++) {
        double at = s_x(x, line->x[k]);
        fprintf(file,
                "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
                "stroke=\"%s\"/>",
                at, s_y(y, line->low[k]), at, s_y(y, line->high[k]), colour);
        s_mark(file, i, at, s_y(y, line->y[k]), colour);
    }
    double top = S_TOP + 8 + i * S_LEGEND, left = S_LEFT + S_WIDTH + 14;
    fprintf(file,
            "<line x1=\"%.0f\" y1=\"%.0f\" x2=\"%.0f\" y2=\"%.0f\" "
            "stroke=\"%s\" stroke-width=\"1.6\"%s/>",
            left, top, left + 22, top, colour,
            line->dashed ? " stroke-dasharray=\"5 3\"" : "");
    s_mark(file, i, left + 11, top, colour);
    fprintf(file, "<text x=\"%.0f\" y=\"%.0f\">%s</text>\n", left + 28, top + 4,
            line->name);
}

void gi_plot_write(const gi_plot_t *self, FILE *file) {
    s_axis_t x, y;
    int legend = S_TOP + self->n * S_LEGEND + 10;
    int height = S_TOP + S_HEIGHT + 40;
    s_axes(self, &x, &y);
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "role=\"img\">\n",
            S_LEFT + S_WIDTH + S_LEGENDS, legend > height ? legend : height);
    s_grid(self, &x, &y, file);
    for (int i = 0; i < self->n; i++)
        s_line(self, i, &x, &y, file);
    fprintf(file, "</svg>\n");
}
