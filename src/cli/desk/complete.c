/* SPDX-License-Identifier: BSD-3-Clause */
/* complete.c -- gate --complete WORD...: what the last word may become, a line
 * each, "CANDIDATE\tWHAT IT IS", and ":files" where it is a file. The scripts of
 * share/completion ask; verbs and options come from the tables that the verbs
 * themselves are parsed by, services and methods from the broker that the line,
 * GATE_BROKER or a context names.
 * Blocks: for GATE_COMPLETE_MS (300) in all; without a broker it is silent. It
 * asks nobody for a password, and offers no name that a shell would read. */
#include "cli/cli.h"
#include "cli/opts.h"
#include "cli/peer.h"
#include "kept/contexts.h"
#include "text/clean.h"
#include "text/json_arg.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { S_USUAL_MS = 300, S_LONGEST_MS = 60000, S_NAME_MAX = 255 };

typedef struct s_line {
    const gi_verb_t *verb;
    char **words; /* the verb, what is behind it; NULL at the end */
    int n;        /* without the word under the cursor */
    const char *word;
} s_line_t;

/* ---- offering ----------------------------------------------------------------- */
static void s_offer(const s_line_t *line, const char *candidate,
                    const char *about) {
    if (strncmp(candidate, line->word, strlen(line->word)) == 0)
        printf("%s\t%s\n", candidate, about ? about : "");
}

/* A stranger's name is put into somebody's command line. */
static bool s_is_plain(const char *name, size_t size) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/@+";
    for (size_t i = 0; i < size; i++)
        if (!name[i] || !strchr(plain, name[i]))
            return false;
    return size && size <= S_NAME_MAX && name[0] != '-';
}

/* Its first line, without what a terminal would obey. */
static void s_about(char out[80], const msgpack_object *text) {
    bool is = text && text->type == MSGPACK_OBJECT_STR;
    const char *p = is ? text->via.str.ptr : "";
    size_t size = is ? text->via.str.size : 0;
    const char *end = memchr(p, '\n', size);
    gi_clean_copy(out, 80, p, end ? (size_t)(end - p) : size);
}

/* ---- the broker ---------------------------------------------------------------- */
static int s_ms(void) {
    const char *text = getenv("GATE_COMPLETE_MS");
    int ms = text ? atoi(text) : S_USUAL_MS;
    return ms > 0 && ms <= S_LONGEST_MS ? ms : S_USUAL_MS;
}

static void s_enough(int number) {
    (void)number;
    _exit(GI_EXIT_OK);
}

/* Whoever takes longer than that has nothing to offer. */
static void s_bound(int ms) {
    const struct itimerval once = {.it_value = {ms / 1000, ms % 1000 * 1000}};
    fflush(stdout);
    signal(SIGALRM, s_enough);
    setitimer(ITIMER_REAL, &once, NULL);
}

static const gi_opt_t *s_find(const gi_opt_t *table, const char *word) {
    size_t size = strcspn(word + 2, "=");
    for (; table->name; table++)
        if (strlen(table->name) == size &&
            memcmp(table->name, word + 2, size) == 0)
            return table;
    return NULL;
}

static bool s_is_option(const char *word) {
    return word[0] == '-' && word[1] == '-' && word[2];
}

/* Whether the word behind this one is its value. */
static bool s_takes_next(const gi_opt_t *table, const char *word) {
    const gi_opt_t *o = s_is_option(word) ? s_find(table, word) : NULL;
    return o && o->kind != GI_OPT_FLAG && !strchr(word, '=');
}

/* The line's options that say which broker and who we are there; the rest is
 * left out. words has room for all of them. */
static int s_peer_words(const s_line_t *line, const gi_opt_t *all,
                        const gi_opt_t *peer, char **words) {
    int n = 0;
    words[n++] = line->words[0];
    for (int i = 1; i < line->n; i++) {
        bool next = s_takes_next(all, line->words[i]) && i + 1 < line->n;
        if (s_is_option(line->words[i]) && s_find(peer, line->words[i])) {
            words[n++] = line->words[i];
            if (next)
                words[n++] = line->words[i + 1];
        }
        i += next;
    }
    return n;
}

/* Connects as the line says; false: nobody is there. */
static bool s_open(const s_line_t *line, const gi_opt_t *all, gi_peer_t *peer) {
    static const gi_usage_t usage = {"--complete", NULL};
    const gi_opt_t table[] = {GI_PEER_OPTS(*peer), GI_OPT_END};
    char **words = calloc((size_t)line->n + 2, sizeof *words);
    int ms = s_ms();
    if (!words)
        return false;
    int n = s_peer_words(line, all, table, words);
    gi_opts_watch(NULL, NULL);
    s_bound(ms);
    bool open = gi_opts_parse(n, words, &usage, table, NULL) < 0 &&
                gi_peer_check(peer, &usage) < 0 && gi_peer_connect(peer) == 0 &&
                gate_client_ready(peer->client, ms) == GATE_OK;
    free(words);
    return open;
}

static void s_services(const s_line_t *line, gate_client_t *client,
                       const char *end) {
    GATE_OWN(gate_value) names = NULL;
    char name[S_NAME_MAX + 2];
    if (gate_client_services(client, &names))
        return;
    const msgpack_object *list = gate_value_object(names);
    for (uint32_t i = 0;
         list->type == MSGPACK_OBJECT_ARRAY && i < list->via.array.size; i++) {
        const msgpack_object *o = &list->via.array.ptr[i];
        if (o->type != MSGPACK_OBJECT_STR ||
            !s_is_plain(o->via.str.ptr, o->via.str.size))
            continue;
        snprintf(name, sizeof name, "%.*s%s", (int)o->via.str.size,
                 o->via.str.ptr, end);
        s_offer(line, name, "service");
    }
}

static void s_method(const s_line_t *line, int size,
                     const msgpack_object_kv *kv) {
    char name[2 * S_NAME_MAX + 2], about[80];
    if (kv->key.type != MSGPACK_OBJECT_STR ||
        !s_is_plain(kv->key.via.str.ptr, kv->key.via.str.size))
        return;
    snprintf(name, sizeof name, "%.*s.%.*s", size, line->word,
             (int)kv->key.via.str.size, kv->key.via.str.ptr);
    const msgpack_object *doc = gi_json_get(&kv->val, "doc");
    if (!doc || doc->type != MSGPACK_OBJECT_STR || !doc->via.str.size)
        doc = gi_json_get(&kv->val, "signature");
    s_about(about, doc);
    s_offer(line, name, about);
}

/* Of the service whose name ends at the word's last dot. */
static void s_methods(const s_line_t *line, gate_client_t *client) {
    GATE_OWN(gate_value) all = NULL;
    char ask[S_NAME_MAX + 20];
    int size = (int)(strrchr(line->word, '.') - line->word);
    if (size > S_NAME_MAX)
        return;
    snprintf(ask, sizeof ask, "%.*s.get_interfaces", size, line->word);
    if (gate_client_call(client, ask, &all))
        return;
    const msgpack_object *map = gate_value_object(all);
    for (uint32_t i = 0;
         map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++)
        s_method(line, size, &map->via.map.ptr[i]);
}

static void s_ask(const s_line_t *line, const gi_opt_t *table) {
    gi_peer_t peer = {0};
    bool methods = line->verb->words == GI_WORDS_METHOD;
    if (s_open(line, table, &peer)) {
        if (methods && strchr(line->word, '.'))
            s_methods(line, peer.client);
        else
            s_services(line, peer.client, methods ? "." : "");
    }
    fflush(stdout);
    gi_peer_close(&peer);
}

/* ---- contexts ------------------------------------------------------------------ */
static void s_offer_context(void *ctx, const char *name) {
    s_offer(ctx, name, "context");
}

static void s_contexts(s_line_t *line) {
    gi_contexts_t *all = gi_contexts_open(false);
    if (all)
        gi_contexts_each(all, s_offer_context, line);
    gi_contexts_close(&all);
}

static void s_context_words(s_line_t *line, int index, const char *first) {
    static const char *const actions[] = {"add", "list", "remove", "use"};
    for (size_t i = 0; index == 0 && i < 4; i++)
        s_offer(line, actions[i], "");
    if (index == 1 && (!strcmp(first, "use") || !strcmp(first, "remove")))
        s_contexts(line);
}

/* ---- which kind of word it is ---------------------------------------------------- */
static void s_value(s_line_t *line, const gi_opt_t *o) {
    if (strcmp(o->name, "context") == 0)
        s_contexts(line);
    else if (strstr(o->arg, "FILE") || strstr(o->arg, "DIR") ||
             strstr(o->arg, "PATH"))
        printf(":files\n");
}

static void s_options(const s_line_t *line, const gi_opt_t *table) {
    char name[64];
    for (; table->name; table++) {
        snprintf(name, sizeof name, "--%s", table->name);
        s_offer(line, name, table->help);
    }
    s_offer(line, "--help", "show this");
}

static void s_word(s_line_t *line, const gi_opt_t *table) {
    const char *first = "";
    int index = 0; /* among the words that are no options */
    for (int i = 1; i < line->n; i++) {
        if (s_takes_next(table, line->words[i])) {
            i++;
        } else if (!s_is_option(line->words[i])) {
            first = index++ ? first : line->words[i];
        }
    }
    gi_word_kind_t kind = line->verb->words;
    if (kind == GI_WORDS_FILES)
        printf(":files\n");
    else if (kind == GI_WORDS_CONTEXT)
        s_context_words(line, index, first);
    else if (kind != GI_WORDS_NONE && index == 0)
        s_ask(line, table);
}

/* Called by gi_opts_parse with the verb's own table. */
static void s_complete(void *ctx, const gi_opt_t *table) {
    s_line_t *line = ctx;
    if (line->n > 1 && s_takes_next(table, line->words[line->n - 1]))
        s_value(line, s_find(table, line->words[line->n - 1]));
    else if (line->word[0] == '-')
        s_options(line, table);
    else
        s_word(line, table);
}

static void s_verbs(const s_line_t *line, const gi_verb_t *verbs, size_t n) {
    for (size_t i = 0; i < n; i++)
        s_offer(line, verbs[i].name, verbs[i].brief);
}

static void s_first(const s_line_t *line, const gi_verb_t *verbs, size_t n) {
    s_verbs(line, verbs, n);
    s_offer(line, "help", "say how a verb is used");
    if (line->word[0] == '-') {
        s_offer(line, "--help", "list the verbs");
        s_offer(line, "--version", "say which version this is");
    }
}

/* Passwords are asked of nobody, and a shell's line is no place for errors. */
static bool s_hush(void) {
    return freopen("/dev/null", "r", stdin) &&
           freopen("/dev/null", "w", stderr);
}

int gi_complete_main(const gi_verb_t *verbs, size_t n_verbs, int argc,
                     char **argv) {
    s_line_t line = {.words = argv, .n = argc - 1};
    if (argc < 1 || !s_hush())
        return GI_EXIT_USAGE;
    line.word = argv[argc - 1];
    if (argc == 1)
        s_first(&line, verbs, n_verbs);
    else if (argc == 2 && strcmp(argv[0], "help") == 0)
        s_verbs(&line, verbs, n_verbs);
    for (size_t i = 0; argc > 1 && i < n_verbs; i++)
        if (strcmp(argv[0], verbs[i].name) == 0)
            line.verb = &verbs[i];
    if (!line.verb)
        return GI_EXIT_OK;
    gi_opts_watch(s_complete, &line);
    return line.verb->run(line.n, line.words);
}
