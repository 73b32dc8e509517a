/* SPDX-License-Identifier: BSD-3-Clause */
/* huge.h -- results too large for one frame: compressed, streamed in chunks,
 * in bounded memory. */
#ifndef GATERPC_HUGE_H
#define GATERPC_HUGE_H

#include <gaterpc/call.h>
#include <gaterpc/stream.h>

GATE_BEGIN_DECLS

/* A codec of your own. step consumes from *in (advancing it) and fills out,
 * *out_size in: room, out: bytes written; finish: no more input follows. It
 * returns GATE_OK while there is more to do, GATE_EOS at the end of the stream
 * (compressing: once finish was said and all input is taken), else why it
 * failed, which is the call's error: gate_codec_error says it in words.
 * Thread: one object at a time each; calls' blocks are compressed on threads of
 * the library, which a step that waits for something would hold up. What makes
 * more than 16 times what it was given, beyond 1 MiB, is ended by an error. */
typedef struct gate_codec {
    const char *name;
    void *(*open)(bool compress, int level); /* NULL: no memory */
    void (*close)(void *self);
    gate_err_t (*step)(void *self, gate_bytes_t *in, void *out,
                       size_t *out_size, bool finish);
} gate_codec_t;

/* Keeps. Before anything uses it, and before the fork where workers must know
 * it. GATE_BADARG when the name is taken or a function is missing. */
GATE_API gate_err_t gate_codec_register(const gate_codec_t *codec) GATE_MUST;

/* For a step: "what is wrong" is what whoever uses the codec is told. Returns
 * code. */
GATE_API gate_err_t gate_codec_error(gate_err_t code, const char *fmt, ...)
    GATE_PRINTF(2, 3);

/* ---- as a method's result ------------------------------------------------ */
/* A huge result is sent compressed and in chunks while it is being made, in
 * memory that does not depend on its size. Its caller gets one value, as from
 * gate_return, or reads it piece by piece (stream.h). What is put is the
 * content of one bin or str, whose size msgpack wants to know first, or msgpack
 * bytes that you made. Results of gate_return that are large enough are sent so
 * by themselves (huge_threshold). Limits of a value that is given whole:
 * huge_max_bytes of content for each str and bin, msgpack_array_max,
 * _map_max and _objects_max as in any other. */
typedef enum gate_huge_kind {
    GATE_HUGE_BIN,   /* size bytes of a bin */
    GATE_HUGE_STR,   /* size bytes of a str (valid UTF-8 is up to you) */
    GATE_HUGE_PACKED /* the msgpack bytes of exactly one value, of any size */
} gate_huge_kind_t;

/* A zeroed one is a bin. codec and level: NULL and 0 = the settings
 * huge_data_compress_module and _level. A codec that the caller does not read
 * fails the call: a caller that announces nothing (Python's) reads the one of
 * the setting, and so must be configured alike. */
typedef struct gate_huge_options {
    const char *codec;
    int level;
    gate_huge_kind_t kind;
    uint64_t size; /* bytes that will be put; GATE_HUGE_PACKED: 0 = not known */
} gate_huge_options_t;

/* The call's result is a huge one: gives what to feed it by. NULL with
 * gate_error() set: GATE_BADARG (another answer was begun), GATE_NOTIMPL (a job
 * that no method of a service runs). A handler may feed and end it and return
 * GATE_OK, or return GATE_KEPT and leave that to another thread; in a worker
 * process or a pool job only the handler itself. */
GATE_API gate_huge_t *gate_huge_new(gate_call_t *call,
                                    const gate_huge_options_t *options);
/* Copies. Waits while the reader is behind (so not in inline handlers:
 * GATE_WOULDBLOCK when it would). GATE_CANCELLED: nobody reads it any more;
 * GATE_BADARG: beyond the size announced. Thread: any, one at a time. */
GATE_API gate_err_t gate_huge_put(gate_huge_t *self, const void *data,
                                  size_t size) GATE_MUST;
/* What was put so far goes out now, in a chunk that is not full; without it
 * that is so once nothing went out for half a second, so that the reader of a
 * slow producer has its bytes and does not think it dead. Waits as put does.
 * Each flush costs some bytes. gzip, zstd, lzma and lz4 give all that was put,
 * bz2 all but its last 31 bits, a codec of one's own what it has made by then.
 * A local reader has each piece as it was put anyway. */
GATE_API gate_err_t gate_huge_flush(gate_huge_t *self) GATE_MUST;
/* That was all; takes. GATE_BADARG when bytes of the size announced are
 * missing: then the call has failed. */
GATE_API gate_err_t gate_huge_end(gate_huge_t **self_p) GATE_MUST;
/* Ends the call with an exception, however much went out; takes. */
GATE_API void gate_huge_fail(gate_huge_t **self_p, const char *cls,
                             const char *text);
/* The same for one that was not ended: what put failed with, else RuntimeError.
 */
GATE_API void gate_huge_destroy(gate_huge_t **self_p);
/* The whole at once: keeps data until release(data), which may be NULL, on any
 * thread. options->size is not looked at. Gives what the handler must return.
 */
GATE_API gate_err_t gate_huge_data(gate_call_t *call, const void *data,
                                   size_t size, void (*release)(void *data),
                                   const gate_huge_options_t *options);
/* What fd has, from its position on; takes fd. A regular file's size is found
 * out: it is sent as large as it is then, whatever it grows by later, and
 * fails if it shrinks; one of 64 KiB or less is read to its end at once, since
 * those of /proc and /sys do not say what they have. Of a pipe or socket
 * options->size must say it, unless GATE_HUGE_PACKED. Gives what the handler
 * must return. */
GATE_API gate_err_t gate_huge_fd(gate_call_t *call, int fd,
                                 const gate_huge_options_t *options);

/* ---- as an argument of a client's call ----------------------------------- */
/* Made by one of these three, it stands in an argument list, by position or by
 * gate_kw, of one call. What the broker and the service take as one message
 * goes as one where it is at hand (memory, a regular file); else it is sent in
 * chunks as the service asks for them, and the client keeps no more of it than
 * those under way. Its service gets a value, of huge_max_bytes at most (bytes
 * of its content), and has four times that for all that arrive at a time: who
 * comes when they are taken waits for the service's reply_timeout, then gets
 * BusyWorkerError, as does who keeps others waiting and sends next to nothing
 * for a heartbeat. A worker of Python's takes plain arguments only: ValueError.
 * In a runtime without a broker only what is at hand can be given. NULL with gate_error()
 * set. Of several in a call each is asked for when those before it were sent:
 * the codec is that of the first. */
/* To be fed: start the call, then gate_huge_put (from any thread, and without a
 * break of the service's reply_timeout; gate_huge_flush) and gate_huge_end; gate_huge_fail ends
 * the call. put is GATE_CANCELLED when the call has ended. */
GATE_API gate_huge_t *gate_huge_arg_new(const gate_huge_options_t *options);
/* Keeps data until release(data), which may be NULL, on any thread. */
GATE_API gate_huge_t *gate_huge_arg_data(const void *data, size_t size,
                                         void (*release)(void *data),
                                         const gate_huge_options_t *options);
/* Takes fd; what it has from its position on, as with gate_huge_fd. Of a pipe
 * or socket options->size must say how much. */
GATE_API gate_huge_t *gate_huge_arg_fd(int fd,
                                       const gate_huge_options_t *options);
/* The argument: gate_huge_arg(huge), or just huge. Destroy the latter two once
 * the call was started; the first when it is not ended. */

/* ---- alone: no RPC, no runtime ------------------------------------------- */
/* Compresses the whole of in, on pool when given (parallel where the codec
 * can; worker processes know gzip alone), and here where no worker comes; *out is given, free() it. NULL codec = gzip, level 0 = the
 * default. */
GATE_API gate_err_t gate_compress(gate_pool_t *pool, const char *codec,
                                  int level, gate_bytes_t in, void **out,
                                  size_t *out_size) GATE_MUST;
/* Decompresses; GATE_TOOBIG beyond max_bytes (checked while inflating). Reads
 * what the formats' tools write: several streams in a row (gzip members, bzip2
 * and xz streams, zstd and lz4 frames, skippable ones too) are one result, and
 * zeros may pad gzip's last and, in fours, xz's; anything else behind a stream
 * is GATE_BADDATA, as what a call's sender adds to its one stream is. */
GATE_API gate_err_t gate_decompress(const char *codec, gate_bytes_t in,
                                    size_t max_bytes, void **out,
                                    size_t *out_size) GATE_MUST;

GATE_END_DECLS

#endif
