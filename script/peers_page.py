# SPDX-License-Identifier: BSD-3-Clause
"""peers_page.py PARTS RECORD HTML PAGE: joins what script/bench-peers measured
(the folder PARTS) into RECORD, writes the comparison HTML (needs nothing but
itself; prints), and the section between <!-- peers --> and <!-- end --> of
PAGE."""
import glob
import html
import json
import math
import os
import statistics
import subprocess
import sys

from pages import fill, number, table

# system of bench_peers: name, has a broker between, how it is set up
SYSTEMS = {
    "gate": ("gaterpc", True,
             "gate_client_call with one call outstanding, else futures into a "
             "completion queue; inline method; every default (heartbeats, "
             "credit, deadlines, bounded queues, lanes between peers of one "
             "host) on"),
    "gate-sockets": ("gaterpc, by sockets", True,
                     "the same with lane=off: what peers on two hosts have"),
    "gate+auth": ("gaterpc, authenticated", True,
                  "the same, each message with PLAIN credentials that the "
                  "broker has asked its ZAP service about"),
    "zmq_proxy": ("zmq_proxy, our frames", True,
                  "libzmq's forwarder between raw DEALERs: the reference"),
    "nats": ("NATS, buffered", True,
             "nats-server as installed, no log; C client: PublishRequest to an "
             "inbox of its own and NextMsg, buffered writes that its thread "
             "flushes, as nats.c advises for throughput; pending limits off; "
             "natsConnection_Request with one call outstanding"),
    "nats-asap": ("NATS, SendAsap", True,
                  "the same with natsOptions_SetSendAsap on both sides, which "
                  "nats.c advises for latency"),
    "nats-flush": ("NATS, flushed by batch", True,
                   "the client buffers and calls natsConnection_Flush after "
                   "each batch, the service sends at once"),
    "gearman": ("Gearman", True,
                "gearmand with its default 4 I/O threads, queue in memory, no "
                "log; libgearman's client without blocking, all tasks on one "
                "connection, unique ids given instead of UUIDs made; 4 workers "
                "in the service's process, a worker having one job at a time"),
    "grpc": ("gRPC, no broker", False,
             "C++, unary calls, asynchronous API on completion queues, which "
             "its performance guide advises for many calls a second: one queue "
             "and thread for each CPU at the service, 512 calls requested "
             "ahead on each; one channel and stub kept; no TLS"),
    "nng-device": ("nng, device", True,
                   "nng_device between raw sockets with the largest buffers; "
                   "REQ and REP contexts with asynchronous I/O, as its manual "
                   "advises. Never more than 60 on the wire: it drops answers "
                   "when 64 wait for one connection, and then a call takes a "
                   "minute"),
    "nng": ("nng, no broker", False,
            "REQ and REP, 1,024 contexts with asynchronous I/O each"),
}
OURS = ("gate", "gate-sockets", "gate+auth")
# who is asked to be slower, at which W, in whatever form it is fastest
MUST = (("Gearman", ("gearman",), (1, 100, 1000)),
        ("gRPC", ("grpc",), (1, 100, 1000)),
        ("nng", ("nng", "nng-device"), (1, 100, 1000)),
        ("NATS", ("nats", "nats-asap", "nats-flush"), (1, 100, 1000)))
PACKAGES = ("nats-server", "libnats-dev", "gearman-job-server", "libgrpc++-dev",
            "libnng-dev", "libzmq3-dev", "libglib2.0-dev", "libuv1-dev",
            "libboost-dev")
COLOURS = ("#0072b2", "#56b4e9", "#000000", "#d55e00", "#e69f00", "#8c6d31",
           "#009e73", "#cc79a7", "#7b3294", "#b07aa1")


def key(one):
    if one["system"] != "gate":
        return one["system"]
    return ("gate+auth" if one["auth"] == "plain" else
            "gate" if one["wire"] == "lane" else "gate-sockets")


def calls_of(report):
    """{system: {W: result}}"""
    by = {}
    for one in report["results"] + report["references"]:
        by.setdefault(key(one), {})[one["outstanding"]] = one
    return {s: by[s] for s in SYSTEMS if s in by}


def ratio(ours, theirs):
    """Round by round: what slows the machine slows both."""
    pairs = [a / b for a, b in zip(ours["rounds"], theirs["rounds"]) if b]
    return statistics.median(pairs) if pairs else 0


def fastest(calls, forms, w):
    there = [calls[f][w] for f in forms if f in calls and w in calls[f]]
    return max(there, key=lambda one: one["median"]) if there else None


# ---- pictures ---------------------------------------------------------------
def mark(i, x, y, colour):
    if i % 3 == 0:
        return '<circle cx="%.1f" cy="%.1f" r="3.2" fill="%s"/>' % (x, y, colour)
    if i % 3 == 1:
        return ('<rect x="%.1f" y="%.1f" width="6" height="6" fill="%s"/>'
                % (x - 3, y - 3, colour))
    return '<path d="M%.1f %.1fl4 7h-8z" fill="%s"/>' % (x, y - 4, colour)


def lines(series, x_title, y_title):
    """series: (name, dashed, [(x, y, low, high)]); both axes logarithmic."""
    left, top, wide, high, legend = 62, 12, 470, 300, 16
    xs = [p[0] for _, _, points in series for p in points]
    ys = [v for _, _, points in series for p in points for v in p[1:] if v > 0]
    y0, y1 = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    x0, x1 = math.log10(min(xs)), math.log10(max(xs))

    def at(x, y):
        return (left + 14 + (math.log10(x) - x0) / max(x1 - x0, 1e-9)
                * (wide - 28),
                top + high - (math.log10(max(y, 10 ** y0)) - y0)
                / max(y1 - y0, 1) * high)

    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
           'role="img" aria-label="%s against %s">'
           % (left + wide + 210, top + high + 46, y_title, x_title)]
    for power in range(y0, y1 + 1):
        for step in (1, 2, 5) if power < y1 else (1,):
            _, y = at(min(xs), step * 10 ** power)
            out.append('<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s"/>'
                       % (left, y, left + wide, y,
                          "#bbb" if step == 1 else "#eee"))
            if step == 1:
                out.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>'
                           % (left - 6, y + 4, number(10 ** power)))
    for x in sorted(set(xs)):
        px, _ = at(x, 10 ** y0)
        out.append('<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#bbb"/>'
                   '<text x="%.1f" y="%d" text-anchor="middle">%s</text>'
                   % (px, top, px, top + high, px, top + high + 16,
                      format(x, ",")))
    out.append('<text x="%d" y="%d" text-anchor="middle">%s</text>'
               '<text transform="translate(13 %d) rotate(-90)" '
               'text-anchor="middle">%s</text>'
               % (left + wide / 2, top + high + 36, x_title, top + high / 2,
                  y_title))
    for i, (name, dashed, points) in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        dash = ' stroke-dasharray="5 3"' if dashed else ""
        path = " ".join("%.1f,%.1f" % at(p[0], p[1]) for p in points)
        out.append('<polyline fill="none" stroke="%s" stroke-width="%s"%s '
                   'points="%s"/>' % (colour, 2.4 if not i else 1.5, dash, path))
        for x, y, low, up in points:
            px, py = at(x, y)
            out.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" '
                       'stroke="%s"/>' % (px, at(x, low)[1], px, at(x, up)[1],
                                          colour) + mark(i, px, py, colour))
        ly = top + 8 + i * legend
        out.append('<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" '
                   'stroke-width="1.6"%s/>%s<text x="%d" y="%d">%s</text>'
                   % (left + wide + 14, ly, left + wide + 38, ly, colour, dash,
                      mark(i, left + wide + 26, ly, colour), left + wide + 44,
                      ly + 4, html.escape(name)))
    return "\n".join(out + ["</svg>"])


def bars(rows, unit):
    """rows: (name, value, is ours)."""
    left, wide, step = 190, 400, 20
    top = max(v for _, v, _ in rows)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
           'role="img" aria-label="%s">'
           % (left + wide + 110, len(rows) * step + 6, unit)]
    for i, (name, value, ours) in enumerate(rows):
        y = i * step + 4
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                   '<rect x="%d" y="%d" width="%.1f" height="13" fill="%s"/>'
                   '<text x="%.1f" y="%d">%s</text>'
                   % (left - 8, y + 11, html.escape(name), left, y,
                      max(1, value / top * wide),
                      COLOURS[0] if ours else "#999", left + value / top * wide
                      + 6, y + 11, number(value) + " " + unit))
    return "\n".join(out + ["</svg>"])


def figure(picture, caption):
    return ("<figure><figcaption>%s</figcaption>\n%s</figure>\n"
            % (html.escape(caption), picture))


# ---- tables -----------------------------------------------------------------
def html_table(head, rows):
    cells = "".join("<th>%s</th>" % html.escape(h) for h in head)
    body = "".join("<tr%s>%s</tr>\n" % (
        ' class="ours"' if str(row[0]).startswith("gaterpc") else "",
        "".join("<td>%s</td>" % html.escape(str(c)) for c in row))
        for row in rows)
    return "<table><tr>%s</tr>\n%s</table>\n" % (cells, body)


CALL_HEAD = ["system", "W", "calls/s (min..max)", "ours to it", "by sockets",
             "authenticated", "p50 us", "p99 us", "CPU s / 100 k", "RSS MiB",
             "unanswered"]


def call_rows(calls, w):
    rows = []
    for system, by_w in calls.items():
        if w not in by_w:
            continue
        one = by_w[w]
        to = ["%.2f" % ratio(calls[o][w], one)
              if o != system and o in calls and w in calls[o] else "-"
              for o in OURS]
        latency = one["latency_us"] or {}
        rows.append([SYSTEMS[system][0], format(w, ","), "%s (%s..%s)" % tuple(
            number(one[k]) for k in ("median", "min", "max"))] + to + [
                "%.0f" % latency.get("p50", 0), "%.0f" % latency.get("p99", 0),
                "%.2f" % one["cpu_s_per_100k"],
                "%.0f" % (one["peak_rss_kib"] / 1024), one["errors"]])
    return sorted(rows, key=lambda row: -float(by_name(calls, row[0])[w]
                                               ["median"]))


def by_name(calls, name):
    return next(calls[s] for s in calls if SYSTEMS[s][0] == name)


def verdict(calls, ws):
    """Sentences: where we are ahead as asked, and where we are not at all."""
    out = []
    for name, forms, at in MUST:
        for w in at:
            one = fastest(calls, forms, w)
            if one and w in calls["gate"]:
                r = [ratio(calls[o][w], one) for o in OURS if o in calls]
                out.append("%s at %s outstanding: %s (%s times its rate; %s "
                           "by sockets, %s authenticated)." % (
                               name, format(w, ","), "ahead" if r[0] > 1
                               else "BEHIND", *(["%.2f" % v for v in r]
                                                + ["-", "-"])[:3]))
    ahead = []
    for ours in (o for o in OURS[:2] if o in calls):
        for w in ws:
            faster = [(ratio(calls[ours][w], by_w[w]), SYSTEMS[s][0])
                      for s, by_w in calls.items()
                      if s not in OURS and w in by_w]
            names = ", ".join("%s (ours is %.2f of it)" % (n, r)
                              for r, n in sorted(faster) if r < 1)
            ahead.append("%s, W = %s: %s." % (SYSTEMS[ours][0], format(w, ","),
                                              names or "nobody"))
    return out, ahead


# ---- pools ------------------------------------------------------------------
def load_all(folder, name):
    found = []
    for path in sorted(glob.glob(os.path.join(folder, name + "-*.json"))):
        try:
            with open(path) as f:
                found.append(json.load(f))
        except ValueError:
            print("bench-peers: %s holds no JSON" % path, file=sys.stderr)
    return found


def spread(values):
    values = [v for v in values if isinstance(v, (int, float))]
    return (statistics.median(values), min(values), max(values))


def thread_table(runs):
    """{pinned|free and how many under way: {pool: (median, min, max)}} in ns per
    task; a run has (median, least, most) of its own rounds"""
    def median(value):
        return value[0] if isinstance(value, list) else value
    return {mode: {pool: spread([median(r[mode][pool]) for r in runs])
                   for pool in pools}
            for mode, pools in runs[0].items() if isinstance(pools, dict)}


POOLS = {"sink": "gaterpc, gate_submit_then", "future": "gaterpc, futures",
         "queue": "gaterpc, completion queue", "zero_copy": "gaterpc, zero copy",
         "pipes": "children behind pipes", "pipes_batched": "pipes, batched",
         "boost": "Boost message_queue", "executor": "ProcessPoolExecutor",
         "mp_pool": "multiprocessing.Pool"}


def proc_table(runs):
    """{load: {pool: (median, min, max)}} in echoes/s"""
    return {load: {pool: spread([r["loads"][load].get(pool) for r in runs])
                   for pool, v in row.items() if isinstance(v, (int, float))}
            for load, row in runs[0]["loads"].items()}


WAYS = {"submit": "gaterpc, gate_submit", "map": "gaterpc, gate_pool_map",
        "method": "gaterpc, a method over ipc", "pipes": "children behind pipes",
        "executor": "ProcessPoolExecutor", "mp_pool": "multiprocessing.Pool"}


def job_table(runs):
    """{length: {way: (median, min, max)}}: jobs/s of those that do nothing,
    else how much of two processes they use"""
    def figure(row, way):
        return (row["efficiency"] or row).get(way)
    return {length: {way: spread([figure(r["jobs"][length], way) for r in runs])
                     for way in WAYS}
            for length in runs[0]["jobs"]}


def job_head(length):
    return length + (", jobs/s" if length == "0us" else ", efficiency")


def span(three):
    return "%s (%s..%s)" % tuple(number(v) for v in three)


def jobs_html(jobs):
    out = ["<h2>Jobs that use CPU</h2>\n<p>On two worker processes, 64 under "
           "way; of those that do nothing jobs per second, of the others the "
           "share of two processes that they get, by what one process alone "
           "does; more is better. Python's pools run Python, held against "
           "Python.</p>\n"]
    for length, ways in jobs.items():
        rows = sorted(((WAYS[w], v[0], WAYS[w].startswith("gaterpc"))
                       for w, v in ways.items()), key=lambda row: -row[1])
        out.append(figure(bars(rows, "/s" if length == "0us" else ""),
                          job_head(length)))
    out.append(html_table(["way"] + [job_head(n) for n in jobs], [
        [WAYS[w]] + [span(jobs[n][w]) for n in jobs] for w in WAYS]))
    return "".join(out)


def jobs_markdown(jobs):
    return "\n".join([
        "Jobs that use CPU, on two worker processes, 64 under way:", "",
        *table(["way"] + [job_head(n) for n in jobs], [
            [WAYS[w]] + [span(jobs[n][w]) for n in jobs] for w in WAYS]), ""])


def pools_html(threads, procs, jobs):
    out = []
    if threads:
        out.append("<h2>Thread pools</h2>\n<p>Empty tasks, two workers, one "
                   "thread that submits and waits, so many under way; ns per "
                   "task, less is better.</p>\n")
        for mode, pools in threads.items():
            rows = sorted((p, v[0], p == "gaterpc") for p, v in pools.items())
            out.append(figure(bars(rows, "ns"), "ns per task, " + mode))
        out.append(html_table(["pool"] + list(threads), [
            [n] + [span(threads[mode][n]) for mode in threads]
            for n in sorted(next(iter(threads.values())))]))
    if procs:
        out.append("<h2>Process pools</h2>\n<p>Echoes through two processes, "
                   "by payload and number under way; more is better.</p>\n")
        for load, pools in procs.items():
            rows = [(POOLS.get(p, p), v[0], POOLS.get(p, p).startswith("gaterpc"))
                    for p, v in pools.items()]
            rows.sort(key=lambda row: -row[1])
            out.append(figure(bars(rows, "/s"), "echoes/s, %s bytes x %s under "
                              "way" % tuple(load.split("x"))))
        out.append(html_table(["pool"] + list(procs), [
            [POOLS.get(p, p)] + [span(procs[load][p]) if p in procs[load]
                                 else "-" for load in procs]
            for p in next(iter(procs.values()))]))
    if jobs:
        out.append(jobs_html(jobs))
    return "".join(out)


def pools_markdown(threads, procs, jobs):
    out = []
    if threads:
        out += ["Thread pools, ns per empty task, two workers:", "",
                *table(["pool"] + list(threads), [
                    [n] + [span(threads[mode][n]) for mode in threads]
                    for n in sorted(next(iter(threads.values())))]), ""]
    if procs:
        out += ["Process pools, echoes/s, payload x under way, two workers:", "",
                *table(["pool"] + list(procs), [
                    [POOLS.get(p, p)] + [number(procs[load][p][0])
                                         if p in procs[load] else "-"
                                         for load in procs]
                    for p in next(iter(procs.values()))]), ""]
    if jobs:
        out.append(jobs_markdown(jobs))
    return "\n".join(out)


# ---- the page ---------------------------------------------------------------
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>gaterpc beside others</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;color:#111;background:#fff;
max-width:64em;margin:2em auto;padding:0 1em}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse;font-size:.85em;margin:1em 0}
td,th{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}
td{white-space:nowrap}
tr.ours td{background:#e8f2fa;print-color-adjust:exact}
table.setup td{text-align:left;vertical-align:top;white-space:normal}
svg{width:100%;max-width:50em;height:auto}
figure{margin:1em 0;break-inside:avoid}figcaption{font-size:.9em}
text{font:11px system-ui,sans-serif;fill:#111}
@media print{body{margin:0;max-width:none;font-size:11px}
tr{break-inside:avoid}h2{break-after:avoid}}
</style></head><body>
<h1>gaterpc beside others</h1>
"""


def versions():
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n",
                           *PACKAGES], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, check=False)
    return ", ".join(done.stdout.split("\n")).strip(", ")


def machine(m, debian):
    return ("%s, %d cores, Linux %s %s; gaterpc %s, libzmq %s; %s, load average "
            "%.1f at the end. %s." % (
                m["cpu"], m["cores"], m["kernel"], m["arch"], m["gaterpc"],
                m["libzmq"], m["when"], m["load_average_at_end"], debian))


def series(calls, value):
    out = []
    for system, by_w in calls.items():
        points = [(w,) + value(by_w[w]) for w in sorted(by_w)]
        points = [p for p in points if p[1] > 0]
        if points:
            out.append((SYSTEMS[system][0], not SYSTEMS[system][1]
                        or system == "zmq_proxy", points))
    return out


def rate_of(one):
    return one["median"], one["min"], one["max"]


def p50_of(one):
    v = (one["latency_us"] or {}).get("p50", 0)
    return v, v, v


def cpu_of(one):
    return (one["cpu_s_per_100k"],) * 3


INTRO = ("64-byte echoes over tcp, one client, one service; W is the number of "
         "calls outstanding. Every system is driven by the same loop "
         "(src/cli/bench/rigs/load.c) and measured once a round, in turns; figures are "
         "medians of %d rounds of %.2g s with min..max, ratios the medians of "
         "the rounds' ratios. CPU seconds and memory are those of client, "
         "service and server together. Processes run where the scheduler puts "
         "them. gRPC and nng without its device have no broker between: half "
         "the way.")


def write_html(path, record, calls, ws, threads, procs, jobs):
    good, ahead = verdict(calls, ws)
    with open(path, "w") as f:
        f.write(HEAD)
        s = record["calls"]["settings"]
        f.write("<p>%s</p>\n<p>%s</p>\n" % (
            html.escape(INTRO % (s["rounds"], s["seconds"])),
            html.escape(machine(record["calls"]["machine"],
                                record["versions"]))))
        f.write("<h2>Who is ahead</h2>\n<p>Ours, against the fastest form of "
                "each:</p><ul>%s</ul>\n<p>Who is ahead of ours, or is its "
                "limit:</p><ul>%s</ul>\n" % tuple(
                    "".join("<li>%s</li>" % html.escape(t) for t in texts)
                    for texts in (good, ahead)))
        f.write("<h2>Whole calls</h2>\n")
        for value, title, text in (
                (rate_of, "calls/s", "Calls per second; bars: min to max"),
                (p50_of, "p50, us", "Latency, p50"),
                (cpu_of, "CPU s", "CPU seconds per 100,000 calls, all processes "
                 "together")):
            f.write(figure(lines(series(calls, value), "calls outstanding (W)",
                                 title), text + "; dashed: no broker, or the "
                           "reference"))
        for w in ws:
            f.write(html_table(CALL_HEAD, call_rows(calls, w)))
        f.write("<h2>How each is set up</h2>\n<table class=\"setup\">%s"
                "</table>\n" % "".join(
                    "<tr><td>%s</td><td>%s</td></tr>\n"
                    % (html.escape(SYSTEMS[n][0]), html.escape(SYSTEMS[n][2]))
                    for n in calls))
        f.write(pools_html(threads, procs, jobs))
        f.write("<p>Made by script/bench-peers; drivers in bench/peers; raw "
                "figures in bench/peers.json.</p>\n</body></html>\n")


def write_section(path, record, calls, ws, threads, procs, jobs):
    good, ahead = verdict(calls, ws)
    s = record["calls"]["settings"]
    text = "\n".join(
        ["Medians of %d rounds of %.2g s, in turns; %s" % (
            s["rounds"], s["seconds"],
            machine(record["calls"]["machine"], record["versions"])), "",
         *table(CALL_HEAD, [row for w in ws for row in call_rows(calls, w)]), "",
         "Ours, against the fastest form of each:", ""]
        + ["- " + t for t in good]
        + ["", "Ahead of ours, or its limit:", ""]
        + ["- " + t for t in ahead] + ["", pools_markdown(threads, procs, jobs)])
    if "peers" not in fill(path, {"peers": text.rstrip().split("\n")}):
        sys.exit("bench-peers: %s has no <!-- peers --> to fill" % path)


def main():
    folder, record_path, html_path, page = sys.argv[1:]
    with open(os.path.join(folder, "calls.json")) as f:
        record = {"calls": json.load(f), "versions": versions(),
                  "threads": load_all(folder, "threads"),
                  "processes": load_all(folder, "procs"),
                  "jobs": load_all(folder, "jobs")}
    calls = calls_of(record["calls"])
    ws = sorted(calls["gate"])
    threads = record["threads"] and thread_table(record["threads"])
    procs = record["processes"] and proc_table(record["processes"])
    jobs = record["jobs"] and job_table(record["jobs"])
    with open(record_path, "w") as f:
        json.dump(record, f, indent=1)
        f.write("\n")
    write_html(html_path, record, calls, ws, threads, procs, jobs)
    write_section(page, record, calls, ws, threads, procs, jobs)
    for line in verdict(calls, ws)[0]:
        print(line)


main()
