/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_call.c -- gate call. Every call is opened as a stream: a plain result is then
 * its only item, so one loop prints both. */
#include "cli/cli.h"
#include "cli/interrupt.h"
#include "text/json_arg.h"
#include "text/json_read.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "text/clean.h"
#include "monitor/otlp.h"
#include "cli/progress.h"
#include "text/times.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const gi_usage_t s_usage = {
    "call [OPTION]... SERVICE.METHOD [ARG]... [--kw NAME=VALUE]...",
    "ARG and VALUE are JSON, or else plain strings; {\"$bin\": \"base64\"} is\n"
    "binary. Prints the result as one line of JSON, a stream one line an "
    "item."};

typedef struct s_args {
    gi_peer_t peer;
    gi_words_t words, kw, meta, files;
    int64_t timeout_ms; /* -1: reply_timeout */
    const char *export; /* where spans go; NULL: nowhere */
    bool raw, trace, json;
} s_args_t;

/* The arguments as the library wants them. */
typedef struct s_request {
    gate_arg_t *args;
    msgpack_sbuffer *packed; /* behind args, one each */
    char **names;            /* copies: of keyword arguments, of metadata */
    gate_huge_t **files;     /* what is in them is sent while it is read */
    gate_trace_t *trace;     /* NULL: not wanted */
    const char *above;       /* whose trace it goes on; NULL: nobody's */
    size_t n, n_names, n_files;
    size_t n_args; /* n, metadata, and two for the timeout and the trace */
} s_request_t;

static void s_request_fini(s_request_t *self) {
    for (size_t i = 0; i < self->n; i++)
        msgpack_sbuffer_destroy(&self->packed[i]);
    for (size_t i = 0; self->names && i < self->n_names; i++)
        free(self->names[i]);
    for (size_t i = 0; i < self->n_files; i++)
        gate_huge_destroy(&self->files[i]);
    gate_trace_destroy(&self->trace);
    free(self->files);
    free(self->args);
    free(self->packed);
    free(self->names);
}

static bool s_request_init(s_request_t *self, size_t n, size_t n_meta,
                           size_t n_files) {
    *self = (s_request_t){
        .args = calloc(n + n_meta + n_files + 2, sizeof *self->args),
        .files = calloc(n_files + 1, sizeof(gate_huge_t *)),
        .packed = calloc(n + 1, sizeof *self->packed),
        .names = calloc(n + n_meta + 1, sizeof *self->names),
    };
    return self->args && self->packed && self->names && self->files;
}

/* Adds word as an argument, by name unless that is NULL; 0 or 2. */
static int s_request_add(s_request_t *self, const char *word,
                         const char *name) {
    char why[128];
    size_t i = self->n++;
    msgpack_sbuffer_init(&self->packed[i]);
    if (!gi_json_pack(word, &self->packed[i], why, sizeof why))
        return gi_opts_fail(&s_usage, "'%s': %s", word, why);
    gate_arg_t v = gate_raw(self->packed[i].data, self->packed[i].size);
    self->args[self->n_args++] = name ? gate_kw_(name, v) : v;
    return 0;
}

/* Splits NAME=VALUE; 0 or 2. *name is kept here. */
static int s_request_split(s_request_t *self, const char *flag,
                           const char *pair, const char **name,
                           const char **value) {
    const char *equals = strchr(pair, '=');
    if (!equals || equals == pair)
        return gi_opts_fail(&s_usage, "--%s '%s' is not NAME=VALUE", flag,
                            pair);
    char *copy = strndup(pair, (size_t)(equals - pair));
    if (!copy)
        return gi_opts_fail(&s_usage, "no memory");
    *name = self->names[self->n_names++] = copy;
    *value = equals + 1;
    return 0;
}

/* 0, or 2: its name is another one's, or no text. */
static int s_request_check_kw(const s_request_t *self, const char *name) {
    if (!gi_json_text(name, strlen(name)))
        return gi_opts_fail(&s_usage, "--kw: a name that is not UTF-8");
    for (size_t i = 0; i < self->n_args; i++)
        if (self->args[i].kw && !strcmp(self->args[i].kw, name))
            return gi_opts_fail(&s_usage, "--kw %s comes twice", name);
    return 0;
}

static int s_request_add_kw(s_request_t *self, const char *pair) {
    const char *name, *value;
    int code = s_request_split(self, "kw", pair, &name, &value);
    if (!code)
        code = s_request_check_kw(self, name);
    return code ? code : s_request_add(self, value, name);
}

static int s_request_add_meta(s_request_t *self, const char *pair) {
    const char *name, *value;
    int code = s_request_split(self, "meta", pair, &name, &value);
    if (!code)
        self->args[self->n_args++] = gate_meta(name, value);
    return code;
}

/* A trace that --meta has goes on. */
static int s_request_add_trace(s_request_t *self) {
    for (size_t i = 0; i < self->n_args; i++)
        if (self->args[i].type == GATE_A_META && self->args[i].kw &&
            !strcmp(self->args[i].kw, "traceparent"))
            self->above = self->args[i].as.p;
    self->trace = gate_trace_new(self->above);
    if (!self->trace)
        return gi_opts_fail(&s_usage, "--meta %s", gate_error()->text);
    self->args[self->n_args++] = gate_trace_arg(self->trace);
    return 0;
}

/* ---- files -----------------------------------------------------------------
 * A pipe's end must be seen before its size can be said, so it goes to a
 * temporary file (TMPDIR, /tmp), which no name leads to. */
#define S_PIECE ((size_t)64 << 10)

static int s_temporary(void) {
    const char *dir = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/gate-XXXXXX", dir && *dir ? dir : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    else
        fprintf(stderr, "gate: %s: %s\n", path, strerror(errno));
    return fd;
}

static bool s_write(int fd, const char *p, size_t size) {
    while (size) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno != EINTR)
            return false;
        p += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* False after saying why. */
static bool s_copy_all(const char *path, int from, int to, int64_t max) {
    char piece[S_PIECE];
    int64_t left = max;
    for (;;) {
        ssize_t n = read(from, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || n > left || !s_write(to, piece, (size_t)n)) {
            if (n > left)
                fprintf(stderr, "gate: %s: more than huge_max_bytes = %lld\n",
                        path, (long long)max);
            else if (n)
                fprintf(stderr, "gate: %s%s: %s\n", path,
                        n > 0 ? ": its copy" : "", strerror(errno));
            return n == 0;
        }
        left -= n;
    }
}

/* The copy of all that from gives, at its beginning; -1. */
static int s_spool(const char *path, int from, int64_t max) {
    int to = s_temporary();
    if (to >= 0 && s_copy_all(path, from, to, max) &&
        lseek(to, 0, SEEK_SET) == 0)
        return to;
    if (to >= 0)
        close(to);
    return -1;
}

/* A descriptor of a regular file with what path (-: standard input) has: itself,
 * or of anything else a copy of all it gives, at most max bytes. -1 after
 * saying why. */
static int s_open(const char *path, int64_t max) {
    struct stat st;
    int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC)
                               : dup(STDIN_FILENO);
    if (fd < 0 || fstat(fd, &st)) {
        fprintf(stderr, "gate: %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    if (S_ISREG(st.st_mode))
        return fd;
    int copy = s_spool(path, fd, max);
    close(fd);
    return copy;
}

static int s_request_add_file(s_request_t *self, const char *path,
                              int64_t max) {
    int fd = s_open(path, max);
    if (fd < 0)
        return GI_EXIT_USAGE;
    gate_huge_t *huge = gate_huge_arg_fd(fd, NULL);
    if (!huge) {
        fprintf(stderr, "gate: %s: %s\n", path, gate_error()->text);
        return GI_EXIT_USAGE;
    }
    self->files[self->n_files++] = huge;
    self->args[self->n_args++] = gate_huge_arg(huge);
    return 0;
}

static int s_request_add_files(s_request_t *self, const s_args_t *args) {
    int64_t max;
    if (!args->files.n)
        return 0;
    GATE_OWN(gate_settings) settings = gi_peer_settings(args->peer.config);
    if (!settings || gate_settings_get(settings, "huge_max_bytes", &max))
        return GI_EXIT_USAGE;
    int code = 0;
    for (size_t i = 0; i < args->files.n && !code; i++)
        code = s_request_add_file(self, args->files.items[i], max);
    return code;
}

static int s_request_fill(s_request_t *self, const s_args_t *args) {
    int code = 0;
    if (!s_request_init(self, args->words.n + args->kw.n, args->meta.n,
                        args->files.n))
        return gi_opts_fail(&s_usage, "no memory");
    for (size_t i = 1; i < args->words.n && !code; i++)
        code = s_request_add(self, args->words.items[i], NULL);
    if (!code)
        code = s_request_add_files(self, args);
    for (size_t i = 0; i < args->kw.n && !code; i++)
        code = s_request_add_kw(self, args->kw.items[i]);
    for (size_t i = 0; i < args->meta.n && !code; i++)
        code = s_request_add_meta(self, args->meta.items[i]);
    if (args->timeout_ms >= 0)
        self->args[self->n_args++] = gate_timeout_ms(args->timeout_ms);
    return !code && (args->trace || args->export) ? s_request_add_trace(self)
                                                  : code;
}

/* ---- printing ------------------------------------------------------------ */

/* False when stdout does not take it: main says so. */
static bool s_print(const gate_value_t *item) {
    char *json = gate_object_json(gate_value_object(item));
    bool ok = json && puts(json) >= 0 && !fflush(stdout);
    if (!ok)
        gi_main_stdout_lost();
    free(json);
    return ok;
}

/* GATE_OK with the exit code, or why the call failed. */
static gate_err_t s_print_all(gate_stream_t *stream, int *code) {
    for (;;) {
        GATE_OWN(gate_value) item = NULL;
        gate_err_t e = gate_stream_next(stream, &item);
        if (e)
            return e == GATE_EOS ? GATE_OK : e;
        if (!s_print(item)) {
            *code = GI_EXIT_REMOTE;
            return GATE_OK;
        }
    }
}

/* ---- as bytes --------------------------------------------------------------
 * A str or bin goes to stdout as it comes, whatever its size. */
typedef struct s_copy {
    gate_stream_t *stream;
    gi_bar_t bar;
    bool refused; /* by stdout */
} s_copy_t;

static gate_err_t s_copy_piece(void *ctx, const void *data, size_t size) {
    s_copy_t *self = ctx;
    gate_progress_t progress;
    self->refused = fwrite(data, 1, size, stdout) != size;
    if (self->refused)
        gi_main_stdout_lost();
    gate_stream_progress(self->stream, &progress);
    gi_bar_show(&self->bar, &progress);
    return self->refused ? GATE_SYSTEM : GATE_OK;
}

static gate_err_t s_copy(gate_stream_t *stream, int *code) {
    s_copy_t self = {.stream = stream};
    gate_progress_t progress;
    gi_bar_begin(&self.bar);
    gate_err_t e = gate_stream_to_fn(stream, s_copy_piece, &self);
    gate_stream_progress(stream, &progress);
    gi_bar_end(&self.bar, &progress);
    if (!self.refused && !fflush(stdout))
        return e;
    gi_main_stdout_lost();
    *code = GI_EXIT_REMOTE;
    return GATE_OK;
}

static gate_err_t s_print_raw(gate_stream_t *stream, int *code) {
    gate_progress_t progress;
    size_t none = 0;
    gate_err_t e = gate_stream_read(stream, NULL, &none);
    if (e)
        return e == GATE_EOS ? GATE_OK : e;
    gate_stream_progress(stream, &progress);
    if (progress.kind == GATE_STREAM_ITEMS || !progress.content)
        return s_print_all(stream, code);
    return s_copy(stream, code);
}

enum { S_LOOK_MS = 50 };

/* Behind --wait: a broker that is up has its services a moment later. Whoever may
 * not ask for their names just calls. */
static void s_await_service(const gi_peer_t *peer, const char *method) {
    const char *dot = strrchr(method, '.');
    for (int64_t ms = 0; dot && ms < peer->wait_ms; ms += S_LOOK_MS) {
        GATE_OWN(gate_value) names = NULL;
        if (gate_client_services(peer->client, &names) ||
            gi_json_lists(gate_value_object(names), method,
                          (size_t)(dot - method)))
            return;
        nanosleep(&(struct timespec){.tv_nsec = S_LOOK_MS * 1000000}, NULL);
    }
}

/* What took too long is named: in a script's log nobody sees the command. */
static int s_fail(const char *method, gate_err_t e) {
    const char *text = gate_error()->text;
    if (e == GATE_TIMEOUT && !strstr(text, method)) {
        fprintf(stderr, "%s: %s: ", gate_error()->cls, method);
        gi_clean_put(stderr, text, strlen(text), true); /* a broker's words */
        fputc('\n', stderr);
        return GI_EXIT_GONE;
    }
    return gi_peer_fail(e, true);
}

static int s_call(s_args_t *args, const s_request_t *request) {
    int code = gi_peer_open(&args->peer);
    if (code)
        return code;
    s_await_service(&args->peer, args->words.items[0]);
    GATE_OWN(gate_stream) stream = NULL;
    gi_interrupt_hold();
    gate_err_t e = gate_client_open_(args->peer.client, args->words.items[0],
                                     &stream, request->args, request->n_args);
    if (e)
        return gi_peer_fail(e, false);
    gi_interrupt_begin(&args->peer.client);
    e = args->raw ? s_print_raw(stream, &code) : s_print_all(stream, &code);
    int interrupted = gi_interrupt_end();
    if (!interrupted && e)
        code = s_fail(args->words.items[0], e);
    if (!interrupted && args->trace)
        gi_times_print(request->trace, args->words.items[0], !e, args->json);
    if (!interrupted && args->export)
        gi_otlp_send(&(gi_otlp_t){request->trace, request->above,
                                  args->words.items[0],
                                  e ? gate_error()->cls : NULL},
                     args->export);
    return interrupted ? interrupted : code;
}

static int s_run(s_args_t *args) {
    s_request_t request = {0};
    if (!args->words.n || !*args->words.items[0])
        return gi_opts_fail(&s_usage, "call what?");
    if (args->json && !args->trace)
        return gi_opts_fail(&s_usage, "--json says how --trace is printed; a "
                                      "result is JSON by itself");
    const char *why;
    if (args->export && !gi_otlp_check(args->export, &why))
        return gi_opts_fail(&s_usage, "--export %s: %s", args->export, why);
    int code = gi_peer_check(&args->peer, &s_usage);
    if (code >= 0)
        return code;
    code = s_request_fill(&request, args);
    if (!code)
        code = s_call(args, &request);
    gi_peer_close(&args->peer);
    s_request_fini(&request);
    return code;
}

int gi_call_main(int argc, char **argv) {
    s_args_t args = {.timeout_ms = -1};
    const gi_opt_t table[] = {
        GI_PEER_OPTS(args.peer),
        {"timeout", GI_OPT_NUMBER, &args.timeout_ms, "MS",
         "wait so long for the result, or each item (reply_timeout)"},
        {"kw", GI_OPT_MANY, &args.kw, "NAME=VALUE",
         "a keyword argument; may be repeated"},
        {"file", GI_OPT_MANY, &args.files, "FILE",
         "its content (-: standard input's; pipes: all they give) as a binary "
         "argument behind the others"},
        {"meta", GI_OPT_MANY, &args.meta, "NAME=VALUE",
         "goes along with the call (traceparent, priority, ...)"},
        {"raw", GI_OPT_FLAG, &args.raw, NULL,
         "write a string or binary result as bytes, others as without it"},
        {"trace", GI_OPT_FLAG, &args.trace, NULL,
         "say behind the result, on standard error, where the time went"},
        {"export", GI_OPT_TEXT, &args.export, "WHERE",
         "spans of the call (OTLP, JSON) to a file, or http://HOST:PORT of a "
         "collector"},
        {"json", GI_OPT_FLAG, &args.json, NULL,
         "with --trace: as a line of JSON"},
        GI_OPT_END,
    };
    int code = gi_opts_parse(argc, argv, &s_usage, table, &args.words);
    if (code < 0)
        code = s_run(&args);
    gi_peer_forget(&args.peer.auth);
    gi_words_fini(&args.words);
    gi_words_fini(&args.kw);
    gi_words_fini(&args.meta);
    gi_words_fini(&args.files);
    return code;
}
