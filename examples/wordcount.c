/* SPDX-License-Identifier: BSD-3-Clause */
/* wordcount.c -- one call per file, many outstanding, from one thread.
 *   wordcount BROKER METHOD WINDOW < NUL-separated-paths
 * METHOD(path) gives [lines, words, bytes]: they are added up; or a string (a
 * digest): it is printed as sha256sum does. The last line of stdout has the
 * sums, stderr the speed. Exit code 1 when any call failed. */
#include <gaterpc.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct job job_t;
typedef struct count {
    job_t *jobs;
    size_t n, done, failed;
    uint64_t lines, words, bytes;
} count_t;

struct job {
    count_t *count;
    char *path;
    char *digest;
    double start_s, took_s;
};

static double now_s(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void finished(void *ctx, gate_err_t e, const gate_value_t *value) {
    job_t *job = ctx;
    count_t *count = job->count;
    uint64_t lines, words, bytes;
    job->took_s = now_s() - job->start_s;
    count->done++;
    if (e) {
        fprintf(stderr, "%s: %s\n", job->path, gate_error()->text);
        count->failed++;
    } else if (gate_value_read(value, "", &job->digest) == GATE_OK) {
        return;
    } else if (gate_value_read(value, "0", &lines) ||
               gate_value_read(value, "1", &words) ||
               gate_value_read(value, "2", &bytes)) {
        fprintf(stderr, "%s: no such result was expected\n", job->path);
        count->failed++;
    } else {
        count->lines += lines;
        count->words += words;
        count->bytes += bytes;
    }
}

static bool read_paths(count_t *count) {
    char *path = NULL;
    size_t room = 0;
    while (getdelim(&path, &room, 0, stdin) > 0) {
        job_t *more = realloc(count->jobs, (count->n + 1) * sizeof *more);
        if (!more)
            return false;
        count->jobs = more;
        more[count->n++] = (job_t){.count = count, .path = path};
        path = NULL;
        room = 0;
    }
    free(path);
    return true;
}

static int slower(const void *a, const void *b) {
    double x = ((const job_t *)a)->took_s, y = ((const job_t *)b)->took_s;
    return (x > y) - (x < y);
}

static void report(count_t *count, double took_s) {
    for (size_t i = 0; i < count->n; i++)
        if (count->jobs[i].digest)
            printf("%s  %s\n", count->jobs[i].digest, count->jobs[i].path);
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", count->lines, count->words,
           count->bytes);
    if (!count->n)
        return;
    qsort(count->jobs, count->n, sizeof *count->jobs, slower);
    fprintf(stderr,
            "%zu calls in %.2f s: %.0f calls/s, p50 %.2f ms, p99 %.2f "
            "ms, %zu failed\n",
            count->n, took_s, (double)count->n / took_s,
            count->jobs[count->n / 2].took_s * 1e3,
            count->jobs[count->n * 99 / 100].took_s * 1e3, count->failed);
}

static int run(count_t *count, const char *broker, const char *method,
               size_t window) {
    GATE_OWN(gate_runtime) rt = gate_runtime_new(NULL);
    GATE_OWN(gate_client) client = gate_client_new(rt);
    GATE_OWN(gate_cq) cq = gate_cq_new();
    if (gate_client_connect(client, broker) || gate_client_ready(client, 3000))
        return gate_perror(broker);
    double start_s = now_s();
    size_t started = 0;
    while (count->done < count->n) {
        while (started < count->n && started - count->done < window) {
            job_t *job = &count->jobs[started++];
            job->start_s = now_s();
            gate_future_t *f =
                gate_client_start(client, method, (const char *)job->path);
            gate_future_then(&f, cq, finished, job);
        }
        gate_cq_wait(cq, window, -1); /* each call has a deadline: no hang */
    }
    report(count, now_s() - start_s);
    return count->failed ? 1 : 0;
}

int main(int argc, char **argv) {
    count_t count = {0};
    if (argc != 4 || atoi(argv[3]) < 1 || !read_paths(&count)) {
        fprintf(stderr, "usage: wordcount BROKER METHOD WINDOW < paths\n");
        return 2;
    }
    int code = run(&count, argv[1], argv[2], (size_t)atoi(argv[3]));
    for (size_t i = 0; i < count.n; i++) {
        free(count.jobs[i].path);
        free(count.jobs[i].digest);
    }
    free(count.jobs);
    return code;
}
