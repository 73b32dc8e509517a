/* SPDX-License-Identifier: BSD-3-Clause */
/* result.c -- medians and ratios. */
#include "bench/result.h"

#include <stdlib.h>
#include <string.h>

static int s_order(const void *a, const void *b) {
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double s_median(const double *values, int n) {
    double sorted[GI_ROUNDS_MAX];
    if (!n)
        return 0;
    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, s_order);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double gi_result_median(const gi_result_t *self) {
    return s_median(self->values, self->n_rounds);
}

double gi_result_min(const gi_result_t *self) {
    double min = self->n_rounds ? self->values[0] : 0;
    for (int i = 1; i < self->n_rounds; i++)
        if (self->values[i] < min)
            min = self->values[i];
    return min;
}

double gi_result_max(const gi_result_t *self) {
    double max = 0;
    for (int i = 0; i < self->n_rounds; i++)
        if (self->values[i] > max)
            max = self->values[i];
    return max;
}

double gi_result_cpu(const gi_result_t *self) {
    return self->n ? self->cpu_s / (double)self->n * 1e5 : 0;
}

double gi_result_broker_cpu(const gi_result_t *self) {
    return self->n ? self->broker_cpu_s / (double)self->n * 1e5 : 0;
}

#define S_UNSTEADY 2 /* times */

bool gi_result_unsteady(const gi_result_t *self) {
    return gi_result_max(self) > S_UNSTEADY * gi_result_min(self);
}

static double s_ratio(double a, double b) { return b > 0 ? a / b : 0; }

void gi_result_relate(gi_result_t *self, const gi_result_t *reference) {
    double ratios[GI_ROUNDS_MAX];
    int n = 0;
    for (int i = 0; i < self->n_rounds && i < reference->n_rounds; i++)
        if (reference->values[i] > 0)
            ratios[n++] = self->values[i] / reference->values[i];
    self->reference = reference->system;
    self->ratio = s_median(ratios, n);
    self->ratio_min = self->ratio_max = self->ratio;
    for (int i = 0; i < n; i++) {
        if (ratios[i] < self->ratio_min)
            self->ratio_min = ratios[i];
        if (ratios[i] > self->ratio_max)
            self->ratio_max = ratios[i];
    }
    self->ratio_p50 = s_ratio((double)gi_hist_at(&self->hist, 0.5),
                              (double)gi_hist_at(&reference->hist, 0.5));
    self->ratio_cpu = s_ratio(gi_result_cpu(self), gi_result_cpu(reference));
    self->ratio_broker_cpu =
        s_ratio(gi_result_broker_cpu(self), gi_result_broker_cpu(reference));
}

/* ---- as JSON ------------------------------------------------------------- */
static json_t *s_latency(const gi_hist_t *h) {
    if (!h->n)
        return json_null();
    return json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:I}", "p50",
                     (double)gi_hist_at(h, 0.5) / 1e3, "p90",
                     (double)gi_hist_at(h, 0.9) / 1e3, "p99",
                     (double)gi_hist_at(h, 0.99) / 1e3, "p99.9",
                     (double)gi_hist_at(h, 0.999) / 1e3, "max",
                     (double)h->max / 1e3, "mean", gi_hist_mean(h) / 1e3, "n",
                     (json_int_t)h->n);
}

static json_t *s_rounds(const gi_result_t *self) {
    json_t *rounds = json_array();
    for (int i = 0; i < self->n_rounds; i++)
        json_array_append_new(rounds, json_real(self->values[i]));
    return rounds;
}

static void s_relation(const gi_result_t *self, json_t *to) {
    if (!self->reference)
        return;
    json_object_set_new(
        to, "to_reference",
        json_pack("{s:s,s:f,s:f,s:f,s:f,s:f,s:f}", "system", self->reference,
                  "rate", self->ratio, "rate_min", self->ratio_min, "rate_max",
                  self->ratio_max, "p50", self->ratio_p50, "cpu",
                  self->ratio_cpu, "broker_cpu", self->ratio_broker_cpu));
}

json_t *gi_result_json(const gi_result_t *self) {
    json_t *o = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "verb", self->verb,
        "system", self->system, "transport", self->transport, "runs",
        self->runs, "label", self->label, "outstanding",
        (json_int_t)self->outstanding, "size", (json_int_t)self->size,
        "clients", (json_int_t)self->clients, "services",
        (json_int_t)self->services, "workers", (json_int_t)self->workers,
        "crowd", (json_int_t)self->crowd, "rate", (json_int_t)self->rate);
    if (!o)
        return NULL;
    json_object_set_new(o, "auth", json_string(self->auth));
    json_object_set_new(o, "wire", json_string(self->wire));
    json_object_set_new(o, "pin",
                        self->pin < 0 ? json_string("free")
                                      : json_integer(self->pin));
    json_object_set_new(o, "unit", json_string(self->unit));
    json_object_set_new(o, "median", json_real(gi_result_median(self)));
    json_object_set_new(o, "min", json_real(gi_result_min(self)));
    json_object_set_new(o, "max", json_real(gi_result_max(self)));
    json_object_set_new(o, "rounds", s_rounds(self));
    json_object_set_new(o, "unsteady", json_boolean(gi_result_unsteady(self)));
    json_object_set_new(o, "latency_us", s_latency(&self->hist));
    json_object_set_new(o, "cpu_s_per_100k", json_real(gi_result_cpu(self)));
    json_object_set_new(o, "broker_cpu_s_per_100k",
                        json_real(gi_result_broker_cpu(self)));
    json_object_set_new(o, "peak_rss_kib", json_integer(self->rss_kib));
    json_object_set_new(o, "n", json_integer((json_int_t)self->n));
    json_object_set_new(o, "errors", json_integer((json_int_t)self->errors));
    if (self->broker_kib_per_client > 0)
        json_object_set_new(o, "broker_kib_per_client",
                            json_real(self->broker_kib_per_client));
    s_relation(self, o);
    return o;
}

/* ---- the list ------------------------------------------------------------ */
gi_result_t *gi_results_add(gi_results_t *self) {
    gi_result_t **grown =
        realloc(self->items, (self->n + 1) * sizeof *self->items);
    if (!grown)
        return NULL;
    self->items = grown;
    gi_result_t *one = calloc(1, sizeof *one);
    if (one)
        grown[self->n++] = one;
    return one;
}

void gi_results_fini(gi_results_t *self) {
    for (size_t i = 0; i < self->n; i++)
        free(self->items[i]);
    free(self->items);
    *self = (gi_results_t){NULL, 0};
}
