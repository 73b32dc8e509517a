# SPDX-License-Identifier: BSD-3-Clause
"""bench_targets.py RECORD PEERS PAGE: what is asked of the figures and what a
user gains, of what script/bench --record (RECORD) and script/bench-peers (PEERS)
measured, into the tables `targets` and `gains` of PAGE."""
import json
import statistics
import sys

from pages import fill, number, table

POOL = ("executor", "mp_pool")
BROKERED = {"nats": "NATS", "nats-asap": "NATS", "nats-flush": "NATS",
            "gearman": "Gearman", "grpc": "gRPC, no broker",
            "nng": "nng, no broker"}


# ---- what was measured ------------------------------------------------------
def pick(part, **what):
    """Results of a part that have these values."""
    return [one for one in (part or {"results": []})["results"]
            if all(one.get(k) == v for k, v in what.items())]


def kin(one, others):
    """What was measured in turns with it and differs in nothing but wire and
    where the method runs."""
    keys = ("verb", "transport", "outstanding", "size", "pin", "auth")
    return [o for o in others if all(o[k] == one[k] for k in keys)]


class Calls:
    """Whole calls beside peers, free, over tcp."""

    def __init__(self, peers):
        self.by = {}
        calls = peers["calls"]
        for one in calls["results"] + calls["references"]:
            name = one["system"]
            if name == "gate":
                name = ("gate+auth" if one["auth"] == "plain" else "gate"
                        if one["wire"] == "lane" else "gate-sockets")
            self.by[name, one["outstanding"]] = one

    def rate(self, ours, theirs, w):
        """Median of the rounds' ratios."""
        a, b = self.by.get((ours, w)), self.by.get((theirs, w))
        pairs = a and b and [x / y for x, y in zip(a["rounds"], b["rounds"])
                             if y]
        return statistics.median(pairs) if pairs else None

    def fastest(self, name, w):
        """(of all its forms) what has the highest rate."""
        there = [self.by[s, w] for s, n in BROKERED.items()
                 if n == name and (s, w) in self.by]
        return max(there, key=lambda one: one["median"]) if there else None


def middle(value):
    return value[0] if isinstance(value, list) else value


def pool_figures(peers, kind, load):
    """{pool: median of the runs}; kind: "threads", "processes"."""
    runs = [r.get(load) if kind == "threads" else r["loads"].get(load)
            for r in peers.get(kind) or []]
    runs = [r for r in runs if r]
    return {pool: statistics.median(middle(r[pool]) for r in runs)
            for pool in (runs[0] if runs else ())
            if all(isinstance(middle(r.get(pool)), (int, float)) for r in runs)}


def efficiency(peers, length, way):
    """Median of the runs; None: not measured."""
    there = [r["jobs"][length]["efficiency"][way]
             for r in peers.get("jobs") or [] if length in r["jobs"]]
    return statistics.median(there) if there else None


# ---- what is asked ----------------------------------------------------------
class Targets:
    def __init__(self):
        self.rows = []

    def least(self, what, bound, figures):
        self.row(what, "at least %s" % number(bound), figures,
                 lambda v: v >= bound)

    def most(self, what, bound, figures):
        self.row(what, "at most %s" % number(bound), figures,
                 lambda v: v <= bound)

    def row(self, what, bound, figures, good):
        figures = [(name, v) for name, v in figures if v is not None]
        if figures:
            self.rows.append([what, bound, ", ".join(
                (name + (" %s" if good(v) else " **%s**") % number(v)).strip()
                for name, v in figures)])


def whole_calls(t, record, calls):
    echo = record.get("echo")

    def to_proxy(key, wire, w, pin, transports=("tcp", "ipc"), auth="off"):
        return [(o["transport"], o["to_reference"][key])
                for tr in transports
                for o in pick(echo, wire=wire, outstanding=w, pin=pin,
                              transport=tr, auth=auth)]

    def p50_to_peers():
        ours = calls.by.get(("gate", 1))
        for name in sorted(set(BROKERED.values())):
            other = calls.fastest(name, 1)
            if ours and other:
                yield name, (ours["latency_us"]["p50"]
                             / other["latency_us"]["p50"])

    t.most("one outstanding, same host, defaults, free: p50 to theirs", 1,
           p50_to_peers())
    t.most("the same pinned, to zmq_proxy's", 0.45, to_proxy("p50", "lane", 1, 0))
    t.most("one outstanding, lane off, pinned: p50 to zmq_proxy's", 1.1,
           to_proxy("p50", "packed", 1, 0))
    t.least("1,000 outstanding, same host, defaults, pinned: rate to zmq_proxy",
            2.5, to_proxy("rate", "lane", 1000, 0))
    t.least("the same, authenticated", 2,
            to_proxy("rate", "lane", 1000, 0, auth="plain"))
    t.least("1,000, defaults, free: rate to NATS buffered", 1.3,
            [("tcp", calls.rate("gate", "nats", 1000))])
    t.least("1,000, lane off, free: rate to NATS buffered", 1.05,
            [("tcp", calls.rate("gate-sockets", "nats", 1000))])
    t.least("1,000, lane off, pinned: rate to zmq_proxy", 2.2,
            to_proxy("rate", "packed", 1000, 0, ("tcp",)))
    t.least("100 outstanding, same host, defaults, free: rate to zmq_proxy", 2.5,
            to_proxy("rate", "lane", 100, "free"))
    cpu = [calls.by.get((s, 1000)) for s in ("gate-sockets", "nats")]
    t.most("CPU a call, 1,000, lane off, free: to NATS buffered's", 1,
           [("tcp", cpu[0]["cpu_s_per_100k"] / cpu[1]["cpu_s_per_100k"])]
           if all(cpu) else [])
    for part, bound, what in (("sockets", 1.2e6, "tcp, lane off"),
                              ("stream", 2e6, "same host, defaults")):
        t.least("stream items/s, " + what, bound,
                [(pinned(o), o["median"]) for o in pick(
                    record.get(part), transport="tcp")])
    t.least("frame by frame (Python's peers), 1,000, pinned: rate to zmq_proxy",
            0.74, to_proxy("rate", "frames", 1000, 0))


def pinned(one):
    return "free" if one["pin"] == "free" else "pinned"


def pools(t, record, peers):
    def to(load, ours, *theirs):
        row = pool_figures(peers, "processes", load)
        return [("%s to %s" % (load, name), row[ours] / row[name])
                for name in theirs if ours in row and name in row]

    t.least("process pool with futures, payload x under way, to pipes and Boost",
            1, to("64x1", "future", "pipes", "boost")
            + to("64x16", "future", "pipes", "boost"))
    t.least("the same, many under way, to pipes", 1.5,
            to("64x256", "future", "pipes") + to("4096x256", "future", "pipes"))
    t.least("to Boost", 1,
            to("64x256", "future", "boost") + to("4096x256", "future", "boost"))
    t.least("to ProcessPoolExecutor", 300, to("64x256", "future", "executor"))
    t.least("1 MiB x 16 copied, to pipes", 1.2, to("1Mx16", "future", "pipes"))
    t.least("64 MiB, two under way, to pipes", 1, to("64Mx2", "future", "pipes"))
    for length, way, bound in (("1000us", "submit", 0.95),
                               ("100us", "submit", 0.9), ("10us", "map", 0.8)):
        t.least("jobs of %s by %s, two workers: efficiency" % (
            length.replace("us", " us"), way), bound,
                [("", efficiency(peers, length, way))])
    row = pool_figures(peers, "threads", "free x 1")
    t.most("thread pool, gate_submit and wait, empty task, free, one under way: "
           "ns to theirs", 1,
           [(name, row["gaterpc"] / row[name])
            for name in ("glib", "libuv", "openmp") if name in row])
    t.most("to oneTBB's (half of its rate)", 2,
           [("tbb", row["gaterpc"] / row["tbb"])] if "tbb" in row else [])
    t.least("thread pool with futures, rate to mutex-list", 1,
            [("%s x %d" % (pinned(o), o["outstanding"]),
              o["to_reference"]["rate"]) for o in pick(record.get("threads"))])


def actors(t, record):
    one = record.get("actors", {}).get("service")
    if one:
        t.most("a service of a process: KiB resident", 64, [("", one["KiB"][0])])
        t.most("us to start", 300, [("", one["ready us"][0])])
    inline = pick(record.get("echo"))
    for runs, bound in (("thread", 0.9), ("process", 0.8)):
        t.least("%s methods, ipc, 1,000 outstanding, to inline" % runs, bound,
                [(pinned(o), o["to_reference"]["rate"]
                  / same["to_reference"]["rate"])
                 for o in pick(record.get("pools"), runs=runs, transport="ipc",
                               outstanding=1000)
                 for same in kin(o, inline) if same["wire"] == o["wire"]])
    t.least("1,000 services in one process, 100 outstanding: rate to one's", 0.5,
            [(o["transport"], o["to_reference"]["rate"])
             for o in pick(record.get("scale"), label="services")])


def targets(record, peers):
    t = Targets()
    whole_calls(t, record, Calls(peers))
    pools(t, record, peers)
    actors(t, record)
    return table(["what", "asked for", "here (**bold** misses it)"], t.rows)


# ---- what a user gains --------------------------------------------------------
def beside(calls, w, value):
    """(ours, others) as text."""
    ours = calls.by.get(("gate", w))
    others = [(name, calls.fastest(name, w))
              for name in sorted(set(BROKERED.values()))]
    return (value(ours) if ours else "-",
            ", ".join("%s %s" % (n, value(o)) for n, o in others if o))


def gains(record, peers):
    calls, rows = Calls(peers), []

    def row(what, ours, others):
        rows.append([what, ours, others])

    def rate(one):
        return number(one["median"])

    row("a call on one host, p50 us", *beside(
        calls, 1, lambda o: number(o["latency_us"]["p50"])))
    row("calls/s, 100 outstanding", *beside(calls, 100, rate))
    row("calls/s, 1,000 outstanding", *beside(calls, 1000, rate))
    row("CPU s for 100,000 calls, 1,000 outstanding, all processes", *beside(
        calls, 1000, lambda o: "%.2f" % o["cpu_s_per_100k"]))
    for one in pick(record.get("echo"), transport="registry", pin="free",
                    outstanding=1):
        row("a call inside one process, p50 us",
            number(one["latency_us"]["p50"]), "-")
    for one in pick(record.get("stream"), transport="ipc", pin="free"):
        row("items/s of one stream", rate(one), "raw ZeroMQ frames %s" % number(
            one["median"] / one["to_reference"]["rate"]))
    for one in pick(record.get("huge"), transport="ipc", label="json"):
        row("a 32 MiB result of JSON, MB/s, compressed where it pays", rate(one),
            "the same bytes by raw ZeroMQ %s" % number(
                one["median"] / one["to_reference"]["rate"]))
    names = {"executor": "ProcessPoolExecutor", "mp_pool": "multiprocessing.Pool",
             "pipes": "children behind pipes", "boost": "Boost message_queue"}
    for load, text in (("64x16", "16"), ("64x256", "256")):
        pool = pool_figures(peers, "processes", load)
        if "future" in pool:
            row("jobs/s through two processes, 64 bytes, %s under way" % text,
                number(pool["future"]),
                ", ".join("%s %s" % (names[p], number(pool[p]))
                          for p in names if p in pool))
    tasks = pool_figures(peers, "threads", "free x 64")
    if tasks:
        row("ns an empty task of a thread pool, 64 under way",
            number(tasks["gaterpc"]),
            ", ".join("%s %s" % (p, number(v)) for p, v in tasks.items()
                      if p not in ("gaterpc", "then")))
    one = record.get("actors")
    if one:
        row("KiB of a service", number(one["service"]["KiB"][0]),
            "a bare zactor %s" % number(one["zactor"]["KiB"][0]))
    return table(["what", "gaterpc", "others in the same run"], rows)


def main():
    record, peers, page = sys.argv[1:]
    with open(record) as f:
        record = json.load(f)
    with open(peers) as f:
        peers = json.load(f)
    tables = {"bench:" + name: make(record, peers)
              for name, make in (("targets", targets), ("gains", gains))}
    missing = set(tables) - fill(page, tables)
    if missing:
        sys.exit("bench_targets: %s has no place for %s" % (
            page, ", ".join(sorted(missing))))


main()
