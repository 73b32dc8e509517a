/* SPDX-License-Identifier: BSD-3-Clause */
/* monitor.h -- a broker over HTTP, to be read and not to be changed: metrics,
 * health, JSON and a page. One thread of libmicrohttpd; what it shows is asked
 * of the broker at most every 250 ms, however many ask (docs/observe.md).
 * Thread: the main one. Blocks: start and stop, shortly.
 * Law: GET and HEAD alone; nobody from elsewhere without a token; no host name
 * that we were not told. */
#ifndef GI_MONITOR_H
#define GI_MONITOR_H

#include <gaterpc.h>

typedef struct gi_monitor gi_monitor_t;

/* Answers at addr ("9464", "127.0.0.1:9464", "[::1]:9464", "unix:/path"; port 0
 * picks one) about the broker behind client, which is borrowed until stop, by
 * the settings monitor_*. NULL after saying why. */
gi_monitor_t *gi_monitor_start(const char *addr, gate_client_t *client,
                               const gate_settings_t *settings);
/* Borrows: "http://127.0.0.1:9464", or "unix:/path". */
const char *gi_monitor_url(const gi_monitor_t *self);
void gi_monitor_stop(gi_monitor_t **self_p);

/* ---- listen.c ------------------------------------------------------------ */
typedef struct gi_listen {
    int fd;
    bool local;     /* only this machine reaches it */
    char url[160];  /* as it is */
    char path[108]; /* of the unix socket; "" none */
} gi_listen_t;
/* False after saying why on stderr. */
bool gi_listen_open(gi_listen_t *self, const char *addr);
void gi_listen_close(gi_listen_t *self);

/* ---- look.c: what the broker told last ----------------------------------- */
typedef struct gi_look {
    gate_client_t *client; /* borrowed */
    bool parts;            /* workers, clients, slow calls too */
    gate_value_t *value;   /* NULL: it did not answer */
    int64_t at_ms;         /* when it was asked; 0: not yet */
} gi_look_t;
/* Borrows until the next look or fini; NULL: the broker did not answer. */
const gate_value_t *gi_look_get(gi_look_t *self);
void gi_look_fini(gi_look_t *self);

/* ---- fetch.c ------------------------------------------------------------- */
/* GET path of a monitor at addr (as for start): its status, e.g. 200; 0: no
 * answer, said on stderr. */
int gi_fetch_status(const char *addr, const char *path);

/* ---- answers.c ----------------------------------------------------------- */
typedef struct gi_answer {
    int status;
    const char *type;
    char *body; /* malloc'ed, or: */
    const char *fixed;
    size_t size;
    bool page;
} gi_answer_t;
/* Those that are large and the same for all who ask while a look is fresh. */
typedef enum gi_shared {
    GI_SHARED_NONE,
    GI_SHARED_SNAPSHOT,
    GI_SHARED_METRICS,
    GI_SHARED_OPEN_METRICS,
    GI_SHARED
} gi_shared_t;
gi_shared_t gi_answers_shared(const char *path, const char *accept);
/* What is at path; accept may be NULL. */
void gi_answers_get(gi_answer_t *out, gi_look_t *look, const char *path,
                    const char *accept, bool verbose);

/* ---- page.c -------------------------------------------------------------- */
#define GI_PAGE_CSP_MAX 512
#define GI_PAGE_ETAG_MAX 64
/* page.html as it was when this was built. */
const char *gi_page_html(size_t *size);
/* What it may do: run its own script, with its own style, and ask us. False: it
 * has no script or style. */
bool gi_page_policy(char csp[GI_PAGE_CSP_MAX], char etag[GI_PAGE_ETAG_MAX]);

#endif
