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
        rows.append([one["transport"], pin(one), one["outstanding"], rate(one),
                     other and rate(other), "**%s**" % ratio(one),
                     us(one, "p50"), us(one, "p99"), us(one, "p99.9"),
                     ratio(one, "p50"), "%.3f" % one["cpu_s_per_100k"],
                     ratio(one, "cpu"), "%.3f" % one["broker_cpu_s_per_100k"]
                     if one["broker_cpu_s_per_100k"] else "-", "%.0f" % (one["peak_rss_kib"] / 1024)])
    return table(["transport", "CPU", "W", "calls/s (min..max)", "reference",
                  "ratio", "p50 us", "p99", "p99.9", "p50 to reference's",
                  "CPU s / 100 k", "to reference's", "broker's", "RSS MiB"], rows)


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
            "transport", "outstanding", "size", "pin"))]
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
    make = {"echo": echo, "scale": scale,
            "pools": lambda part: pools(part, inline)}
    tables = {name: make.get(name, plain)(part) for name, part in parts.items()}
    if "echo" in parts:
        tables["limits"] = limits(parts["echo"])
    tables["machine"] = machine(parts)
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
