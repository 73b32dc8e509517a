/* SPDX-License-Identifier: BSD-3-Clause */
/* fragile.c -- a module whose handlers take their own process with them, for
 * test_supervise.py. Its name is not in use elsewhere. */
#include <gaterpc.h>
#include <signal.h>
#include <unistd.h>

static gate_err_t pid(gate_call_t *call) {
    gate_err_t e = gate_no_args(call);
    return e ? e : gate_return(call, (int)getpid());
}

static gate_err_t crash(gate_call_t *call) {
    int number = 0;
    gate_err_t e = gate_args(call, &number);
    if (e)
        return e;
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    signal(number, SIG_DFL); /* a sanitizer's handler would only exit */
    pthread_sigmask(SIG_UNBLOCK, &only, NULL);
    raise(number);
    return gate_return(call, number);
}

static gate_err_t leave(gate_call_t *call) {
    int code = 0;
    gate_err_t e = gate_args(call, &code);
    if (e)
        return e;
    _exit(code);
}

static const gate_method_t methods[] = {
    GATE_METHOD(pid),
    GATE_METHOD(crash, .runs = GATE_THREAD),
    {.name = "crash_inline", .fn = crash},
    GATE_METHOD(leave),
    {.name = "pid_process", .fn = pid, .runs = GATE_PROCESS},
    GATE_END,
};

static gate_err_t init(gate_runtime_t *runtime, gate_service_t *service) {
    (void)runtime;
    gate_service_methods(service, methods, NULL);
    return GATE_OK;
}

static const gate_module_t module = {.abi = GATE_MODULE_ABI,
                                     .name = "Fragile",
                                     .description = "dies when it is told to",
                                     .init = init};

GATE_MODULE_EXPORT const gate_module_t *gate_module(void);
const gate_module_t *gate_module(void) { return &module; }
