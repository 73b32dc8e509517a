# SPDX-License-Identifier: BSD-3-Clause
"""What script/man.py and script/reference.py read out of the public headers: every
exported function, every macro in small letters and every type has a text that is its
own (not that of whatever stands above it), the errors are all there; the pages are
well-formed, and each link leads to a name."""
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml

from house import BUILD, ROOT, verdict

sys.path.insert(0, os.path.join(ROOT, "script"))
sys.dont_write_bytecode = True
import headers  # noqa: E402
import reference  # noqa: E402

problems = []

# ---- every name has its own text -------------------------------------------------
items = {i.name: i for h in headers.all_headers() for i in h.items()}


def twin(name):
    return items.get(name[:-1] if name.endswith("_") else name + "_")


for name, item in items.items():
    if not name.startswith("gate_"):
        continue
    own = " ".join(x.says() for x in (item, twin(name)) if x)
    forward = item.kind == "type" and "{" not in item.code and item.header == "base.h"
    if len(own.split()) < (1 if forward else 2):
        problems.append("%s: %s has no text of its own" % (item.header, name))

lines = subprocess.run(
    ["nm", "-D", "--defined-only", os.path.join(BUILD, "libgaterpc.so")],
    text=True, stdout=subprocess.PIPE, check=True).stdout.splitlines()
exported = {line.split()[-1] for line in lines} - {"_init", "_fini"}
problems += ["no header declares " + x for x in sorted(exported - set(items))]
assert len(exported) > 250 and len(items) > 350

# ---- how headers are read ----------------------------------------------------------
told = headers.is_meant
assert told("gate_x_curve", "PLAIN; or curve") and told("gate_oint", "gate_oint: int")
assert not told("gate_x_name", "Frees.") and not told("gate_x_size", "sizes of all")

# ---- the pages -----------------------------------------------------------------------
pages = reference.pages()
ids, links = {}, {}
for name, text in pages.items():
    tree = xml.fromstring(text.replace("<!DOCTYPE html>\n", ""))
    all_ids = [x.get("id") for x in tree.iter() if x.get("id")]
    ids[name] = set(all_ids)
    links[name] = [x.get("href") for x in tree.iter("a")]
    problems += ["%s: %s twice" % (name, x) for x in ids[name]
                 if all_ids.count(x) > 1]
for name, found in links.items():
    for link in found:
        to, _, anchor = link.partition("#")
        if (to or name) not in pages or anchor and anchor not in ids[to or name]:
            problems.append("%s: a link to %s" % (name, link))
everywhere = set().union(*ids.values())
problems += ["the reference has no " + x for x in sorted(
    {n for n in items if n.startswith("gate_")} - everywhere)]
problems += ["errors.html: no " + x for x, *_ in reference.errors()
             if x not in ids["errors.html"]]
assert len(reference.errors()) == len(re.findall(
    r"^GATE_X\(", headers.read("errors.def"), re.M)) > 15
assert sum(map(len, links.values())) > 1000
verdict(problems)
