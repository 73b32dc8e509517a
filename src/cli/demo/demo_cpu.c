/* SPDX-License-Identifier: BSD-3-Clause */
/* demo_cpu.c -- the demo service's methods for worker processes. */
#include "demo/demo.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* ---- fib ----------------------------------------------------------------- */

static uint64_t s_fib(int n) {
    return n < 2 ? (uint64_t)n : s_fib(n - 1) + s_fib(n - 2);
}

gate_err_t gi_demo_fib(gate_call_t *call) {
    int n;
    gate_err_t e = gate_args(call, gate_named("n", &n));
    if (e)
        return e;
    if (n < 0 || n > 93)
        return gate_raise(call, "ValueError", "n must be 0 .. 93");
    return gate_return(call, s_fib(n));
}

/* ---- sha256 -------------------------------------------------------------- */

/* 0, or the errno of the read that failed; -1: the digest failed. */
static int s_digest(int fd, EVP_MD_CTX *ctx, unsigned char *out,
                    unsigned *size) {
    unsigned char block[65536];
    ssize_t n;
    if (!EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
        return -1;
    while ((n = read(fd, block, sizeof block)) > 0)
        if (!EVP_DigestUpdate(ctx, block, (size_t)n))
            return -1;
    if (n < 0)
        return errno;
    return EVP_DigestFinal_ex(ctx, out, size) ? 0 : -1;
}

static gate_err_t s_sha256(gate_call_t *call, int fd, const char *path) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned size = 0;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int code = ctx ? s_digest(fd, ctx, digest, &size) : -1;
    EVP_MD_CTX_free(ctx);
    if (code > 0)
        return gi_demo_oserror(call, code, path);
    if (code < 0)
        return gate_raise(call, "RuntimeError", "no SHA-256 to be had");
    for (unsigned i = 0; i < size; i++)
        sprintf(hex + 2 * i, "%02x", digest[i]);
    return gate_return(call, (const char *)hex);
}

gate_err_t gi_demo_sha256(gate_call_t *call) {
    const char *path;
    gate_err_t e = gate_args(call, gate_named("path", &path));
    if (e)
        return e;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return gi_demo_oserror(call, errno, path);
    e = s_sha256(call, fd, path);
    close(fd);
    return e;
}

/* ---- spin, crash, pid ---------------------------------------------------- */

static int64_t s_cpu_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

gate_err_t gi_demo_spin(gate_call_t *call) {
    int64_t ms, start_ms = s_cpu_ms();
    gate_err_t e = gate_args(call, gate_named("ms", &ms));
    if (e)
        return e;
    while (s_cpu_ms() - start_ms < ms)
        if (gate_call_cancelled(call))
            return GATE_CANCELLED;
    return gate_return(call, ms);
}

gate_err_t gi_demo_crash(gate_call_t *call) {
    int sig = SIGKILL;
    gate_err_t e = gate_args(call, gate_kwopt("signal", &sig));
    if (e)
        return e;
    if (sig < 1 || sig > 64)
        return gate_raise(call, "ValueError", "signal must be 1 .. 64");
    signal(sig, SIG_DFL);
    kill(getpid(), sig);
    return gate_return(call, sig); /* it was one that does not kill */
}

gate_err_t gi_demo_pid(gate_call_t *call) {
    gate_err_t e = gate_no_args(call);
    return e ? e : gate_return(call, (int)getpid());
}
