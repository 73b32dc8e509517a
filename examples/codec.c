/* SPDX-License-Identifier: BSD-3-Clause */
/* codec.c -- a codec of one's own for huge results: runs of equal bytes as
 * (length, byte), a zero at the end. Register it in every program that is to
 * read or write it, before anything else. */
#include "local.h"
#include <string.h>

typedef struct rle {
    bool compress, ended, have; /* have: a run that is not written or read */
    unsigned char run, byte;
} rle_t;

static void *rle_open(bool compress, int level) {
    rle_t *self = calloc(1, sizeof *self);
    (void)level;
    if (self)
        self->compress = compress;
    return self;
}

static bool take(gate_bytes_t *in, unsigned char *out) {
    if (!in->size)
        return false;
    *out = *(const unsigned char *)in->data;
    in->data = (const unsigned char *)in->data + 1;
    in->size--;
    return true;
}

/* Writes pairs while there is room for one. */
static gate_err_t squeeze(rle_t *self, gate_bytes_t *in, unsigned char *out,
                          size_t *size, bool finish) {
    size_t room = *size, n = 0;
    unsigned char byte;
    while (room - n >= 2) {
        if (!take(in, &byte)) {
            if (!finish)
                break;
            if (self->run) {
                out[n++] = self->run;
                out[n++] = self->byte;
                self->run = 0;
                continue;
            }
            out[n++] = 0;
            *size = n;
            return GATE_EOS;
        }
        if (self->run && (byte != self->byte || self->run == 255)) {
            out[n++] = self->run;
            out[n++] = self->byte;
            self->run = 0;
        }
        self->byte = byte;
        self->run++;
    }
    *size = n;
    return GATE_OK;
}

static gate_err_t stretch(rle_t *self, gate_bytes_t *in, unsigned char *out,
                          size_t *size) {
    size_t room = *size, n = 0;
    while (n < room || !self->run) {
        if (!self->run) {
            if (!take(in, &self->run))
                break;
            if (!self->run) {
                *size = n;
                return GATE_EOS;
            }
            self->have = false;
        }
        if (!self->have && !(self->have = take(in, &self->byte)))
            break;
        for (; self->run && n < room; self->run--)
            out[n++] = self->byte;
    }
    *size = n;
    return GATE_OK;
}

static gate_err_t rle_step(void *arg, gate_bytes_t *in, void *out, size_t *size,
                           bool finish) {
    rle_t *self = arg;
    return self->compress ? squeeze(self, in, out, size, finish)
                          : stretch(self, in, out, size);
}

static const gate_codec_t rle = {
    .name = "rle", .open = rle_open, .close = free, .step = rle_step};

/* ---- a service that uses it ---------------------------------------------- */
static gate_err_t picture(gate_call_t *call) {
    static char data[3000000];
    memset(data, ' ', sizeof data);
    memset(data + 1000000, '#', 1000);
    return gate_huge_data(call, data, sizeof data, NULL,
                          &(gate_huge_options_t){.codec = "rle"});
}

static const gate_method_t methods[] = {
    GATE_METHOD(picture, .runs = GATE_THREAD), GATE_END};

static int run(gate_client_t *client) {
    GATE_OWN(gate_stream) stream = NULL;
    gate_progress_t progress;
    gate_bytes_t got;
    if (gate_client_open(client, "Demo.picture", &stream) ||
        gate_stream_next(stream, &got))
        return gate_perror("picture");
    const char *p = got.data;
    gate_stream_progress(stream, &progress);
    printf("%zu bytes came as %llu\n", got.size,
           (unsigned long long)progress.wire);
    return got.size != 3000000 || p[999999] != ' ' || p[1000000] != '#' ||
           p[1000999] != '#' || p[1001000] != ' ' || progress.wire > 40000;
}

int main(void) {
    local_t l;
    if (gate_codec_register(&rle))
        return gate_perror("codec_register");
    GATE_OWN(gate_settings) settings = gate_settings_new();
    gate_settings_set(settings, "route", "broker"); /* not within the process */
    local_start(&l, settings, "Demo", methods);
    int code = run(l.client);
    local_stop(&l);
    return code;
}
