/* SPDX-License-Identifier: BSD-3-Clause */
/* curve.c -- certificates are checked before CZMQ and libzmq see them: a bad
 * file is the user's mistake and must be an error, never an assert. */
#include "net/curve.h"

#include <gaterpc/curve.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/mem.h"
#include "base/trusted.h"

#define S_FILE_MAX 65536

/* ---- certificates -------------------------------------------------------- */
static bool s_is_zero(const byte *key) {
    byte sum = 0;
    for (int i = 0; i < 32; i++)
        sum |= key[i];
    return sum == 0;
}

/* Of a certificate's text; NULL: it is none. Not zcert_load, which leaks when
 * the file is none of its kind, and waits for ever at a FIFO. */
static zconfig_t *s_parse(const gi_trusted_t *file) {
    zchunk_t *text = zchunk_new(file->text, file->size);
    zconfig_t *root = text ? zconfig_chunk_load(text) : NULL;
    zchunk_destroy(&text);
    return root;
}

gate_err_t gi_curve_public(const char *file, unsigned how,
                           char key[GI_CURVE_KEY + 1], char name[GI_CURVE_NAME],
                           bool *is_one) {
    byte decoded[32];
    gi_trusted_t text;
    *is_one = false;
    gate_err_t e = gi_trusted_read("certificate", file, how, S_FILE_MAX, &text);
    if (e)
        return e;
    zconfig_t *root = s_parse(&text);
    const char *open = root ? zconfig_get(root, "curve/public-key", "") : "";
    *is_one = strlen(open) == GI_CURVE_KEY && zmq_z85_decode(decoded, open);
    if (*is_one) {
        strcpy(key, open);
        snprintf(name, GI_CURVE_NAME, "%s",
                 zconfig_get(root, "metadata/name", ""));
    }
    zconfig_destroy(&root);
    gi_trusted_fini(&text);
    return GATE_OK;
}

static zcert_t *s_cert(const gi_trusted_t *text) {
    byte keys[2][32] = {{0}, {0}};
    zcert_t *cert = NULL;
    zconfig_t *root = s_parse(text);
    const char *open = root ? zconfig_get(root, "curve/public-key", "") : "";
    const char *secret = root ? zconfig_get(root, "curve/secret-key", "") : "";
    if (strlen(open) == GI_CURVE_KEY && zmq_z85_decode(keys[0], open) &&
        (strlen(secret) != GI_CURVE_KEY || zmq_z85_decode(keys[1], secret)))
        cert = zcert_new_from(keys[0], keys[1]);
    explicit_bzero(keys, sizeof keys);
    zconfig_destroy(&root);
    return cert;
}

/* A file that holds the secret half is nobody else's to read. */
static gate_err_t s_read(const char *file, unsigned how, zcert_t **out) {
    gi_trusted_t text;
    gate_err_t e = gi_trusted_read("certificate", file, how, S_FILE_MAX, &text);
    if (e)
        return e;
    zcert_t *cert = s_cert(&text);
    if (!cert || s_is_zero(zcert_public_key(cert)))
        e = gi_err(GATE_BADDATA, "%s is no CURVE certificate", file);
    else if (!s_is_zero(zcert_secret_key(cert)))
        e = gi_trusted_look("certificate", file, how | GI_TRUST_SECRET,
                            &text.st);
    gi_trusted_fini(&text);
    if (e)
        zcert_destroy(&cert);
    else
        *out = cert;
    return e;
}

/* FILE_secret for our own, FILE for the other side's. */
static gate_err_t s_load(const char *file, bool secret, unsigned how,
                         zcert_t **out) {
    char both[4096];
    if (snprintf(both, sizeof both, "%s_secret", file) >= (int)sizeof both)
        return gi_err(GATE_TOOBIG, "certificate: a path of more than %zu bytes",
                      sizeof both - sizeof "_secret");
    bool has_both = secret && access(both, F_OK) == 0;
    gate_err_t e = s_read(has_both ? both : file, how, out);
    if (e || !secret || !s_is_zero(zcert_secret_key(*out)))
        return e;
    zcert_destroy(out);
    return gi_err(GATE_SYSTEM,
                  "certificate %s: its secret half %s cannot be read", file,
                  both);
}

/* What stands in quotes, on one line of the file. */
static bool s_is_name(const char *name) {
    for (; *name; name++)
        if (*name == '"' || (unsigned char)*name < ' ' || *name == 127)
            return false;
    return true;
}

gate_err_t gate_curve_keygen(const char *file, const char *name) {
    char secret[4096];
    if (!file || !*file)
        return gi_err(GATE_BADARG, "a certificate needs the name of a file");
    if (name && (!s_is_name(name) || strlen(name) >= GI_CURVE_NAME))
        return gi_err(GATE_BADARG,
                      "certificate %s: a name has at most %d bytes, no quote "
                      "(\") and no control character",
                      file, GI_CURVE_NAME - 1);
    snprintf(secret, sizeof secret, "%s_secret", file);
    if (access(file, F_OK) == 0 || access(secret, F_OK) == 0)
        return gi_err(GATE_SYSTEM,
                      "%s or %s exists already: another name, or "
                      "remove both",
                      file, secret);
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

/* ---- sockets ------------------------------------------------------------- */
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
    gate_err_t e = s_load(cert_file, true, sock->trusts, &cert);
    if (!e)
        e = s_load(server_file, false, sock->trusts, &server);
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
    gate_err_t e = s_load(cert_file, true, sock->trusts, &cert);
    if (!e)
        e = s_own(sock, cert);
    zcert_destroy(&cert);
    if (!e &&
        (zmq_setsockopt(sock->raw, ZMQ_CURVE_SERVER, &one, sizeof one) < 0 ||
         zmq_setsockopt(sock->raw, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) < 0))
        e = gi_err_errno("CURVE server");
    return e;
}

gate_err_t gi_plain_client(gi_sock_t *sock, const char *user,
                           const char *password) {
    if (!user)
        return GATE_OK;
    if (!password)
        password = "";
    if (strlen(user) > GI_PLAIN_MAX || strlen(password) > GI_PLAIN_MAX)
        return gi_err(GATE_BADARG,
                      "PLAIN: user and password have at most %d "
                      "bytes",
                      GI_PLAIN_MAX);
    if (zmq_setsockopt(sock->raw, ZMQ_PLAIN_USERNAME, user, strlen(user)) < 0 ||
        zmq_setsockopt(sock->raw, ZMQ_PLAIN_PASSWORD, password,
                       strlen(password)) < 0)
        return gi_err_errno("PLAIN: user %s", user);
    return GATE_OK;
}

gate_err_t gi_plain_server(gi_sock_t *sock, const char *domain) {
    int one = 1;
    if (zmq_setsockopt(sock->raw, ZMQ_PLAIN_SERVER, &one, sizeof one) < 0 ||
        zmq_setsockopt(sock->raw, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) < 0)
        return gi_err_errno("PLAIN server");
    return GATE_OK;
}
