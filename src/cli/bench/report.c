/* SPDX-License-Identifier: BSD-3-Clause */
/* report.c -- table and JSON. */
#include "bench/report.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

/* ---- the machine --------------------------------------------------------- */
static void s_cpu_name(char *to, size_t size) {
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(to, size, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10))
            continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(to, size, "%s", colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

static json_t *s_machine(void) {
    char cpu[128], when[32], zmq[24];
    struct utsname name;
    double load = 0;
    time_t now = time(NULL);
    int major, minor, patch;
    uname(&name);
    s_cpu_name(cpu, sizeof cpu);
    zmq_version(&major, &minor, &patch);
    snprintf(zmq, sizeof zmq, "%d.%d.%d", major, minor, patch);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    FILE *file = fopen("/proc/loadavg", "r");
    if (file && fscanf(file, "%lf", &load) != 1)
        load = 0;
    if (file)
        fclose(file);
    return json_pack("{s:s,s:I,s:s,s:s,s:s,s:s,s:s,s:f}", "cpu", cpu, "cores",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "kernel",
                     name.release, "arch", name.machine, "gaterpc",
                     gate_version(), "libzmq", zmq, "when", when,
                     "load_average_at_end", load);
}

static json_t *s_settings(const gi_session_t *self) {
    const gi_bench_args_t *args = self->args;
    return json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:b}", "verb",
        args->verb, "transports", self->transports, "outstanding",
        self->outstanding, "sizes", self->sizes, "runs", args->runs, "pins",
        args->pins, "clients", (json_int_t)args->clients, "services",
        (json_int_t)args->services, "workers", (json_int_t)args->workers,
        "rounds", (json_int_t)self->rounds, "rate", (json_int_t)args->rate,
        "seconds", self->seconds, "warm_seconds", self->warm_seconds,
        "authentication",
        args->user || args->plain_user || args->curve_cert ||
            (args->auths && gi_word_in(args->auths, "plain")));
}

json_t *gi_report_json(const gi_session_t *self) {
    json_t *results = json_array(), *references = json_array();
    for (size_t i = 0; i < self->results.n; i++) {
        const gi_result_t *r = self->results.items[i];
        json_array_append_new(r->is_reference ? references : results,
                              gi_result_json(r));
    }
    return json_pack("{s:o,s:o,s:o,s:o}", "machine", s_machine(), "settings",
                     s_settings(self), "results", results, "references",
                     references);
}

/* ---- the table ----------------------------------------------------------- */
static void s_number(double v, char *to, size_t size) {
    if (v >= 1e6)
        snprintf(to, size, "%.2f M", v / 1e6);
    else if (v >= 1e4)
        snprintf(to, size, "%.1f k", v / 1e3);
    else
        snprintf(to, size, v >= 100 ? "%.0f" : "%.2f", v);
}

static void s_name(const gi_result_t *r, char *to, size_t size) {
    char pin[16] = "free", runs[40] = "";
    if (r->pin >= 0)
        snprintf(pin, sizeof pin, "cpu %d", r->pin);
    if (!r->is_reference && strcmp(r->runs, "inline") != 0)
        snprintf(runs, sizeof runs, " %s", r->runs);
    if (strcmp(r->auth, "off") != 0)
        snprintf(runs + strlen(runs), sizeof runs - strlen(runs), " +%s",
                 r->auth);
    if (!r->is_reference && strcmp(r->wire, "packed") != 0)
        snprintf(runs + strlen(runs), sizeof runs - strlen(runs), " %s",
                 r->wire);
    snprintf(to, size, "%s%s%s%s %s %s%s%s", r->is_reference ? "  " : "",
             r->verb, *r->label ? " " : "", r->label, r->transport, pin,
             r->is_reference ? "  " : runs, r->is_reference ? r->system : "");
}

static void s_row(const gi_result_t *r) {
    char name[96], median[24], min[24], max[24], span[56];
    s_name(r, name, sizeof name);
    s_number(gi_result_median(r), median, sizeof median);
    s_number(gi_result_min(r), min, sizeof min);
    s_number(gi_result_max(r), max, sizeof max);
    snprintf(span, sizeof span, "%s..%s", min, max);
    printf("%-46s %6lld %8lld %9s %-7s %-19s", name, (long long)r->outstanding,
           (long long)r->size, median, r->unit, span);
    if (r->hist.n)
        printf(" %8.1f %8.1f %8.1f", (double)gi_hist_at(&r->hist, 0.5) / 1e3,
               (double)gi_hist_at(&r->hist, 0.99) / 1e3,
               (double)gi_hist_at(&r->hist, 0.999) / 1e3);
    else
        printf(" %8s %8s %8s", "-", "-", "-");
    printf(" %8.3f %7.1f", gi_result_cpu(r), (double)r->rss_kib / 1024);
    if (r->reference)
        printf("  %.2f (%.2f..%.2f) of %s", r->ratio, r->ratio_min,
               r->ratio_max, r->reference);
    if (r->broker_kib_per_client > 0)
        printf("  %.2f KiB a client", r->broker_kib_per_client);
    if (r->errors)
        printf("  %llu ERRORS", (unsigned long long)r->errors);
    printf("\n");
}

/* What the figures beside a ratio do not say. */
static void s_notes(const gi_session_t *self) {
    bool related = false;
    for (size_t i = 0; i < self->results.n; i++) {
        const gi_result_t *r = self->results.items[i];
        related |= r->reference != NULL;
        if (!r->is_reference || !gi_result_unsteady(r))
            continue;
        printf("unsteady: %s %s W=%lld: %.0f..%.0f %s from round to round: "
               "something else ran, do not trust what is held against it\n",
               r->system, r->transport, (long long)r->outstanding,
               gi_result_min(r), gi_result_max(r), r->unit);
    }
    if (related)
        printf(
            "ratio: the median (min..max) of the ratios of the rounds, whose "
            "figures are taken in turns; not that of the medians\n");
}

void gi_report_table(const gi_session_t *self) {
    printf("%-46s %6s %8s %9s %-7s %-19s %8s %8s %8s %8s %7s  %s\n", "what",
           "W", "bytes", "median", "", "min..max", "p50 us", "p99", "p99.9",
           "cpu/100k", "MiB", "ratio of the rounds");
    for (size_t i = 0; i < self->results.n; i++)
        s_row(self->results.items[i]);
    s_notes(self);
}
