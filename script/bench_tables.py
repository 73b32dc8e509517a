# SPDX-License-Identifier: BSD-3-Clause
"""bench_tables.py PARTS RECORD PAGE...: joins the JSON of `gate bench` in the
folder PARTS into RECORD and puts its tables into the PAGEs, each between
<!-- bench:NAME --> and <!-- end -->; bench_targets.py makes two others. A part
that is missing keeps its table."""
import glob
import json
import os
import sys

from pages import fill, number, table


def pin(one):
    return "free" if one["pin"] == "free" else "pinned"


def rate(one):
    return "%s (%s..%s)" % tuple(number(one[k]) for k in ("median", "min", "max"))


def us(one, key):
    return "%.1f" % one["latency_us"][key] if one["latency_us"] else "-"


def ratio(one, key="rate"):
    to = one.get("to_reference")
    return "%.2f" % to[key] if to and to[key] else "-"


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


def lanes(part):
    """By lanes and by sockets, in turns: each round beside its other."""
    rows, by = [], {}
    for one in part["results"]:
        by.setdefault((one["transport"], pin(one), one["outstanding"],
                       one["auth"]), {})[one["wire"]] = one
    for (transport, where, w, auth), of in by.items():
        lane, packed = of.get("lane"), of.get("packed")
        if not lane or not packed or auth != "off":
            continue
        ratios = sorted(a / b for a, b in zip(lane["rounds"], packed["rounds"]))
        rows.append([transport, where, w, "%.2f (%.2f..%.2f)" % (
            ratios[len(ratios) // 2], ratios[0], ratios[-1])]
            + ["%s, **%s**" % (f(packed), f(lane)) for f in (
                lambda o: us(o, "p50"), lambda o: ratio(o, "p50"), ratio,
                lambda o: "%.3f" % o["cpu_s_per_100k"])])
    return table(["transport", "CPU", "W", "rate to sockets' (min..max)",
                  "p50 us: sockets, lane", "p50 to zmq_proxy's",
                  "rate to zmq_proxy's", "CPU s / 100 k"], rows)


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


# ---- of each actor ------------------------------------------------------------
def actors(part):
    kinds = [(name, one) for name, one in part.items() if isinstance(one, dict)]
    return table(["of each, %s" % format(part["actors"], ","), "KiB resident",
                  "us to start", "until ready", "us to stop", "CPU us, both"],
                 [[name] + ["%.1f (%.1f..%.1f)" % tuple(one[k]) for k in (
                     "KiB", "start us", "ready us", "stop us", "CPU us")]
                  for name, one in kinds])


def machine(parts):
    m = next(p["machine"] for p in parts.values() if "machine" in p)
    return ["%s, %d cores, Linux %s %s, libzmq %s, gaterpc %s; %s, load average "
            "%.1f at the end." % (m["cpu"], m["cores"], m["kernel"], m["arch"],
                                  m["libzmq"], m["gaterpc"], m["when"],
                                  m["load_average_at_end"])]


OTHERS = {"bench:targets", "bench:gains"}


def load(folder):
    parts = {}
    for name in sorted(glob.glob(os.path.join(folder, "*.json"))):
        try:
            with open(name) as f:
                parts[os.path.basename(name)[:-5]] = json.load(f)
        except ValueError:
            print("bench: %s holds no report" % name, file=sys.stderr)
    return parts


def main():
    folder, record, *pages = sys.argv[1:]
    parts = load(folder)
    if not parts:
        sys.exit("bench: nothing was measured")
    inline = parts.get("echo", {}).get("results", [])
    make = {"echo": echo, "scale": scale, "huge": huge, "sizes": networks,
            "actors": actors, "pools": lambda part: pools(part, inline)}
    tables = {name: make.get(name, plain)(part) for name, part in parts.items()}
    if "echo" in parts:
        tables["limits"] = limits(parts["echo"])
        tables["lanes"] = lanes(parts["echo"])
    tables["machine"] = machine(parts)
    with open(record, "w") as f:
        json.dump(parts, f, indent=1)
        f.write("\n")
    tables = {"bench:" + name: lines for name, lines in tables.items()}
    there = {name for page in pages for name in fill(page, tables)
             if name.startswith("bench:")}
    missing = len(there - set(tables) - OTHERS)
    sys.exit("bench: %d tables were not recorded" % missing if missing else 0)


main()
