/* SPDX-License-Identifier: BSD-3-Clause */
/* plot.h -- lines on two logarithmic axes, as SVG. */
#ifndef GI_PLOT_H
#define GI_PLOT_H

#include <stdbool.h>
#include <stdio.h>

enum { GI_PLOT_LINES = 24, GI_PLOT_POINTS = 32 };

/* Points in the order of x; all values positive. */
typedef struct gi_plot_line {
    char name[64];
    bool dashed;
    int n;
    double x[GI_PLOT_POINTS], y[GI_PLOT_POINTS];
    double low[GI_PLOT_POINTS], high[GI_PLOT_POINTS];
} gi_plot_line_t;

typedef struct gi_plot_tick {
    double at;
    const char *label;
} gi_plot_tick_t;

typedef struct gi_plot {
    const char *x_title, *y_title;
    const gi_plot_tick_t *ticks; /* of x; NULL = powers of ten */
    int n_ticks;
    gi_plot_line_t lines[GI_PLOT_LINES];
    int n;
} gi_plot_t;

/* Writes one <svg>. */
void gi_plot_write(const gi_plot_t *self, FILE *file);

#endif
