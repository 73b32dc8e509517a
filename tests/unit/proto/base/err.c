/* SPDX-License-Identifier: BSD-3-Clause */
#include "faults.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

Test(err, starts_without_a_story) {
    const gate_error_t *e = gate_error();
    cr_assert_eq(e->code, GATE_OK);
    cr_assert_str_eq(e->cls, "");
    cr_assert_str_eq(e->text, "");
    cr_assert_str_eq(e->traceback, "");
}

Test(err, class_comes_from_the_code) {
    cr_assert_eq(gi_err(GATE_BUSY, "queue of %s", "Demo"), GATE_BUSY);
    cr_assert_str_eq(gate_error()->cls, "BusyWorkerError");
    cr_assert_str_eq(gate_error()->text, "queue of Demo");
    gi_err_story(GATE_RAISED, "KeyError", "k", "tb");
    cr_assert_str_eq(gate_error()->cls, "KeyError");
    cr_assert_str_eq(gate_error()->traceback, "tb");
}

Test(err, errno_is_told_and_enomem_is_nomem) {
    errno = ENOENT;
    cr_assert_eq(gi_err_errno("open %s", "x"), GATE_SYSTEM);
    cr_assert_str_eq(gate_error()->text, "open x: No such file or directory");
    errno = ENOMEM;
    cr_assert_eq(gi_err_errno("mmap"), GATE_NOMEM);
}

/* What a user can raise is named, with what it is. */
Test(err, a_limit_is_told_with_its_value) {
    struct rlimit few = {64, 64}, room = {UINT64_C(1) << 46, UINT64_C(1) << 46};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    errno = EMFILE;
    cr_assert_eq(gi_err_errno("open"), GATE_SYSTEM);
    cr_assert_str_eq(gate_error()->text,
                     "open: Too many open files (ulimit -n is 64: raise it, "
                     "1024 is usual)");
    errno = ENFILE;
    cr_assert_eq(gi_err_errno("open"), GATE_SYSTEM);
    cr_assert(strstr(gate_error()->text, "fs.file-max"));
    if (setrlimit(RLIMIT_AS, &room))
        return;
    errno = ENOMEM;
    cr_assert_eq(gi_err_errno("mmap"), GATE_NOMEM);
    cr_assert(strstr(gate_error()->text, "(ulimit -v is 68719476736 KiB)"));
}

Test(err, a_story_may_be_made_of_the_last_one) {
    char big[5001];
    memset(big, 'a', 5000);
    big[5000] = '\0';
    for (int i = 0; i < 4; i++) {
        gi_err_story(GATE_RAISED, "A", big, "t");
        cr_assert_eq(strlen(gate_error()->text), 5000);
        gi_err_story(GATE_BUSY, gate_error()->text, gate_error()->cls, "u");
        cr_assert_eq(strlen(gate_error()->cls), 5000);
        cr_assert_str_eq(gate_error()->text, "A");
        gi_err_story(GATE_LOST, NULL, gate_error()->text, NULL);
        gi_err(GATE_LOST, "%s!", gate_error()->text);
        cr_assert_str_eq(gate_error()->text, "A!");
    }
}

Test(err, no_memory_cuts_strings_but_not_the_code) {
    char big[5001];
    memset(big, 'a', 5000);
    big[5000] = '\0';
    gi_mem_fail_at(1, true);
    gi_err_story(GATE_REFUSED, NULL, big, big);
    cr_assert_eq(gate_error()->code, GATE_REFUSED);
    cr_assert_str_eq(gate_error()->cls, "AccessDeniedError");
    cr_assert_gt(strlen(gate_error()->text), 900);
    gi_error_t own;
    gi_error_init(&own);
    gi_error_set(&own, gate_error());
    gi_mem_fail_at(0, false);
    cr_assert_eq(own.story.code, GATE_REFUSED);
    cr_assert_str_eq(own.story.cls, "AccessDeniedError");
    gi_error_fini(&own);
}

static void *s_other_thread(void *ctx) {
    char *big = ctx;
    cr_assert_eq(gate_error()->code, GATE_OK);
    gi_err_story(GATE_TOOBIG, NULL, big, NULL);
    return NULL;
}

/* The thread's long story is freed with the thread: leaks show under ASan. */
Test(err, stories_belong_to_threads) {
    char big[5001];
    pthread_t thread;
    memset(big, 'a', 5000);
    big[5000] = '\0';
    gi_err(GATE_BUSY, "mine");
    cr_assert_eq(pthread_create(&thread, NULL, s_other_thread, big), 0);
    pthread_join(thread, NULL);
    cr_assert_eq(gate_error()->code, GATE_BUSY);
    cr_assert_str_eq(gate_error()->text, "mine");
}

Test(err, owned_errors_copy) {
    gi_error_t a;
    gi_error_init(&a);
    gi_error_story(&a, GATE_TIMEOUT, NULL, "t", NULL);
    gi_error_set(&a, &a.story); /* of itself */
    gi_err(GATE_BUSY, "other");
    cr_assert_eq(gi_error_publish(&a), GATE_TIMEOUT);
    cr_assert_str_eq(gate_error()->cls, "TimeoutError");
    cr_assert_str_eq(gate_error()->text, "t");
    gi_error_fini(&a);
    cr_assert_str_eq(a.story.text, "");
    gi_error_t zeroed = {0};
    gi_error_set(&zeroed, gate_error());
    cr_assert_str_eq(zeroed.story.text, "t");
    gi_error_fini(&zeroed);
}

Test(err, classes_of_peers) {
    static const struct {
        const char *cls;
        gate_err_t code;
    } rows[] = {{"ServiceUnAvailableError", GATE_NOSERVICE},
                {"GateUnAvailableError", GATE_NOSERVICE},
                {"BusyWorkerError", GATE_BUSY},
                {"BusyGateError", GATE_BUSY},
                {"ConnectionLostError", GATE_LOST},
                {"WorkerLostError", GATE_WORKERLOST},
                {"AccessDeniedError", GATE_REFUSED},
                {"AttributeError", GATE_NOMETHOD},
                {"NotImplementedError", GATE_NOTIMPL},
                {"CancelledError", GATE_CANCELLED},
                {"TypeError", GATE_RAISED},
                {"TimeoutError", GATE_RAISED},
                {"", GATE_RAISED}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq(gi_err_of_class(rows[i].cls), rows[i].code, "%s",
                     rows[i].cls);
}

Test(err, codes_have_names_texts_and_exits) {
    for (int e = 0; e < GATE_ERR_COUNT; e++) {
        cr_assert(*gate_err_name((gate_err_t)e));
        cr_assert(*gate_err_text((gate_err_t)e));
        cr_assert(gate_exit_code((gate_err_t)e) <= 4);
    }
    cr_assert_str_eq(gate_err_name(GATE_TIMEOUT), "TIMEOUT");
    cr_assert_eq(gate_exit_code(GATE_REFUSED), 4);
    cr_assert_str_eq(gate_err_name((gate_err_t)999), "UNKNOWN");
    cr_assert_str_eq(gate_version(), GATE_VERSION);
}
