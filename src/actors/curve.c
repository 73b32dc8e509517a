/* SPDX-License-Identifier: BSD-3-Clause */
/* curve.c -- certificates are checked before CZMQ and libzmq see them: a bad
 * file is the user's mistake and must be an error, never an assert.
 *
 * zauth answers for the whole process and has one store of keys, so brokers of
 * one process share it: the first names the directory, the others must agree.
 * A name is looked up in the broker's own copy of a certificate and never taken
 * from a message: beside what zauth said, a peer may send properties of its
 * own. */
#include "curve.h"

#include <gaterpc/curve.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "err.h"
#include "lock.h"
#include "mem.h"

#define S_FILE_MAX 65536
#define S_KEY 40         /* characters of a Z85 key */
#define S_FREE_TRIES 500 /* of 2 ms */
#define S_BELIEVED_MS 1000
#define S_KNOWN_MAX 4096
#define S_ENDPOINT "inproc://zeromq.zap.01"

/* ---- certificates
 * ------------------------------------------------------------- */
static bool s_is_zero(const byte *key) {
    byte sum = 0;
    for (int i = 0; i < 32; i++)
        sum |= key[i];
    return sum == 0;
}

/* Not zcert_load, which leaks when the file is none of its kind. */
static zcert_t *s_read(const char *file) {
    byte keys[2][32] = {{0}, {0}};
    zcert_t *cert = NULL;
    zchunk_t *text = zchunk_slurp(file, S_FILE_MAX);
    zconfig_t *root = text ? zconfig_chunk_load(text) : NULL;
    const char *open = root ? zconfig_get(root, "curve/public-key", "") : "";
    const char *secret = root ? zconfig_get(root, "curve/secret-key", "") : "";
    if (strlen(open) == S_KEY && zmq_z85_decode(keys[0], open) &&
        (strlen(secret) != S_KEY || zmq_z85_decode(keys[1], secret)))
        cert = zcert_new_from(keys[0], keys[1]);
    explicit_bzero(keys, sizeof keys);
    zconfig_destroy(&root);
    zchunk_destroy(&text);
    return cert;
}

static gate_err_t s_load(const char *file, bool secret, zcert_t **out) {
    char both[4096];
    snprintf(both, sizeof both, "%s_secret", file);
    bool has_both = access(both, R_OK) == 0;
    if (!has_both && access(file, R_OK) < 0)
        return gi_err_errno("certificate %s", file);
    zcert_t *cert = s_read(has_both ? both : file);
    if (!cert || s_is_zero(zcert_public_key(cert))) {
        zcert_destroy(&cert);
        return gi_err(GATE_BADDATA, "%s is no CURVE certificate", file);
    }
    if (secret && s_is_zero(zcert_secret_key(cert))) {
        zcert_destroy(&cert);
        return gi_err(GATE_SYSTEM,
                      "certificate %s: its secret half %s cannot be read", file,
                      both);
    }
    *out = cert;
    return GATE_OK;
}

gate_err_t gate_curve_keygen(const char *file, const char *name) {
    char secret[4096];
    snprintf(secret, sizeof secret, "%s_secret", file);
    if (access(file, F_OK) == 0 || access(secret, F_OK) == 0)
        return gi_err(GATE_BADARG, "%s or %s exists already", file, secret);
    if (!zsys_has_curve())
        return gi_err(GATE_NOTIMPL, "this libzmq was built without CURVE");
    zcert_t *cert = zcert_new();
    if (!cert)
        return gi_err(GATE_NOMEM, "no memory for a certificate");
    if (name)
        zcert_set_meta(cert, "name", "%s", name);
    mode_t before = umask(077);
    int rc = zcert_save(cert, file);
    umask(before);
    zcert_destroy(&cert);
    if (rc)
        return gi_err_errno("%s cannot be written", file);
    if (chmod(file, 0644) < 0 || chmod(secret, 0600) < 0)
        return gi_err_errno("%s: mode", file);
    return GATE_OK;
}

/* ---- sockets
 * ------------------------------------------------------------------ */
static gate_err_t s_key(gi_sock_t *sock, int option, const byte *key) {
    if (zmq_setsockopt(sock->raw, option, key, 32) < 0)
        return gi_err_errno("CURVE");
    return GATE_OK;
}

static gate_err_t s_own(gi_sock_t *sock, zcert_t *cert) {
    gate_err_t e = s_key(sock, ZMQ_CURVE_PUBLICKEY, zcert_public_key(cert));
    return e ? e : s_key(sock, ZMQ_CURVE_SECRETKEY, zcert_secret_key(cert));
}

gate_err_t gi_curve_client(gi_sock_t *sock, const char *cert_file,
                           const char *server_file) {
    zcert_t *cert = NULL, *server = NULL;
    if (!cert_file && !server_file)
        return GATE_OK;
    if (!cert_file || !server_file)
        return gi_err(GATE_BADARG, "CURVE takes both our certificate and the "
                                   "server's public one");
    gate_err_t e = s_load(cert_file, true, &cert);
    if (!e)
        e = s_load(server_file, false, &server);
    if (!e)
        e = s_own(sock, cert);
    if (!e)
        e = s_key(sock, ZMQ_CURVE_SERVERKEY, zcert_public_key(server));
    zcert_destroy(&cert);
    zcert_destroy(&server);
    return e;
}

gate_err_t gi_curve_server(gi_sock_t *sock, const char *cert_file,
                           const char *domain) {
    zcert_t *cert = NULL;
    int one = 1;
    gate_err_t e = s_load(cert_file, true, &cert);
    if (!e)
        e = s_own(sock, cert);
    zcert_destroy(&cert);
    if (!e &&
        (zmq_setsockopt(sock->raw, ZMQ_CURVE_SERVER, &one, sizeof one) < 0 ||
         zmq_setsockopt(sock->raw, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) < 0))
        e = gi_err_errno("CURVE server");
    return e;
}

/* ---- the authority
 * ------------------------------------------------------------ */
static struct {
    gi_lock_t lock;
    zactor_t *zauth;
    char *allowed;
    unsigned users;
} s_authority = {.lock = {PTHREAD_MUTEX_INITIALIZER}};

static gate_err_t s_check_allowed(const char *allowed) {
    struct stat st;
    if (strcmp(allowed, "*") == 0)
        return GATE_OK;
    if (stat(allowed, &st) < 0)
        return gi_err_errno("directory of allowed keys %s", allowed);
    return S_ISDIR(st.st_mode)
               ? GATE_OK
               : gi_err(GATE_BADARG, "%s is no directory of allowed keys",
                        allowed);
}

/* zauth asserts that the endpoint is free: look first. A zauth that was
 * destroyed gives it back in the background, so one look is not enough. */
static gate_err_t s_endpoint_free(void) {
    const struct timespec pause = {0, 2000000};
    void *probe = zmq_socket(zsys_init(), ZMQ_REP);
    if (!probe)
        return gi_err_errno("no socket left for zauth");
    int rc = zmq_bind(probe, S_ENDPOINT);
    for (int i = 0; rc < 0 && i < S_FREE_TRIES; i++) {
        nanosleep(&pause, NULL);
        rc = zmq_bind(probe, S_ENDPOINT);
    }
    if (rc == 0)
        zmq_unbind(probe, S_ENDPOINT); /* at once, unlike close */
    zmq_close(probe);
    return rc == 0 ? GATE_OK
                   : gi_err(GATE_SYSTEM,
                            S_ENDPOINT " is taken: this process runs an "
                                       "authenticator of its own");
}

static gate_err_t s_authority_start(const char *allowed) {
    gate_err_t e = s_check_allowed(allowed);
    if (!e)
        e = s_endpoint_free();
    if (e)
        return e;
    s_authority.allowed = gi_mem_strdup(allowed);
    if (!s_authority.allowed)
        return gi_err(GATE_NOMEM, "no memory for an authenticator");
    s_authority.zauth = zactor_new(zauth, NULL);
    if (!s_authority.zauth) {
        gi_mem_free(s_authority.allowed);
        return gi_err(GATE_SYSTEM, "zauth does not start");
    }
    zstr_sendx(s_authority.zauth, "CURVE", allowed, NULL);
    zsock_wait(s_authority.zauth);
    return GATE_OK;
}

gate_err_t gi_curve_authority(const char *allowed) {
    gate_err_t e = GATE_OK;
    gi_lock(&s_authority.lock);
    if (!s_authority.users)
        e = s_authority_start(allowed);
    else if (strcmp(s_authority.allowed, allowed))
        e = gi_err(GATE_BADARG,
                   "another broker of this process allows the keys of %s: one "
                   "directory for all",
                   s_authority.allowed);
    s_authority.users += !e;
    gi_unlock(&s_authority.lock);
    return e;
}

void gi_curve_authority_release(void) {
    gi_lock(&s_authority.lock);
    if (--s_authority.users == 0) {
        zactor_destroy(&s_authority.zauth);
        gi_mem_free(s_authority.allowed);
        s_authority.allowed = NULL;
    }
    gi_unlock(&s_authority.lock);
}

/* ---- names
 * -------------------------------------------------------------------- */
/* A look into the store reads the directory, so what was found is believed for
 * a second. */
struct gi_curve_names {
    zcertstore_t *store; /* NULL: any key, no names */
    zhashx_t *known;     /* key -> name */
    int64_t since_ms;
};

gi_curve_names_t *gi_curve_names_new(const char *allowed) {
    gi_curve_names_t *self = gi_mem_calloc(1, sizeof *self);
    if (!self || strcmp(allowed, "*") == 0)
        return self;
    self->store = zcertstore_new(allowed);
    self->known = zhashx_new();
    zhashx_set_duplicator(self->known, (zhashx_duplicator_fn *)strdup);
    zhashx_set_destructor(self->known, (zhashx_destructor_fn *)zstr_free);
    return self;
}

void gi_curve_names_destroy(gi_curve_names_t **self_p) {
    gi_curve_names_t *self = *self_p;
    if (!self)
        return;
    *self_p = NULL;
    zcertstore_destroy(&self->store);
    zhashx_destroy(&self->known);
    gi_mem_free(self);
}

static const char *s_look_up(gi_curve_names_t *self, const char *key) {
    zcert_t *cert = zcertstore_lookup(self->store, key);
    const char *name = cert ? zcert_meta(cert, "name") : NULL;
    return name && *name ? name : key;
}

const char *gi_curve_name(gi_curve_names_t *self, const char *key,
                          int64_t now_ms) {
    if (!self->store || strlen(key) != S_KEY)
        return key;
    if (now_ms - self->since_ms > S_BELIEVED_MS ||
        zhashx_size(self->known) >= S_KNOWN_MAX) {
        zhashx_purge(self->known);
        self->since_ms = now_ms;
    }
    const char *name = zhashx_lookup(self->known, key);
    if (!name) {
        zhashx_insert(self->known, key,
                      (void *)(uintptr_t)s_look_up(self, key));
        name = zhashx_lookup(self->known, key);
    }
    return name ? name : key;
}
