/* SPDX-License-Identifier: BSD-3-Clause */
/* compare.c -- a result is worse when its rate fell by more than the tolerance
 * and so did its ratio to the reference, if both reports have one: a slower
 * machine alone moves the reference as well. */
#include "bench/report.h"

#include <stdio.h>
#include <string.h>

static const char *const s_keys[] = {
    "verb",     "system",  "transport", "runs",  "label", "outstanding", "size",
    "services", "workers", "clients",   "crowd", "rate",  "pin"};

/* What older reports do not tell was so. */
static bool s_alike(const json_t *a, const json_t *b, const char *key,
                    const char *usual) {
    const char *one = json_string_value(json_object_get(a, key));
    const char *other = json_string_value(json_object_get(b, key));
    return !strcmp(one ? one : usual, other ? other : usual);
}

static bool s_same(const json_t *a, const json_t *b) {
    if (!s_alike(a, b, "auth", "off") || !s_alike(a, b, "wire", "packed"))
        return false;
    for (size_t i = 0; i < sizeof s_keys / sizeof *s_keys; i++)
        if (!json_equal(json_object_get(a, s_keys[i]),
                        json_object_get(b, s_keys[i])))
            return false;
    return true;
}

static const json_t *s_find(const json_t *list, const json_t *like) {
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) if (s_same(one, like)) return one;
    return NULL;
}

static double s_number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static double s_ratio(const json_t *o) {
    return s_number(json_object_get(o, "to_reference"), "rate");
}

static double s_change(double now, double before) {
    return before > 0 ? (now / before - 1) * 100 : 0;
}

static bool s_line(const json_t *now, const json_t *before, double percent) {
    double rate = s_change(s_number(now, "median"), s_number(before, "median"));
    double ratio = s_change(s_ratio(now), s_ratio(before));
    bool related = s_ratio(now) > 0 && s_ratio(before) > 0;
    bool worse = rate < -percent && (!related || ratio < -percent);
    fprintf(stderr, "%-9s %-9s %-8s %-7s %-6s W=%-5lld %6lld B %+7.1f %%",
            json_string_value(json_object_get(now, "verb")),
            json_string_value(json_object_get(now, "transport")),
            json_string_value(json_object_get(now, "runs")),
            json_string_value(json_object_get(now, "label")),
            json_is_string(json_object_get(now, "pin")) ? "free" : "pinned",
            (long long)s_number(now, "outstanding"),
            (long long)s_number(now, "size"), rate);
    if (related)
        fprintf(stderr, ", ratio %+7.1f %%", ratio);
    fprintf(stderr, "%s\n", worse ? "  WORSE" : "");
    return worse;
}

int gi_report_compare(const json_t *now, const char *file, int64_t percent) {
    json_error_t error;
    json_t *old = json_load_file(file, 0, &error), *one;
    const json_t *before = json_object_get(old, "results");
    int n_worse = 0, n_same = 0;
    size_t i;
    if (!json_is_array(before)) {
        fprintf(stderr, "gate: %s: %s\n", file,
                old ? "no results in it" : error.text);
        json_decref(old);
        return -1;
    }
    json_array_foreach(json_object_get(now, "results"), i, one) {
        const json_t *match = s_find(before, one);
        n_same += match != NULL;
        n_worse += match && s_line(one, match, (double)percent);
    }
    fprintf(stderr, "%d results compared, %d worse by more than %lld %%\n",
            n_same, n_worse, (long long)percent);
    json_decref(old);
    return n_same ? n_worse : -1;
}
