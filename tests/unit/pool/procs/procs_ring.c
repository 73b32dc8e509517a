/* SPDX-License-Identifier: BSD-3-Clause */
/* The response ring and its lane: the worker's writer and the parent's reader
 * as two threads over one memory, random payloads, against a model; and the
 * lane alone. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "shared/lane.h"
#include "shared/rsp_sum.h"
#include "base/mem.h"
#include "procs/procs_rsp.h"
#include "procs/worker.h"

static unsigned s_random(unsigned *state) {
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* ---- the lane against a list of runs ------------------------------------- */

Test(ring, lane_runs_never_overlap_and_never_wrap) {
    enum { SIZE = 4096, MAX = 64 };
    struct {
        uint64_t at, end;
    } runs[MAX];
    unsigned seed = 1, refused = 0;
    uint64_t tail = 0, freed = 0;
    int n = 0;
    for (int i = 0; i < 200000; i++) {
        if (s_random(&seed) % 2 && n < MAX) {
            size_t size = 1 + s_random(&seed) % 1500;
            uint64_t at;
            if (!gi_lane_take(SIZE, &tail, freed, size, &at)) {
                refused++;
                continue;
            }
            cr_assert_leq(at % SIZE + size, SIZE);
            for (int k = 0; k < n; k++) {
                uint64_t a = runs[k].at % SIZE, b = at % SIZE;
                uint64_t a_end = a + (runs[k].end - runs[k].at);
                cr_assert(b >= a_end || b + size <= a);
            }
            runs[n].at = at;
            runs[n++].end = tail;
        } else if (n > 0) {
            freed = runs[0].end;
            memmove(runs, runs + 1, (size_t)--n * sizeof *runs);
        }
        if (n == 0) {
            uint64_t at, t = tail;
            cr_assert(gi_lane_take(SIZE, &t, tail, SIZE / 2, &at));
        }
    }
    cr_assert_gt(refused, 1000);
}

/* ---- writer and reader --------------------------------------------------- */

#define N 30000

static gi_worker_t s_writer;

static size_t s_size(unsigned i) {
    unsigned seed = i * 2654435761u;
    unsigned r = s_random(&seed);
    return r % 16 == 0  ? s_random(&seed) % 300000
           : r % 4 == 0 ? s_random(&seed) % 5000
                        : s_random(&seed) % 110;
}

static void *s_write(void *arg) {
    unsigned char *data = malloc(300000);
    for (unsigned i = 0; i < N; i++) {
        size_t size = s_size(i);
        memset(data, (int)i, size);
        s_writer.id = i;
        gi_worker_respond(&s_writer, GI_RSP_ITEM, data, size);
        s_writer.req_head++;
    }
    gi_worker_ring(&s_writer);
    free(data);
    return arg;
}

Test(ring, what_goes_in_comes_out) {
    static gi_rsp_reader_t reader;
    pthread_t thread;
    gi_shm_t shm;
    cr_assert_eq(gi_shm_new(&shm, 32, 512 << 10), GATE_OK);
    s_writer.shm = shm;
    s_writer.bell_fd = eventfd(0, 0);
    gi_rsp_reset(&reader, &shm, NULL, 1 << 20);
    pthread_create(&thread, NULL, s_write, NULL);
    unsigned next = 0;
    while (next < N) {
        gi_rsp_read(&reader);
        cr_assert_null(reader.lie, "%s", reader.lie);
        for (size_t i = 0; i < reader.n; i++, next++) {
            const gi_rsp_rec_t *rec = &reader.recs[i];
            cr_assert_eq(rec->id, next);
            cr_assert_eq(rec->size, s_size(next));
            for (size_t k = 0; k < rec->size; k += 97)
                cr_assert_eq(rec->data[k], (unsigned char)next);
        }
    }
    pthread_join(thread, NULL);
    close(s_writer.bell_fd);
    gi_rsp_fini(&reader);
    gi_shm_fini(&shm);
}

static void *s_write_two(void *arg) {
    static unsigned char large[600 << 10], small[3];
    memset(large, 7, sizeof large);
    memset(small, 8, sizeof small);
    s_writer.id = 1;
    gi_worker_respond(&s_writer, GI_RSP_DONE, large, sizeof large);
    s_writer.id = 2;
    gi_worker_respond(&s_writer, GI_RSP_DONE, small, sizeof small);
    gi_worker_ring(&s_writer);
    return arg;
}

/* The next record of so many bytes. */
static const gi_rsp_rec_t *s_next(gi_rsp_reader_t *reader, size_t size) {
    do {
        gi_rsp_read(reader);
        cr_assert_null(reader->lie, "%s", reader->lie);
    } while (reader->n == 0);
    cr_assert_eq(reader->n, 1);
    cr_assert_eq(reader->recs[0].size, size);
    return &reader->recs[0];
}

Test(ring, what_came_in_chunks_can_be_taken, .timeout = 60) {
    static gi_rsp_reader_t reader;
    pthread_t thread;
    gi_shm_t shm;
    size_t size = 600 << 10;
    cr_assert_eq(gi_shm_new(&shm, 32, 512 << 10), GATE_OK);
    memset(&s_writer, 0, sizeof s_writer);
    s_writer.shm = shm;
    s_writer.bell_fd = eventfd(0, 0);
    gi_rsp_reset(&reader, &shm, NULL, 1 << 20);
    pthread_create(&thread, NULL, s_write_two, NULL);
    const gi_rsp_rec_t *rec = s_next(&reader, size);
    unsigned char *whole = gi_rsp_take(&reader, rec);
    cr_assert_not_null(whole);
    rec = s_next(&reader, 3); /* the reader goes on; what was taken stays */
    cr_assert_null(gi_rsp_take(&reader, rec), "it came in one");
    cr_assert_eq(rec->data[0], 8);
    for (size_t i = 0; i < size; i++)
        cr_assert_eq(whole[i], 7);
    gi_mem_free(whole);
    pthread_join(thread, NULL);
    close(s_writer.bell_fd);
    gi_rsp_fini(&reader);
    gi_shm_fini(&shm);
}

/* What a job writes over an answer that was not read yet is seen. */
Test(ring, no_changed_byte_is_believed) {
    static gi_rsp_reader_t reader;
    static const unsigned char data[40] = {1, 2, 3};
    gi_shm_t shm;
    cr_assert_eq(gi_shm_new(&shm, 32, 512 << 10), GATE_OK);
    memset(&s_writer, 0, sizeof s_writer);
    s_writer.shm = shm;
    s_writer.bell_fd = eventfd(0, 0);
    s_writer.id = 77;
    gi_worker_respond(&s_writer, GI_RSP_DONE, data, sizeof data);
    shm.rsp[0].run_ns = 1; /* one that is the same each time */
    shm.rsp[0].sum = gi_rsp_sum(&shm.rsp[0]);
    unsigned char *cell = (unsigned char *)&shm.rsp[0];
    size_t n = offsetof(gi_rsp_cell_t, data) + sizeof data;
    for (size_t i = 0; i <= n; i++) { /* the last time as it was */
        if (i < n)
            cell[i] ^= 0xff;
        gi_rsp_reset(&reader, &shm, NULL, 1 << 20);
        gi_rsp_read(&reader);
        cr_assert_eq(reader.lie == NULL, i == n, "byte %zu", i);
        if (i < n)
            cell[i] ^= 0xff;
    }
    cr_assert_eq(reader.n, 1);
    close(s_writer.bell_fd);
    gi_rsp_fini(&reader);
    gi_shm_fini(&shm);
}

/* ---- errors -------------------------------------------------------------- */

Test(ring, errors_survive_the_way) {
    unsigned char out[16384];
    char *text = malloc(40000);
    memset(text, 'x', 39999);
    text[39999] = 0;
    gate_error_t in = {GATE_RAISED, "ValueError", "text", text}, back;
    size_t n = gi_shm_error_pack(&in, out, sizeof out);
    cr_assert_leq(n, sizeof out);
    cr_assert(gi_shm_error_read(out, n, &back));
    cr_assert_str_eq(back.cls, "ValueError");
    cr_assert_str_eq(back.text, "text");
    cr_assert_gt(strlen(back.traceback), 16000);
    for (size_t cut = 0; cut < 60; cut++)
        gi_shm_error_read(out, cut, &back);
    in.traceback = "";
    n = gi_shm_error_pack(&in, out, sizeof out);
    for (size_t cut = 0; cut < n; cut++)
        cr_assert_not(gi_shm_error_read(out, cut, &back), "%zu", cut);
    free(text);
}
