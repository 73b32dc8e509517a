/* SPDX-License-Identifier: BSD-3-Clause */
/* settings.c -- life and every way in: file, environment and code end in s_put,
 * which knows bounds and lists.
 * Law: origin[i] == S_DEFAULT means the field holds the table's default, and
 * then a string is a literal; otherwise it is this object's own. */
#include "settings/settings_table.h"
#include "base/mem.h"
#include "base/trusted.h"
#include "base/err.h"
#include "settings/settings_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef enum s_origin { S_DEFAULT, S_FILE, S_ENV, S_CODE } s_origin_t;

static void *s_field(gate_settings_t *self, const gi_setting_t *row) {
    return (char *)self + row->offset;
}

/* ---- life ---------------------------------------------------------------- */
static gate_settings_t *s_new(void) {
    gate_settings_t *self = gi_mem_alloc(sizeof *self);
    if (!self)
        return NULL;
    *self = *gi_settings_defaults();
    self->origin = gi_mem_calloc(GI_SETTINGS_COUNT, 1);
    if (!self->origin) {
        gi_mem_free(self);
        return NULL;
    }
    return self;
}

void gate_settings_destroy(gate_settings_t **self_p) {
    gate_settings_t *self = self_p ? *self_p : NULL;
    if (!self)
        return;
    *self_p = NULL;
    for (size_t i = 0; i < GI_SETTINGS_COUNT; i++)
        if (gi_settings_table[i].type == GI_SETTING_STR && self->origin[i])
            gi_mem_free(*(char **)s_field(self, &gi_settings_table[i]));
    gi_mem_free(self->origin);
    gi_mem_free(self->files);
    gi_mem_free(self->warning);
    gi_error_fini(&self->stuck);
    gi_mem_free(self);
}

static bool s_dup_string(const char *from, char **to) {
    *to = from ? gi_mem_strdup(from) : NULL;
    return *to || !from;
}

gate_settings_t *gate_settings_dup(const gate_settings_t *from) {
    if (gi_err_null(from, "gate_settings_dup"))
        return NULL;
    gate_settings_t *self = s_new();
    if (!self)
        return NULL;
    bool ok = s_dup_string(from->warning, &self->warning) &&
              s_dup_string(from->files, &self->files);
    for (size_t i = 0; i < GI_SETTINGS_COUNT && ok; i++) {
        const gi_setting_t *row = &gi_settings_table[i];
        static const size_t sizes[] = {sizeof(int64_t), sizeof(double),
                                       sizeof(bool)};
        if (row->type != GI_SETTING_STR)
            memcpy(s_field(self, row), gi_settings_field(from, row),
                   sizes[row->type]);
        else if (from->origin[i])
            ok = s_dup_string(gi_settings_str(from, row), s_field(self, row));
        self->origin[i] = from->origin[i];
    }
    self->hooks = from->hooks;
    if (from->stuck.story.code)
        gi_error_set(&self->stuck, &from->stuck.story);
    if (!ok)
        gate_settings_destroy(&self);
    return self;
}

/* ---- warnings ------------------------------------------------------------ */
static bool s_warn(gate_settings_t *self, const char *name, const char *what) {
    char text[300];
    snprintf(text, sizeof text, "%.200s: %s", name, what);
    if (self->warning && strstr(self->warning, text))
        return true;
    size_t had = self->warning ? strlen(self->warning) : 0;
    char *grown = gi_mem_realloc(self->warning, had + strlen(text) + 3);
    if (!grown)
        return false;
    snprintf(grown + had, strlen(text) + 3, "%s%s", had ? "; " : "", text);
    self->warning = grown;
    return true;
}

const char *gi_settings_warning(const gate_settings_t *self) {
    return self->warning ? self->warning : "";
}

/* ---- one value: bounds, lists, storing ----------------------------------- */
typedef struct s_value {
    gi_setting_type_t type;
    int64_t i;
    double d;
    const char *s; /* NULL: none */
} s_value_t;

/* Words that a setting must be one of, and the others that need a look. */
static gate_err_t s_check_text(const gi_setting_t *row, const char *s) {
    switch ((int)(row - gi_settings_table)) {
    case GI_IS_log_level:
        return gi_settings_check_level(row->name, s, strlen(s));
    case GI_IS_log_levels:
        return gi_settings_check_levels(row->name, s);
    case GI_IS_mdp_internal_service:
    case GI_IS_service_default_name:
    case GI_IS_huge_data_compress_module:
        if (!*s)
            return gi_err(GATE_BADARG, "%s: empty: must be a name", row->name);
        return GATE_OK;
    case GI_IS_access:
    case GI_IS_broker_zap:
    case GI_IS_broker_plain_users:
    case GI_IS_broker_curve_cert:
    case GI_IS_broker_curve_allow:
    case GI_IS_zap_users:
    case GI_IS_zap_addr:
    case GI_IS_zap_plain_default_user:
    case GI_IS_zap_plain_default_password:
    case GI_IS_plain_user:
    case GI_IS_plain_password:
    case GI_IS_curve_cert:
    case GI_IS_curve_server:
        if (!*s)
            return gi_err(GATE_BADARG,
                          "%s: empty, and decides who gets in: give it a "
                          "value, or leave it away",
                          row->name);
        return GATE_OK;
    default:
        return gi_settings_check_words(row->name, s);
    }
}

static gate_err_t s_check(const gi_setting_t *row, const s_value_t *v) {
    if (row->type == GI_SETTING_STR)
        return v->s ? s_check_text(row, v->s) : GATE_OK;
    if (row->type == GI_SETTING_F64) {
        if (v->d >= row->d_min && v->d <= row->d_max)
            return GATE_OK;
        return gi_err(GATE_BADARG,
                      "%s: %g is out of bounds: must be a number from %g to "
                      "%g %s",
                      row->name, v->d, row->d_min, row->d_max, row->unit);
    }
    if (v->i >= row->i_min && v->i <= row->i_max)
        return GATE_OK;
    return gi_err(GATE_BADARG,
                  "%s: %" PRId64 " is out of bounds: must be %s from %" PRId64
                  " to %" PRId64 "%s%s",
                  row->name, v->i,
                  row->type == GI_SETTING_BOOL ? "a bool," : "an integer",
                  row->i_min, row->i_max, *row->unit ? " " : "", row->unit);
}

/* huge_data_sizeof sets the chunk size too, unless it or the threshold was set
 * by its own name. The threshold: gi_settings_huge_threshold. */
static void s_derive(gate_settings_t *self) {
    if (self->origin[GI_IS_huge_chunk_bytes])
        return;
    const gi_setting_t *row = &gi_settings_table[GI_IS_huge_chunk_bytes];
    bool seed = self->origin[GI_IS_huge_data_sizeof] &&
                !self->origin[GI_IS_huge_threshold];
    self->huge_chunk_bytes = !seed ? row->i
                             : self->huge_data_sizeof < row->i_min
                                 ? row->i_min
                                 : self->huge_data_sizeof;
}

static gate_err_t s_put_string(gate_settings_t *self, const gi_setting_t *row,
                               const char *s) {
    char **field = s_field(self, row);
    char *copy = s ? gi_mem_strdup(s) : NULL;
    if (s && !copy)
        return gi_err(GATE_NOMEM, "%s", row->name);
    if (row == &gi_settings_table[GI_IS_mdp_internal_service_prefix] && copy) {
        size_t size = strlen(copy);
        if (size && copy[size - 1] == '.')
            copy[size - 1] = '\0';
    }
    if (self->origin[row - gi_settings_table])
        gi_mem_free(*field);
    *field = copy;
    return GATE_OK;
}

/* Stores a checked value, unless a stronger origin was there before. */
static gate_err_t s_put(gate_settings_t *self, const gi_setting_t *row,
                        const s_value_t *v, s_origin_t origin) {
    gate_err_t e = s_check(row, v);
    if (e || self->origin[row - gi_settings_table] > origin)
        return e;
    if (!strncmp(row->name, "gate_", 5) &&
        !s_warn(self, row->name, "Gate clusters are not available"))
        return gi_err(GATE_NOMEM, "%s", row->name);
    switch (row->type) {
    case GI_SETTING_INT:
        *(int64_t *)s_field(self, row) = v->i;
        break;
    case GI_SETTING_BOOL:
        *(bool *)s_field(self, row) = v->i != 0;
        break;
    case GI_SETTING_F64:
        *(double *)s_field(self, row) = v->d;
        break;
    case GI_SETTING_STR:
        e = s_put_string(self, row, v->s);
        break;
    }
    if (!e)
        self->origin[row - gi_settings_table] = (unsigned char)origin;
    s_derive(self);
    return e;
}

/* ---- from text ----------------------------------------------------------- */
static gate_err_t s_put_text(gate_settings_t *self, const gi_setting_t *row,
                             const char *text, s_origin_t origin) {
    s_value_t v = {.type = row->type, .s = text};
    if (row->type == GI_SETTING_INT && !gi_settings_read_int(text, &v.i))
        return gi_err(GATE_BADARG, "%s: '%.100s' must be an integer, %s",
                      row->name, text, row->unit);
    if (row->type == GI_SETTING_F64 && !gi_settings_read_f64(text, &v.d))
        return gi_err(GATE_BADARG, "%s: '%.100s' must be a number, %s",
                      row->name, text, row->unit);
    if (row->type == GI_SETTING_BOOL && !gi_settings_read_bool(text, &v.i))
        return gi_err(GATE_BADARG, "%s: '%.100s' must be true or false",
                      row->name, text);
    return s_put(self, row, &v, origin);
}

static void s_stick(gate_settings_t *self, gate_err_t e) {
    if (e && !self->stuck.story.code)
        gi_error_set(&self->stuck, gate_error());
}

void gate_settings_parse(gate_settings_t *self, const char *name,
                         const char *text) {
    if (gi_err_null(self, "gate_settings_parse"))
        return;
    const gi_setting_t *row = name ? gi_settings_find(name) : NULL;
    bool none = row && row->type != GI_SETTING_STR && gi_err_null(text, name);
    s_stick(self, none  ? GATE_BADARG
                  : row ? s_put_text(self, row, text, S_CODE)
                        : gi_settings_unknown(name));
}

/* ---- from the environment ------------------------------------------------ */
static const size_t s_prefix = sizeof "GATE_" - 1;

/* GATE_X names x, or gate_x where there is such a setting: which GATE_GATE_X
 * does not. */
static const gi_setting_t *s_find_env(const char *var, size_t size) {
    char name[64];
    if (size >= sizeof name)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        if (islower((unsigned char)var[i]))
            return NULL;
        name[i] = (char)tolower((unsigned char)var[i]);
    }
    name[size] = '\0';
    const gi_setting_t *row = gi_settings_find(name);
    const char *rest = name + s_prefix;
    return row || !strncmp(rest, "gate_", s_prefix) ? row
                                                    : gi_settings_find(rest);
}

/* Others may have variables of that prefix (a cluster's GATE_PORT): a warning.
 * One that may be a slip for a setting that decides who gets in is an error.
 * False only without memory. */
static bool s_unknown_variable(gate_settings_t *self, const char *var,
                               size_t size) {
    char name[128], low[128];
    snprintf(name, sizeof name, "%.*s", (int)(size < 100 ? size : 100), var);
    for (size_t i = 0; (low[i] = (char)tolower((unsigned char)name[i])); i++)
        ;
    const char *near = gi_settings_nearest(low + s_prefix);
    const char *other = near ? NULL : gi_settings_other_near(name);
    char what[200], meant[128] = "GATE_";
    size_t at = near && !strncmp(near, "gate_", s_prefix) ? 0 : s_prefix;
    for (size_t i = 0; near && near[i]; i++)
        meant[at + i] = (char)toupper((unsigned char)near[i]);
    bool opens = gi_settings_opens(low + s_prefix), known = near || other;
    snprintf(what, sizeof what, "no such setting (environment)%s%s%s",
             known   ? ": is "
             : opens ? ", and its name is close to those that decide who "
                       "gets in: take it away"
                     : "",
             other  ? other
             : near ? meant
                    : "",
             known ? " meant?" : "");
    if (!opens)
        return s_warn(self, name, what);
    s_stick(self, gi_err(GATE_BADARG, "%s: %s", name, what));
    return true;
}

/* False only without memory. */
static bool s_read_variable(gate_settings_t *self, const char *var) {
    const char *equals = strchr(var, '=');
    if (strncasecmp(var, "GATE_", 5) || !equals)
        return true;
    size_t size = (size_t)(equals - var);
    if (gi_settings_others(var, size))
        return true;
    const gi_setting_t *row = s_find_env(var, size);
    if (!row)
        return s_unknown_variable(self, var, size);
    gate_err_t e = s_put_text(self, row, equals + 1, S_ENV);
    s_stick(self, e);
    return e != GATE_NOMEM;
}

gate_settings_t *gate_settings_new(void) {
    gate_settings_t *self = s_new();
    for (char **var = environ; self && var && *var; var++)
        if (!s_read_variable(self, *var))
            gate_settings_destroy(&self);
    return self;
}

/* ---- from a file --------------------------------------------------------- */
static gate_err_t s_load_line(void *ctx, const char *name, const char *value) {
    const gi_setting_t *row = gi_settings_find(name);
    return row ? s_put_text(ctx, row, value, S_FILE)
               : gi_settings_unknown(name);
}

/* A password that everybody may read is no secret: said, not refused, since the
 * file's other lines are none. False only without memory. */
static bool s_warn_readable(gate_settings_t *self, const char *file,
                            const struct stat *st) {
    static const int secrets[] = {GI_IS_plain_password,
                                  GI_IS_zap_plain_default_password};
    bool holds = false;
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        holds |= self->origin[secrets[i]] == S_FILE;
    return !holds || !(st->st_mode & S_IROTH) || !S_ISREG(st->st_mode) ||
           s_warn(self, file, "holds a password and everybody can read it");
}

/* False only without memory. */
static bool s_remember(gate_settings_t *self, const char *file) {
    size_t had = self->files ? strlen(self->files) : 0;
    char *grown = gi_mem_realloc(self->files, had + strlen(file) + 2);
    if (!grown)
        return false;
    snprintf(grown + had, strlen(file) + 2, "%s\n", file);
    self->files = grown;
    return true;
}

static gate_err_t s_load(gate_settings_t *self, const char *file) {
    struct stat st;
    gate_err_t e = gi_settings_read_file(
        file, self->trust_others ? GI_TRUST_OTHERS : 0, s_load_line, self, &st);
    if (!e && (!s_warn_readable(self, file, &st) || !s_remember(self, file)))
        e = gi_err(GATE_NOMEM, "%s", file);
    return e;
}

gate_err_t gate_settings_load(gate_settings_t *self, const char *zpl_file) {
    if (gi_err_null(self, "gate_settings_load"))
        return GATE_BADARG;
    if (gi_err_null(zpl_file, "gate_settings_load: the file"))
        return GATE_BADARG;
    gate_settings_t *made = gate_settings_dup(self);
    if (!made)
        return gi_err(GATE_NOMEM, "%s", zpl_file);
    gate_err_t e = s_load(made, zpl_file);
    if (!e) { /* swap the insides: self keeps its address */
        gate_settings_t old = *self;
        *self = *made;
        *made = old;
    }
    gate_settings_destroy(&made);
    return e;
}

/* ---- from the same files again ------------------------------------------- */
static void s_forget(gate_settings_t *self, const gi_setting_t *row) {
    static const size_t sizes[] = {sizeof(int64_t), sizeof(double),
                                   sizeof(bool), sizeof(char *)};
    if (row->type == GI_SETTING_STR)
        gi_mem_free(*(char **)s_field(self, row));
    memcpy(s_field(self, row), gi_settings_field(gi_settings_defaults(), row),
           sizes[row->type]);
    self->origin[row - gi_settings_table] = S_DEFAULT;
}

gate_err_t gi_settings_again(const gate_settings_t *self,
                             gate_settings_t **out) {
    gate_settings_t *made = gate_settings_dup(self);
    gate_err_t e = made ? GATE_OK : gi_err(GATE_NOMEM, "settings");
    if (made) {
        gi_mem_free(made->files);
        made->files = NULL;
    }
    for (size_t i = 0; made && i < GI_SETTINGS_COUNT; i++)
        if (made->origin[i] == S_FILE)
            s_forget(made, &gi_settings_table[i]);
    for (const char *at = self->files; !e && at && *at;) {
        size_t n = strcspn(at, "\n");
        char *file = gi_mem_dup(at, n);
        e = file ? s_load(made, file) : gi_err(GATE_NOMEM, "settings");
        gi_mem_free(file);
        at += n + 1;
    }
    if (!e)
        e = gate_settings_check(made);
    if (e)
        gate_settings_destroy(&made);
    *out = made;
    return e;
}

/* ---- from code ----------------------------------------------------------- */
static const char *s_kind_of(gate_arg_type_t type) {
    static const char *const names[] = {"None", "bool", "int",  "int", "float",
                                        "str",  "bin",  "list", "map"};
    return type < GATE_A_OBJ ? names[type] : "object";
}

/* True when arg fits row; the bounds come later. */
static bool s_value_of(const gi_setting_t *row, const gate_arg_t *arg,
                       s_value_t *v) {
    bool is_int = arg->type == GATE_A_INT || arg->type == GATE_A_UINT;
    int64_t i = arg->type == GATE_A_UINT && arg->as.u > INT64_MAX ? INT64_MAX
                                                                  : arg->as.i;
    switch (row->type) {
    case GI_SETTING_BOOL:
        v->i = arg->type == GATE_A_BOOL ? arg->as.b : i;
        return arg->type == GATE_A_BOOL || is_int;
    case GI_SETTING_INT:
        v->i = i;
        return is_int;
    case GI_SETTING_F64:
        v->d = arg->type == GATE_A_F64    ? arg->as.d
               : arg->type == GATE_A_UINT ? (double)arg->as.u
                                          : (double)i;
        return arg->type == GATE_A_F64 || is_int;
    case GI_SETTING_STR:
        v->s = arg->type == GATE_A_STR ? arg->as.p : NULL;
        return arg->type == GATE_A_STR ||
               (arg->type == GATE_A_NIL && !row->str);
    }
    return false;
}

static gate_err_t s_put_arg(gate_settings_t *self, const char *name,
                            const gate_arg_t *arg) {
    static const char *const wanted[] = {"int", "number", "bool", "str"};
    const gi_setting_t *row = gi_settings_find(name);
    s_value_t v = {0};
    if (!row)
        return gi_settings_unknown(name);
    if (!s_value_of(row, arg, &v))
        return gi_err(GATE_BADARG, "%s: must be %s, not %s", name,
                      wanted[row->type], s_kind_of(arg->type));
    if (row->type != GI_SETTING_STR || !v.s)
        return s_put(self, row, &v, S_CODE);
    if (memchr(v.s, '\0', arg->n))
        return gi_err(GATE_BADARG, "%s: a NUL inside", name);
    char *text = gi_mem_dup(v.s, arg->n); /* gate_strn need not end in NUL */
    if (!text)
        return gi_err(GATE_NOMEM, "%s", name);
    v.s = text;
    gate_err_t e = s_put(self, row, &v, S_CODE);
    gi_mem_free(text);
    return e;
}

void gate_settings_set_(gate_settings_t *self, const char *name, gate_arg_t v) {
    if (gi_err_null(self, "gate_settings_set_"))
        return;
    s_stick(self, s_put_arg(self, name, &v));
}

void gate_settings_hooks(gate_settings_t *self, gate_hooks_t hooks) {
    if (gi_err_null(self, "gate_settings_hooks"))
        return;
    self->hooks = hooks;
}
