#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""man.py FOLDER -- the man pages, from what says it already:
  1  gate-VERB       the verb's section of docs/gate.1
  3  each function   its comment and prototype in include/gaterpc, and the header's
  5  gate.conf       docs/settings.md (which is settings.def)
  7  gaterpc         README.md;  gaterpc-wire, -extensions, -errors, -observe,
                     -security, -reliability: docs/NAME.md
Nothing but Python's own library. tests/house/test_man.py: each name has its text."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "script"))
import headers  # noqa: E402

FROM = "gaterpc"


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def version():
    return re.search(r'GATE_VERSION "([^"]+)"', read("include/gaterpc/base.h")).group(1)


# ---- roff ----------------------------------------------------------------------
def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def inline(text):
    """Markdown's bold, code and links, in one line."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(``?[^`]+``?|\*\*[^*]+\*\*|<br>)", text)
    out = []
    for part in parts:
        if part.startswith("`"):
            out.append("\\fB%s\\fP" % escape(part.strip("`")))
        elif part.startswith("**"):
            out.append("\\fB%s\\fP" % escape(part[2:-2]))
        elif part == "<br>":
            out.append(" ")
        else:
            out.append(escape(part))
    line = "".join(out)
    return "\\&" + line if line[:1] in (".", "'") else line


def head(name, section, brief):
    return ('.\\" SPDX-License-Identifier: BSD-3-Clause\n.TH %s %s "" "%s %s"\n'
            ".SH NAME\n%s \\- %s\n" % (
                escape(name.upper() if section != "3" else name), section, FROM,
                version(), escape(name), escape(brief)))


def cells(row):
    row = re.sub(r"\\\|", "\0", row.strip().strip("|"))
    return [c.strip().replace("\0", "|") for c in row.split("|")]


class Page:
    """Markdown, as far as docs use it, to roff."""

    def __init__(self):
        self.out = []

    def table(self, rows):
        names = cells(rows[0])
        for row in rows[2:]:
            first, *rest = cells(row)
            self.out += [".TP", inline(first) or "\\&"]
            for name, text in zip(names[1:], rest):
                if text:
                    label = "" if len(rest) == 1 or not name else \
                        "\\fI%s\\fP: " % inline(name)
                    self.out += [label + inline(text), ".br"]
            if self.out[-1] == ".br":
                self.out.pop()

    def code(self, lines):
        self.out += [".PP", ".RS 4", ".nf"]
        self.out += [re.sub(r"^([.'])", r"\\&\1", escape(x)) for x in lines]
        self.out += [".fi", ".RE"]

    def paragraph(self, lines):
        bullet = re.match(r"\s*(?:[*-]|\d+\.) +(.*)", lines[0])
        if bullet:
            mark = lines[0].split()[0]
            self.out += [".IP %s 4" % (mark if mark[0].isdigit() else "\\(bu"),
                         inline(" ".join([bullet.group(1)]
                                         + [x.strip() for x in lines[1:]]))]
        else:
            self.out += [".PP", inline(" ".join(x.strip() for x in lines))]

    def feed(self, text):
        lines = text.split("\n")
        i = 0
        while i < len(lines):
            line = lines[i]
            begin = i
            if line.startswith("```"):
                i += 1
                while i < len(lines) and not lines[i].startswith("```"):
                    i += 1
                self.code(lines[begin + 1:i])
                i += 1
            elif re.match(r"#+ ", line):
                deep = len(line.split()[0])
                title = inline(line.lstrip("# ").strip())
                self.out.append(".SH " + title.upper().replace("\\FB", "").replace(
                    "\\FP", "") if deep <= 2 else ".SS " + title)
                i += 1
            elif line.startswith("|") and i + 1 < len(lines) \
                    and re.match(r"\|[\s:|-]+\|?$", lines[i + 1]):
                while i < len(lines) and lines[i].startswith("|"):
                    i += 1
                self.table(lines[begin:i])
            elif not line.strip():
                i += 1
            else:
                i += 1
                while i < len(lines) and lines[i].strip() and not re.match(
                        r"```|#+ |\||\s*(?:[*-]|\d+\.) ", lines[i]):
                    i += 1
                self.paragraph(lines[begin:i])
        return self

    def text(self):
        text = "\n".join(self.out) + "\n"
        return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", text, flags=re.M)


def of_markdown(name, section, brief, text, see):
    text = re.sub(r"\A# .*\n", "", text)
    body = Page().feed(text).text()
    if not body.startswith(".SH"):
        body = ".SH DESCRIPTION\n" + body
    return head(name, section, brief) + body + ".SH SEE ALSO\n" + see + "\n"


# ---- section 1 -------------------------------------------------------------------
VERB = re.compile(r'\{"(\w+)", gi_\w+_main, \w+,\s*"([^"]+)"\s*(?:"([^"]*)")?\}')
SHARED = ("WHICH BROKER", "AUTHENTICATION", "EXIT STATUS")


def verbs():
    """name -> brief, of the command's own table."""
    return {name: a + b for name, a, b in VERB.findall(read("src/cli/main.c"))}


def section_of(man, kind, name):
    found = re.search(r"^\.%s %s\n(.*?)(?=^\.S[SH] |\Z)" % (kind, name), man,
                      re.M | re.S)
    return found.group(1) if found else None


def split_synopsis(verb, text):
    """What stands before the first .PP is one, if it begins with the command."""
    if text.startswith(".B gate " + verb):
        synopsis, _, text = text.partition(".PP\n")
        return synopsis, text
    return ".B gate %s\n.RI [ OPTION ]...\n" % verb, text


def verb_page(man, verb, brief):
    synopsis, text = split_synopsis(verb, section_of(man, "SS", verb))
    page = head("gate-" + verb, "1", brief) + ".SH SYNOPSIS\n" + synopsis \
        + ".SH DESCRIPTION\n" + text
    for name in SHARED:
        if name == "EXIT STATUS" or name in text:
            page += ".SH %s\n%s" % (name, section_of(man, "SH", name))
    return page + ".SH SEE ALSO\n.BR gate (1),\n.BR gate.conf (5)\n"


# ---- section 3 -------------------------------------------------------------------
def brief_of(text, name):
    first = re.split(r"(?<=[.;])\s", re.sub(r"\s+", " ", text), 1)[0]
    first = re.sub(r"^\w+\.h -- ", "", first).rstrip(".:;")
    return (first or name) if len(first) < 90 else first[:90].rsplit(" ", 1)[0] + " ..."


def function_page(f, text, about, twin):
    shown = [".nf", ".B #include <gaterpc.h>", ".PP"]
    shown += [".B %s" % escape(headers.prototype(x)) for x in (f, *twin)]
    out = head(f.name, "3", brief_of(text or about, f.name))
    out += ".SH SYNOPSIS\n" + "\n".join(shown) + "\n.fi\n.SH DESCRIPTION\n"
    if text:
        out += escape(text) + "\n.SH \"ABOUT THIS CLASS\"\n"
    out += escape(re.sub(r"^\w+\.h -- ", "", about)) + "\n"
    return out + ".SH SEE ALSO\n.BR gaterpc (7),\n.BR gaterpc\\-errors (7),\n" \
        "<gaterpc/%s>\n" % f.header


def section_3():
    """file -> text; a macro and its function with a _ behind tell of each other."""
    pages = {}
    for header in headers.all_headers():
        found = [i for i in header.items("function", "macro")
                 if i.name.startswith("gate_")]
        of = {f.name: f for f in found}
        for f in found:
            other = f.name[:-1] if f.name.endswith("_") else f.name + "_"
            twin = [of[other]] if other in of else []
            text = "\n\n".join(dict.fromkeys(
                x.says() for x in (*twin, f) if x.says()))
            pages.setdefault(f.name + ".3", function_page(f, text, header.about, twin))
    return pages


# ---- all ------------------------------------------------------------------------
SEVEN = {
    "wire": "the protocol between clients, brokers and services",
    "extensions": "what gaterpc's own peers say beyond the protocol",
    "errors": "every error, its cause and its cure",
    "observe": "what can be seen of a broker: outcomes, latencies, metrics",
    "security": "who gets in, who may do what",
    "reliability": "what holds when something fails",
}
SEE = ".BR gate (1),\n.BR gate.conf (5),\n.BR gaterpc (7)"


def overview():
    text = re.sub(r"\A# .*\n", "", read("README.md"))
    return of_markdown("gaterpc", "7", "RPC over ZeroMQ for C", text,
                       ".BR gate (1),\n.BR gate.conf (5),\n" + ",\n".join(
                           ".BR gaterpc\\-%s (7)" % x for x in SEVEN))


def pages():
    man = read("docs/gate.1")
    out = {"gate.1": man}
    for verb, brief in verbs().items():
        out["gate-%s.1" % verb] = verb_page(man, verb, brief)
    out["gate.conf.5"] = of_markdown(
        "gate.conf", "5", "settings of gate and of programs that use gaterpc",
        read("docs/settings.md"), SEE)
    out["gaterpc.7"] = overview()
    for name, brief in SEVEN.items():
        out["gaterpc-%s.7" % name] = of_markdown(
            "gaterpc-" + name, "7", brief, read("docs/%s.md" % name), SEE)
    out.update(section_3())
    return out


def main(folder):
    for name, text in pages().items():
        place = os.path.join(folder, "man" + name[-1])
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, name), "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: man.py FOLDER")
    main(sys.argv[1])
