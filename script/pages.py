# SPDX-License-Identifier: BSD-3-Clause
"""pages.py -- figures into pages: how a number and a table are written, and where
a table stands."""
import re


def number(v):
    for unit, by in ((" M", 1e6), (" k", 1e3)):
        if v >= 10 * by or (v >= by and by == 1e6):
            return "%.3g%s" % (v / by, unit)
    return "%.3g" % v if v < 1000 else "%.0f" % v


def table(head, rows):
    """The lines of one."""
    lines = ["| %s |" % " | ".join(head), "|%s" % ("---|" * len(head))]
    return lines + ["| %s |" % " | ".join(map(str, row)) for row in rows]


def fill(page, tables):
    """Puts the lines of each table (name: lines) between <!-- name --> and
    <!-- end --> of the file. The names of all the places that it has."""
    with open(page) as f:
        text = f.read()
    for name, lines in tables.items():
        text = re.sub(r"(<!-- %s -->\n).*?(<!-- end -->)" % name,
                      lambda m, lines=lines: m.group(1) + "\n".join(lines)
                      + "\n" + m.group(2), text, flags=re.S)
    with open(page, "w") as f:
        f.write(text)
    return set(re.findall(r"<!-- ([\w:]+) -->\n", text)) - {"end"}
