/* SPDX-License-Identifier: BSD-3-Clause */
/* load.c -- warm up, count, let the rest end. */
#include "bench/rigs/load.h"
#include "bench/rigs/proc.h"

#define S_WAIT_NS 100000000      /* at most so long without a look */
#define S_GRACE_NS 5000000000ull /* for what is still under way */
#define S_OPEN_MAX 4000          /* calls under way of an open loop */

void gi_lane_done(gi_lane_t *lane, uint64_t stamp, bool ok) {
    lane->out--;
    lane->warm = true;
    if (!ok)
        lane->sample->errors++;
    if (!ok || !lane->counting)
        return;
    lane->sample->n++;
    if (stamp) {
        uint64_t now = gi_proc_now();
        gi_hist_add(&lane->sample->hist, now > stamp ? now - stamp : 0);
    }
}

void gi_lane_item(gi_lane_t *lane) {
    lane->warm = true;
    if (lane->counting)
        lane->sample->n++;
}

static bool s_send(gi_lane_t *lane, uint64_t stamp) {
    lane->out++;
    lane->sent++;
    if (lane->send(lane, stamp))
        return true;
    lane->out--;
    return false;
}

/* ---- closed -------------------------------------------------------------- */
static void s_fill(gi_lane_t *lane) {
    uint64_t every = lane->load->sample_every;
    while (lane->out < lane->load->outstanding) {
        bool timed = every <= 1 || lane->sent % every == 0;
        int64_t out = lane->out;
        if (!s_send(lane, timed ? gi_proc_now() : 0) || lane->out == out)
            return; /* none can go, or it has ended already */
    }
}

static void s_closed(gi_lane_t *lane, uint64_t until) {
    while (gi_proc_now() < until) {
        s_fill(lane);
        if (lane->out)
            lane->reap(lane, S_WAIT_NS);
    }
}

/* ---- open ---------------------------------------------------------------- */
static int64_t s_until(uint64_t due) {
    uint64_t now = gi_proc_now();
    if (due <= now)
        return 0;
    return due - now < S_WAIT_NS ? (int64_t)(due - now) : S_WAIT_NS;
}

/* Sends every call due before `until`, the late ones late. */
static void s_open(gi_lane_t *lane, uint64_t until) {
    double gap = 1e9 / lane->load->rate, due = (double)gi_proc_now();
    while (due < (double)until && gi_proc_now() < until + S_GRACE_NS) {
        bool room = lane->out < S_OPEN_MAX;
        if (room && due <= (double)gi_proc_now()) {
            if (s_send(lane, (uint64_t)due))
                due += gap;
            else
                lane->reap(lane, 1000000);
            if (lane->sent % 16 == 0)
                lane->reap(lane, 0);
            continue;
        }
        lane->reap(lane, room ? s_until((uint64_t)due) : S_WAIT_NS);
    }
}

/* ---- a run --------------------------------------------------------------- */
static void s_for(gi_lane_t *lane, double seconds) {
    uint64_t until = gi_proc_now() + (uint64_t)(seconds * 1e9);
    if (lane->load->rate > 0)
        s_open(lane, until);
    else
        s_closed(lane, until);
}

/* Until something has come back, too: what is made on first use (a process
 * pool) may take longer than a short warm-up. */
static void s_warm(gi_lane_t *lane) {
    uint64_t until = gi_proc_now() + S_GRACE_NS;
    s_for(lane, lane->load->warm_seconds);
    while (!lane->warm && lane->out > 0 && gi_proc_now() < until)
        lane->reap(lane, S_WAIT_NS);
}

static void s_drain(gi_lane_t *lane) {
    uint64_t until = gi_proc_now() + S_GRACE_NS;
    if (lane->stop)
        lane->stop(lane);
    while (lane->out > 0 && gi_proc_now() < until)
        lane->reap(lane, S_WAIT_NS);
}

void gi_load_run(gi_lane_t *lane, const gi_load_t *load,
                 void (*begun)(void *ctx), void *ctx, gi_sample_t *sample) {
    *sample = (gi_sample_t){0};
    lane->load = load;
    lane->sample = sample;
    lane->out = 0;
    lane->counting = false;
    bool ready = !lane->prepare || lane->prepare(lane);
    if (ready)
        s_warm(lane);
    if (ready && load->rate > 0)
        s_drain(lane);
    if (begun)
        begun(ctx);
    lane->counting = true;
    uint64_t from = gi_proc_now();
    if (ready)
        s_for(lane, load->seconds);
    /* An open loop counts all that was due; a closed one what ended in time. */
    if (load->rate > 0)
        s_drain(lane);
    sample->seconds = (double)(gi_proc_now() - from) / 1e9;
    lane->counting = false;
    s_drain(lane);
    sample->errors += (uint64_t)lane->out + !ready;
}
