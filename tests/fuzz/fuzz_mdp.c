/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz_mdp.c -- first byte: which parser, and ZAP or not; then frames. What was
 * accepted points into the frames. */
#include <assert.h>

#include "frames.h"
#include "wire/mdp.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void s_request(const gate_bytes_t *f, size_t n, bool zap) {
    gi_mdp_request_t m;
    if (gi_mdp_parse_request(f, n, zap, &m))
        return;
    assert(m.service == 2 && m.request_id == 3 + m.n_zap);
    assert(m.n_zap == (zap ? 3 : 0) && m.n_body >= 1);
    assert(m.body + m.n_body == n);
}

static void s_reply(const gate_bytes_t *f, size_t n) {
    gi_mdp_reply_t m;
    if (!gi_mdp_parse_reply(f, n, &m))
        assert(m.n_body >= 1 && m.body + m.n_body == n);
}

static void s_ready(gate_bytes_t line) {
    gi_mdp_ready_t r;
    if (gi_mdp_parse_ready(line, 7, &r))
        return;
    assert(r.max >= 0 && r.name.size && r.name.size <= line.size);
    char *name = gi_mem_dup(r.name.data, r.name.size);
    char *description = gi_mem_dup(r.description.data, r.description.size);
    char *made = NULL;
    if (!gi_mdp_compose_ready(name, description, r.max, &made))
        assert(strlen(made) <= line.size + 21);
    gi_mem_free(made);
    gi_mem_free(name);
    gi_mem_free(description);
}

static void s_worker(const gate_bytes_t *f, size_t n, bool zap, bool broker) {
    gi_mdp_worker_t m;
    if (broker ? gi_mdp_parse_broker(f, n, &m)
               : gi_mdp_parse_worker(f, n, zap, &m))
        return;
    assert(m.body + m.n_body == n);
    if (m.command == GI_MDP_READY)
        s_ready(f[m.body]);
    if (m.command == GI_MDP_REPLY || m.command == GI_MDP_REQUEST ||
        m.command == GI_MDP_EXT)
        assert(m.request_id == m.client_id + 2 &&
               (m.n_body >= 1 || m.command == GI_MDP_REPLY));
    else
        assert(m.n_body <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    gate_bytes_t f[FUZZ_FRAMES_MAX];
    if (!size)
        return 0;
    bool zap = *data & 0x80;
    size_t n = fuzz_frames(data + 1, size - 1, f);
    switch (*data & 3) {
    case 0:
        s_request(f, n, zap);
        break;
    case 1:
        s_reply(f, n);
        break;
    case 2:
        s_worker(f, n, zap, false);
        break;
    case 3:
        s_worker(f, n, zap, true);
        break;
    }
    fuzz_frames_free(f, n);
    return 0;
}
