# SPDX-License-Identifier: BSD-3-Clause
"""bench_tables.py PARTS RECORD PAGE: joins the JSON of `gate bench` in the folder
PARTS into RECORD and puts its tables into PAGE, each between
<!-- bench:NAME --> and <!-- end -->. A part that is missing keeps its table."""
import glob
import json
import os
import re
import sys


def number(v):
    for unit, by in (("M", 1e6), ("k", 1e3)):
        if v >= 10 * by or (v >= by and unit == "M"):
            return "%.3g %s" % (v / by, unit)
    return "%.3g" % v if v < 1000 else "%.0f" % v


def pin(one):
    return "free" if one["pin"] == "free" else "pinned"


def rate(one):
    return "%s (%s..%s)" % tuple(number(one[k]) for k in ("median", "min", "max"))


def us(one, key):
    return "%.1f" % one["latency_us"][key] if one["latency_us"] else "-"


def ratio(one, key="rate"):
    to = one.get("to_reference")
    return "%.2f" % to[key] if to and to[key] else "-"


def table(head, rows):
    lines = ["| %s |" % " | ".join(head), "|%s" % ("---|" * len(head))]
    return lines + ["| %s |" % " | ".join(str(c) for c in row) for row in rows]


def size(n):
    for unit, by in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n >= by and n % by == 0:
            return "%d %s" % (n // by, unit)
    return "%d" % n


def kin(one, others, system):
    """The reference measured beside it."""
    keys = ("verb", "transport", "outstanding", "size", "pin", "label", "crowd")
    for other in others:
        if other["system"] == system and all(
                other[k] == one[k] for k in keys):
            return other
    return None


def echo(part):
    rows = []
    for one in part["results"]:
        other = kin(one, part["references"],
                    "ring" if one["transport"] == "registry" else "zmq_proxy")
        broker = one["broker_cpu_s_per_100k"]
        rows.append([one["transport"], pin(one), one["outstanding"],
                     one["wire"] if one["transport"] != "registry" else "-",
                     one["auth"], rate(one), other and rate(other),
                     "**%s**" % ratio(one), us(one, "p50"), us(one, "p99"),
                     us(one, "p99.9"), ratio(one, "p50"),
                     "%.3f" % one["cpu_s_per_100k"], ratio(one, "cpu"),
                     "%.3f" % broker if broker else "-",
                     "%.0f" % (one["peak_rss_kib"] / 1024)])
    return table(["transport", "CPU", "W", "wire", "authentication",
                  "calls/s (min..max)", "reference", "ratio", "p50 us", "p99",
                  "p99.9", "p50 to reference's", "CPU s / 100 k",
                  "to reference's", "broker's", "RSS MiB"], rows)


def limits(part):
    rows = []
    for one in part["references"]:
        rows.append([one["system"], one["transport"], pin(one),
                     one["outstanding"], rate(one), us(one, "p50"),
                     us(one, "p99"), "%.3f" % one["cpu_s_per_100k"]])
    return table(["reference", "transport", "CPU", "W", "calls/s (min..max)",
                  "p50 us", "p99", "CPU s / 100 k"], rows)


def pools(part, inline):
    rows = []
    for one in part["results"]:
        same = [o for o in inline if all(o[k] == one[k] for k in (
            "transport", "outstanding", "size", "pin", "auth", "wire"))]
        to_inline = (ratio(one) if not same or ratio(one) == "-" else "%.2f" % (
            one["to_reference"]["rate"] / same[0]["to_reference"]["rate"]))
        rows.append([one["transport"], one["runs"], pin(one),
                     one["outstanding"], rate(one), us(one, "p50"),
                     us(one, "p99"), to_inline])
    return table(["transport", "runs", "CPU", "W", "calls/s (min..max)",
                  "p50 us", "p99", "to inline"], rows)


def plain(part):
    rows = []
    for one in part["results"]:
        to = one.get("to_reference")
        other = to and kin(one, part["references"], to["system"])
        rows.append([one["label"] or "-", one["transport"], pin(one),
                     one["outstanding"], one["size"], rate(one),
                     other and rate(other) or "-", to["system"] if to else "-",
                     ratio(one), us(one, "p50"), us(one, "p99"),
                     "%.3f" % one["cpu_s_per_100k"]])
    unit = part["results"][0]["unit"] if part["results"] else ""
    return table(["kind", "transport", "CPU", "W", "bytes",
                  unit + " (min..max)", "reference", "which", "ratio",
                  "p50 us", "p99", "CPU s / 100 k"], rows)


def huge(part):
    rows = []
    for one in part["results"]:
        other = kin(one, part["references"], one["to_reference"]["system"])
        per_gb = one["cpu_s_per_100k"] / 1e5 / (one["size"] / 1e9)
        rows.append([one["label"], one["transport"], pin(one),
                     size(one["size"]), rate(one), other and rate(other),
                     ratio(one), "%.2f" % per_gb,
                     "%.0f" % (one["peak_rss_kib"] / 1024)])
    return table(["data", "transport", "CPU", "bytes", "MB/s (min..max)",
                  "reference", "ratio", "CPU s / GB", "RSS MiB"], rows)


def memory(one, references):
    """The broker's KiB for each idle client, ours and zmq_proxy's."""
    both = [r and r.get("broker_kib_per_client")
            for r in (one, kin(one, references, "zmq_proxy"))]
    return "%.1f, %.1f" % tuple(both) if all(both) else "-"


def scale(part):
    rows = []
    for one in part["results"]:
        many = {"services": one["services"], "workers": one["workers"],
                "clients": one["crowd"]}.get(one["label"], "")
        rows.append([one["label"], many, one["transport"], rate(one),
                     one.get("to_reference", {}).get("system", "-"),
                     ratio(one), ratio(one, "broker_cpu"),
                     "%.2f" % one["broker_cpu_s_per_100k"],
                     memory(one, part["references"]),
                     one["errors"]])
    return table(["many", "how many", "transport", "calls/s (min..max)",
                  "held against", "rate", "broker's CPU a call",
                  "CPU s / 100 k, broker", "KiB a client, zmq_proxy's", "errors"], rows)


# ---- by calculation -----------------------------------------------------------
# Bytes of a call at the broker in each direction: the payload goes both ways,
# the frames of docs/wire.md with their lengths take 52 bytes more on each link;
# TCP, IP and Ethernet another 3 % when segments are full.
FRAMES, HEADERS = 52, 1.03


def networks(part):
    rows = []
    for one in part["results"]:
        c, b = one["cpu_s_per_100k"], one["broker_cpu_s_per_100k"]
        wire = 2 * (one["size"] + FRAMES) * HEADERS
        core = 1e5 / b
        row = [size(one["size"]), rate(one), "%.3f" % c, "%.3f" % b,
               "%s = %.2f" % (number(core), core * wire * 8 / 1e9)]
        for gbit in (10, 100):
            carries = gbit * 1e9 / 8 / wire
            row += [number(carries), "%.1f" % (carries / core)]
        rows.append(row)
    return table(["payload", "calls/s here (min..max)", "CPU s / 100 k",
                  "broker's", "a core of broker: calls/s = Gbit/s",
                  "10 Gbit/s carry", "with cores of broker",
                  "100 Gbit/s carry", "with cores of broker"], rows)


# ---- what issue 6 asks for -----------------------------------------------------
def pick(part, **what):
    return [one for one in (part or {"results": []})["results"]
            if all(one.get(k) == v for k, v in what.items())]


def targets(parts):
    """Rows: what, bound, figures; a figure that misses is bold."""
    rows = []
    echo_, scale_ = parts.get("echo"), parts.get("scale")

    def row(what, bound, least, figures):
        good = (lambda v: v >= bound) if least else (lambda v: v <= bound)
        if figures:
            rows.append([what, "%s %s" % ("at least" if least else "at most",
                                          number(bound)),
                         ", ".join(("%s %s" if good(v) else "%s **%s**")
                                   % (name, number(v)) for name, v in figures)])

    def calls(key, transports, **what):
        return [("%s%s%s" % (t, " frames" if w == "frames" else "",
                             " authenticated" if a == "plain" else ""),
                 one["to_reference"][key]) for w in ("packed", "frames")
                for a in ("off", "plain") for t in transports
                for one in pick(echo_, transport=t, auth=a, wire=w, **what)]

    def to_inline(runs):
        return [(pin(one), one["to_reference"]["rate"]
                 / same["to_reference"]["rate"])
                for one in pick(parts.get("pools"), runs=runs, transport="ipc",
                                outstanding=1000)
                for same in pick(echo_, transport="ipc", outstanding=1000,
                                 auth="off", wire="packed", pin=one["pin"])]

    def against(key, label):
        return [(o["transport"], o["to_reference"][key])
                for o in pick(scale_, label=label)]

    two = ("tcp", "ipc")
    row("1,000 outstanding, pinned, to zmq_proxy", 0.9, True,
        calls("rate", two, outstanding=1000, pin=0))
    row("the same inproc", 0.7, True,
        calls("rate", ("inproc",), outstanding=1000, pin=0))
    row("100 outstanding, free, to zmq_proxy", 0.9, True,
        calls("rate", two, outstanding=100, pin="free"))
    row("one outstanding, pinned, p50 to zmq_proxy's", 1.15, False,
        calls("p50", two, outstanding=1, pin=0))
    row("thread pool, 1,000 outstanding, ipc, to inline", 0.85, True,
        to_inline("thread"))
    row("process pool, the same", 0.75, True, to_inline("process"))
    local = [o for w in (1000, 100, 1) for o in pick(
        echo_, transport="registry", pin=0, outstanding=w)]
    row("registry, pinned, to the ring", 0.2, True,
        [("W = %d" % o["outstanding"], o["to_reference"]["rate"])
         for o in local if o["outstanding"] > 1])
    row("registry, pinned, p50 us of one outstanding", 3, False,
        [("W = 1", o["latency_us"]["p50"]) for o in local
         if o["outstanding"] == 1])
    streams = pick(parts.get("stream"), transport="tcp")
    row("stream, tcp, items/s", 4e5, True,
        [(pin(o), o["median"]) for o in streams])
    row("stream, tcp, to raw frames", 0.85, True,
        [(pin(o), o["to_reference"]["rate"]) for o in streams])
    row("CPU a call, tcp, pinned, to zmq_proxy's", 1.15, False,
        calls("cpu", ("tcp",), outstanding=1000, pin=0))
    crowd = [(o, kin(o, scale_["references"], "zmq_proxy"))
             for o in pick(scale_, label="clients")
             if o.get("broker_kib_per_client")]
    row("broker's KiB for an idle client, beyond libzmq's", 1, False,
        [(o["transport"], o["broker_kib_per_client"]
          - p.get("broker_kib_per_client", 0)) for o, p in crowd if p])
    row("1,000 services: CPU a call to one's", 1.25, False,
        against("cpu", "services"))
    row("1,000 workers: CPU a call to one's", 1.25, False,
        against("cpu", "workers"))
    few_many = [sorted(pick(scale_, label="clients", transport=t),
                       key=lambda o: o["crowd"]) for t in ("ipc", "tcp")]
    row("10,000 clients: broker's CPU a call to 400 clients'", 1.25, False,
        [(m[0]["transport"], m[-1]["broker_cpu_s_per_100k"]
          / m[0]["broker_cpu_s_per_100k"]) for m in few_many if len(m) > 1 and m[-1]["n"]])
    return table(["what", "asked for", "here (**bold** misses it)"], rows)


def machine(parts):
    m = next(iter(parts.values()))["machine"]
    return ["%s, %d cores, Linux %s %s, libzmq %s, gaterpc %s; %s, load average "
            "%.1f at the end." % (m["cpu"], m["cores"], m["kernel"], m["arch"],
                                  m["libzmq"], m["gaterpc"], m["when"],
                                  m["load_average_at_end"])]


def main():
    folder, record, page = sys.argv[1:]
    parts = {}
    for name in sorted(glob.glob(os.path.join(folder, "*.json"))):
        try:
            with open(name) as f:
                parts[os.path.basename(name)[:-5]] = json.load(f)
        except ValueError:
            print("bench: %s holds no report" % name, file=sys.stderr)
    if not parts:
        sys.exit("bench: nothing was measured")
    inline = parts.get("echo", {}).get("results", [])
    make = {"echo": echo, "scale": scale, "huge": huge, "sizes": networks,
            "pools": lambda part: pools(part, inline)}
    tables = {name: make.get(name, plain)(part) for name, part in parts.items()}
    if "echo" in parts:
        tables["limits"] = limits(parts["echo"])
    tables["machine"] = machine(parts)
    tables["targets"] = targets(parts)
    with open(record, "w") as f:
        json.dump(parts, f, indent=1)
        f.write("\n")
    with open(page) as f:
        text = f.read()
    for name, lines in tables.items():
        text = re.sub(r"(<!-- bench:%s -->\n).*?(<!-- end -->)" % name,
                      lambda m: m.group(1) + "\n".join(lines) + "\n"
                      + m.group(2), text, flags=re.S)
    with open(page, "w") as f:
        f.write(text)
    missing = len(set(re.findall(r"<!-- bench:(\w+) -->", text)) - set(tables))
    sys.exit("bench: %d tables were not recorded" % missing if missing else 0)


main()
