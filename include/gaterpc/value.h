/* SPDX-License-Identifier: BSD-3-Clause */
/* value.h -- arguments going in, values coming out, typed by the compiler.
 *
 * gate_arg_t is one argument (it lives as long as what it borrows), gate_slot_t
 * one place for a decoded value, gate_value_t a decoded msgpack value of its
 * own. GATE_ARG(x) and GATE_SLOT(&x) make the first two from any C type that
 * fits; anything else does not compile.
 * Thread: values are immutable; each is one thread's at a time. */
#ifndef GATERPC_VALUE_H
#define GATERPC_VALUE_H

#include <gaterpc/error.h>
#include <msgpack.h>

GATE_BEGIN_DECLS

/* ---- arguments ----------------------------------------------------------- */
/* What an argument is, and how the rest of gate_arg_t says it. */
typedef enum gate_arg_type {
    GATE_A_NIL,
    GATE_A_BOOL,
    GATE_A_INT,
    GATE_A_UINT,
    GATE_A_F64,
    GATE_A_STR,     /* as.p, n bytes */
    GATE_A_BIN,     /* as.p, n bytes */
    GATE_A_LIST,    /* as.p, gate_arg_t; the low 32 bits of n: how many */
    GATE_A_MAP,     /* the same, each with kw */
    GATE_A_OBJ,     /* as.p, a msgpack_object */
    GATE_A_RAW,     /* as.p, n bytes of msgpack: exactly one value */
    GATE_A_EXT,     /* as.p, handed to the prepare_pack hook with ext type n */
    GATE_A_QUEUE,   /* as.p, a gate_queue_t; jobs of process pools only */
    GATE_A_TIMEOUT, /* as.i in ms: the call's deadline, not an argument */
    GATE_A_META,    /* metadata of the call (gate_meta), not an argument */
    GATE_A_RETRY,   /* as.i: further tries (gate_retry), not an argument */
    GATE_A_HUGE,   /* as.p, a gate_huge_t of n bytes; arguments of calls only */
    GATE_A_SPREAD, /* as gate_spread; arguments of calls and jobs only */
    GATE_A_TRACE   /* as.p, a gate_trace_t; a call's own arguments only */
} gate_arg_type_t;

/* One argument; it lives as long as what it borrows. */
typedef struct gate_arg {
    gate_arg_type_t type;
    const char *kw; /* keyword or map key; NULL = positional */
    size_t n;
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double d;
        const void *p;
    } as;
} gate_arg_t;

/* One argument of a C type: GATE_ARG(x) takes the one that fits. gate_null: nil,
 * gate_bool, gate_int, gate_uint, gate_f64: themselves; gate_str, gate_strn: text,
 * which must be UTF-8; gate_bin, gate_bytes: bytes; gate_obj, gate_val: a value as
 * it is; gate_raw: msgpack, exactly one value. All borrow until the call was
 * started. */
GATE_API gate_arg_t gate_null(const void *ignored);
GATE_API gate_arg_t gate_bool(bool v);
GATE_API gate_arg_t gate_int(int64_t v);
GATE_API gate_arg_t gate_uint(uint64_t v);
GATE_API gate_arg_t gate_f64(double v);
GATE_API gate_arg_t gate_str(const char *v); /* NULL = nil */
GATE_API gate_arg_t gate_strn(const char *v, size_t size);
GATE_API gate_arg_t gate_bin(const void *data, size_t size);
GATE_API gate_arg_t gate_bytes(gate_bytes_t v);
GATE_API gate_arg_t gate_obj(const msgpack_object *v);
GATE_API gate_arg_t gate_val(const gate_value_t *v);
GATE_API gate_arg_t gate_raw(const void *msgpack, size_t size);
/* Several arguments that are packed already: the items of a msgpack array
 * stand by position, the pairs of a map by keyword. For other languages, which
 * pack all of them at once. GATE_BADARG for any other value. */
GATE_API gate_arg_t gate_spread(const void *msgpack, size_t size);
/* A user's object, for the hook prepare_pack. Borrows. */
GATE_API gate_arg_t gate_ext(int8_t type, const void *user_object);
/* One end of a queue, for a job of a process pool. Borrows. */
GATE_API gate_arg_t gate_queue_arg(gate_queue_t *q);
/* A huge value (huge.h). Borrows. */
GATE_API gate_arg_t gate_huge_arg(const gate_huge_t *huge);
/* What is an argument already: v. */
GATE_API gate_arg_t gate_same(gate_arg_t v);
/* v under a name: a keyword argument, or an entry of gate_map_. Borrows it. */
GATE_API gate_arg_t gate_kw_(const char *name, gate_arg_t v);
/* A list of n items; gate_map_: a map of n entries, each with its name. Borrows
 * the array. */
GATE_API gate_arg_t gate_list_(const gate_arg_t *items, size_t n);
GATE_API gate_arg_t gate_map_(const gate_arg_t *entries, size_t n);
/* What gate_list() and gate_map() (gate_map_here_) make. Their items die at the
 * end of the block that they stand in; whoever packs one later, in[i] =
 * gate_list(i, j) in a loop, gets GATE_BADARG when the memory has been used
 * again. gate_items_t is for that. */
GATE_API gate_arg_t gate_list_here_(const gate_arg_t *items, size_t n);
GATE_API gate_arg_t gate_map_here_(const gate_arg_t *entries, size_t n);
/* Rides in an argument list: this call's deadline from now, in ms, 0 or more
 * (GATE_BADARG); for a job of a pool -1 is none, as without it. */
GATE_API gate_arg_t gate_timeout_ms(int64_t ms);
/* Rides in an argument list: a call that a broker or a worker turned away
 * without running it, and said so (ServiceUnAvailableError or BusyWorkerError
 * with "(not run)" for traceback: docs/errors.md), is tried again, so often at
 * most, after growing pauses, within its deadline and the client's budget
 * (settings retry_wait_ms, retry_budget). What a handler raised never is. Not
 * for streams, nor within a process; calls that no broker has got yet wait for
 * one anyway. */
GATE_API gate_arg_t gate_retry(int times);
/* Rides in an argument list: a text that goes along with the call, for its
 * handler (gate_call_meta) and what that calls (gate_meta_of). Any key, 1 to 64
 * bytes; W3C's trace context goes by "traceparent" and "tracestate"; "priority"
 * = "high" puts the call before others where it has to wait. At most 16 keys,
 * values of 1,024 bytes, 4 KiB in all. NULL takes the key out again. It does
 * not reach services behind a broker or worker of Python's. */
GATE_API gate_arg_t gate_meta(const char *key, const char *value);

/* ---- arguments that live ------------------------------------------------- */
/* A growing array of arguments that owns what is in it: the inputs of
 * gate_pool_map, a list that a loop builds.
 *
 *     GATE_OWN(gate_items) in = gate_items_new();
 *     for (int i = 0; i < n; i++)
 *         if (gate_items_add(in, gate_list(i, 2 * i)))
 *             return gate_perror("in");
 *     gate_pool_map(pool, fn, gate_items_data(in), gate_items_size(in), ...);
 *
 * Thread: one at a time. */
typedef struct gate_items gate_items_t;
GATE_API gate_items_t *gate_items_new(void); /* NULL: no memory */
/* Frees, with all that is in it. */
GATE_API void gate_items_destroy(gate_items_t **self_p);
/* Copies v with all that it borrows: texts, bytes, lists, maps, objects; of a
 * queue, a huge value or a user's object (gate_ext) the pointer alone, which
 * stays borrowed. GATE_NOMEM; GATE_BADARG: v has died already. */
GATE_API gate_err_t gate_items_add_(gate_items_t *self, gate_arg_t v) GATE_MUST;
/* Borrows: valid until the next add. */
GATE_API const gate_arg_t *gate_items_data(const gate_items_t *self);
/* How many there are. */
GATE_API size_t gate_items_size(const gate_items_t *self);
/* All of them as one list; borrows as data does. */
GATE_API gate_arg_t gate_items_list(const gate_items_t *self);

/* ---- slots --------------------------------------------------------------- */
/* What a slot takes, and who owns what is stored. */
typedef enum gate_slot_type {
    GATE_S_NONE,
    GATE_S_I64,
    GATE_S_INT,
    GATE_S_U64,
    GATE_S_F64,
    GATE_S_BOOL,
    GATE_S_STR,   /* const char **: borrows from the call or value */
    GATE_S_DUP,   /* char **: gives, free() it */
    GATE_S_BYTES, /* str or bin; borrows from the call or value */
    GATE_S_OBJ,   /* borrows from the call or value */
    GATE_S_VALUE, /* gives */
    GATE_S_QUEUE, /* shares: destroy it */
    GATE_S_UINT,
    GATE_S_F32, /* what a float holds of it */
    GATE_S_I16,
    GATE_S_U16,
    GATE_S_I8,
    GATE_S_U8
} gate_slot_type_t;

/* A place for one decoded value. */
typedef struct gate_slot {
    gate_slot_type_t type;
    const char *kw; /* may come by this name */
    bool optional;  /* may be absent: *to keeps its default */
    void *to;
} gate_slot_t;

/* A place for a value of a C type: GATE_SLOT(&x) takes the one that fits; what
 * comes and does not fit is GATE_BADARG. gate_onone: it is not wanted; gate_oi64,
 * gate_oll, gate_oint, gate_ou64, gate_ouint, gate_oi16, gate_ou16, gate_oi8,
 * gate_ou8: integers in range; gate_of64, gate_of32: numbers; gate_obool; gate_ostr:
 * a text, borrowed; gate_odup: a text to free(); gate_obytes: str or bin, borrowed;
 * gate_oobj: any value, borrowed; gate_oval: any value, to be destroyed;
 * gate_oqueue: a queue, to be destroyed; gate_osame: what is a slot already. */
GATE_API gate_slot_t gate_onone(void *ignored);
GATE_API gate_slot_t gate_oi64(int64_t *to);
GATE_API gate_slot_t gate_oll(long long *to);
GATE_API gate_slot_t gate_oint(int *to);
GATE_API gate_slot_t gate_ou64(uint64_t *to);
GATE_API gate_slot_t gate_of64(double *to);
GATE_API gate_slot_t gate_ouint(unsigned *to);
GATE_API gate_slot_t gate_of32(float *to);
GATE_API gate_slot_t gate_oi16(int16_t *to);
GATE_API gate_slot_t gate_ou16(uint16_t *to);
GATE_API gate_slot_t gate_oi8(int8_t *to);
GATE_API gate_slot_t gate_ou8(uint8_t *to);
GATE_API gate_slot_t gate_obool(bool *to);
GATE_API gate_slot_t gate_ostr(const char **to);
GATE_API gate_slot_t gate_odup(char **to);
GATE_API gate_slot_t gate_obytes(gate_bytes_t *to);
GATE_API gate_slot_t gate_oobj(const msgpack_object **to);
GATE_API gate_slot_t gate_oval(gate_value_t **to);
GATE_API gate_slot_t gate_oqueue(gate_queue_t **to);
GATE_API gate_slot_t gate_osame(gate_slot_t v);
/* v, which may be absent: the variable keeps what it has. */
GATE_API gate_slot_t gate_opt_(gate_slot_t v);
/* v, which may come by that name, too. */
GATE_API gate_slot_t gate_kwslot_(const char *name, gate_slot_t v);

/* ---- values -------------------------------------------------------------- */
/* Builds a value; gives. NULL with gate_error() set when it cannot be packed.
 */
GATE_API gate_value_t *gate_value_new_(gate_arg_t v);
/* Decodes exactly one msgpack value, limits and hooks those of settings (NULL:
 * the defaults); copies. Trailing bytes are GATE_BADDATA. */
GATE_API gate_err_t gate_value_decode(const void *msgpack, size_t size,
                                      const gate_settings_t *settings,
                                      gate_value_t **out) GATE_MUST;
/* One reference less; the last one frees. */
GATE_API void gate_value_destroy(gate_value_t **self_p);
/* Shares: one more reference, to be destroyed on its own. */
GATE_API gate_value_t *gate_value_share(gate_value_t *self);
/* Borrows: the decoded object, valid as long as the value. */
GATE_API const msgpack_object *gate_value_object(const gate_value_t *self);
/* Borrows: the packed form. Empty when a hook replaced the decoded value. */
GATE_API gate_bytes_t gate_value_bytes(const gate_value_t *self);
/* Reads the part at path: "" the whole, "args.0", "user.name". GATE_BADARG
 * when it is absent or of another type. */
GATE_API gate_err_t gate_value_read_(const gate_value_t *self, const char *path,
                                     gate_slot_t to) GATE_MUST;
/* Gives: one line of JSON; free() it. What JSON lacks: bin is
 * {"$bin": "base64"}, an ext {"$ext": [type, "base64"]}, {"$float": "nan"},
 * "inf", "-inf"; keys become strings, and a map in which two were the same then,
 * or one is no text (a list, bytes), is {"$map": [[key, value], ...]}. NULL for
 * lack of memory, or of a value. */
GATE_API char *gate_value_json(const gate_value_t *self);
/* The same for a part of a value. */
GATE_API char *gate_object_json(const msgpack_object *object);

/* ---- hooks: the seed's four, in C ---------------------------------------- */
/* They hold for arguments, results, stream items and huge values of everything
 * made from the settings that carry them, in worker processes too when set
 * before the fork. NULL = none. A hook that fails fails the decode.
 * Thread: several at once. */
typedef struct gate_hooks {
    /* Packs a user's object given by gate_ext(): writes one whole value. */
    gate_err_t (*prepare_pack)(void *ctx, int8_t ext_type, const void *object,
                               msgpack_packer *to);
    /* May replace a decoded map (*map) in place, memory from zone. */
    gate_err_t (*object_hook)(void *ctx, msgpack_object *map, msgpack_zone *z);
    /* The same, asked first; when set, object_hook is not called. */
    gate_err_t (*pairs_hook)(void *ctx, msgpack_object *map, msgpack_zone *z);
    /* May replace a decoded array in place. */
    gate_err_t (*list_hook)(void *ctx, msgpack_object *array, msgpack_zone *z);
    void *ctx;
} gate_hooks_t;

GATE_END_DECLS

#ifndef __cplusplus
/* An argument of x, by its type. */
#define GATE_ARG(x) \
    _Generic((x),                                                              \
        _Bool: gate_bool,                                                      \
        int: gate_int,                                                         \
        short: gate_int,                                                       \
        unsigned short: gate_int,                                              \
        signed char: gate_int,                                                 \
        unsigned char: gate_int,                                               \
        long: gate_int,                                                        \
        long long: gate_int,                                                   \
        unsigned: gate_uint,                                                   \
        unsigned long: gate_uint,                                              \
        unsigned long long: gate_uint,                                         \
        float: gate_f64,                                                       \
        double: gate_f64,                                                      \
        char *: gate_str,                                                      \
        const char *: gate_str,                                                \
        gate_bytes_t: gate_bytes,                                              \
        const msgpack_object *: gate_obj,                                      \
        msgpack_object *: gate_obj,                                            \
        gate_value_t *: gate_val,                                              \
        const gate_value_t *: gate_val,                                        \
        gate_queue_t *: gate_queue_arg,                                        \
        gate_huge_t *: gate_huge_arg,                                          \
        void *: gate_null,                                                     \
        gate_arg_t: gate_same)(x)
/* A slot for *x, by its type. */
#define GATE_SLOT(x) \
    _Generic((x),                                                              \
        long *: gate_oi64,                                                     \
        long long *: gate_oll,                                                 \
        int *: gate_oint,                                                      \
        unsigned long *: gate_ou64,                                            \
        double *: gate_of64,                                                   \
        unsigned *: gate_ouint,                                                \
        float *: gate_of32,                                                    \
        short *: gate_oi16,                                                    \
        unsigned short *: gate_ou16,                                           \
        signed char *: gate_oi8,                                               \
        unsigned char *: gate_ou8,                                             \
        _Bool *: gate_obool,                                                   \
        const char **: gate_ostr,                                              \
        char **: gate_odup,                                                    \
        gate_bytes_t *: gate_obytes,                                           \
        const msgpack_object **: gate_oobj,                                    \
        gate_value_t **: gate_oval,                                            \
        gate_queue_t **: gate_oqueue,                                          \
        void *: gate_onone,                                                    \
        gate_slot_t: gate_osame)(x)
/* gate_kw("name", x): a keyword argument, or an entry of gate_map(). */
#define gate_kw(name, x) gate_kw_(name, GATE_ARG(x))
/* gate_list(1, "a"), gate_map(gate_kw("k", 1)): 1 to 10 items */
#define gate_list(...) \
    gate_list_here_(GATE_ARR(GATE_ARG, 0, __VA_ARGS__) + 1, GATE_N(__VA_ARGS__))
#define gate_map(...) \
    gate_map_here_(GATE_ARR(GATE_ARG, 0, __VA_ARGS__) + 1, GATE_N(__VA_ARGS__))
/* May be absent: the variable keeps its default. */
#define gate_opt(p) gate_opt_(GATE_SLOT(p))
/* May come by name or by position; must come. */
#define gate_named(name, p) gate_kwslot_(name, GATE_SLOT(p))
/* May come by name or by position, or be absent. */
#define gate_kwopt(name, p) gate_opt_(gate_kwslot_(name, GATE_SLOT(p)))
/* gate_items_add(items, x) */
#define gate_items_add(self, x) gate_items_add_(self, GATE_ARG(x))
/* gate_value_new(x) */
#define gate_value_new(x) gate_value_new_(GATE_ARG(x))
/* gate_value_read(value, "args.0", &x) */
#define gate_value_read(v, path, p) gate_value_read_(v, path, GATE_SLOT(p))
#endif

#endif
