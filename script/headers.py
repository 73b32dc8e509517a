# SPDX-License-Identifier: BSD-3-Clause
"""The public headers, read: what each declares and what it says of it. A comment at
the left edge is that of the declaration below it, and of those that follow without a
blank line and that it names, in whole or by their last words; what stands behind one
is that one's. For man.py and reference.py."""
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = os.path.join(ROOT, "include", "gaterpc")
BANNER = re.compile(r"/\* -{2,} *(.*?) *-* *\*/")
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return f.read()


def names():
    return sorted(x for x in os.listdir(FOLDER) if x.endswith(".h"))


def words(comment):
    """A comment's text, without what makes it one."""
    lines = [re.sub(r"^\s*\*? ?", "", x).rstrip()
             for x in comment.strip()[2:-2].split("\n")]
    return "\n".join(lines).strip()


class Item:
    """kind: function, macro, type; text: the comment above it, or above its group;
    behind: the comment behind it; code: with the comments that are inside."""

    def __init__(self, header, kind, name, code, text, behind):
        self.header, self.kind, self.name, self.code = header, kind, name, code
        self.text, self.behind = text, behind

    def says(self):
        return "\n\n".join(x for x in (self.text, self.behind) if x)


def is_meant(name, text):
    """Whether a comment above others speaks of that one, too."""
    last = "_".join(name.strip("_").split("_")[2:])
    return any(re.search(r"\b%s\b" % re.escape(x), text) for x in (name, last) if x)


class Section:
    def __init__(self, title):
        self.title, self.items = title, []


class Header:
    def __init__(self, name):
        text = read(name)
        self.name = name
        self.about = words(COMMENT.findall(text)[1])  # behind the licence
        self.sections = [Section("")]
        guard = re.search(r"^#define GATERPC_\w+\n", text, re.M)
        Reader(self, text[guard.end():].split("\n")).run()

    def items(self, *kinds):
        return [i for s in self.sections for i in s.items
                if not kinds or i.kind in kinds]


class Reader:
    def __init__(self, header, lines):
        self.header, self.lines, self.at = header, lines, 0
        self.text, self.fresh = "", False

    def take(self, whole):
        """Lines up to the one that makes them whole."""
        begin = self.at
        while True:
            self.at += 1
            code = "\n".join(self.lines[begin:self.at])
            if whole(code) or self.at == len(self.lines):
                return code

    def run(self):
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith("/*"):
                self.comment(self.take(lambda code: code.endswith("*/")))
            elif line.startswith("#define"):
                self.macro(self.take(lambda code: not code.endswith("\\")))
            elif line.startswith("#"):
                self.take(lambda code: not code.endswith("\\"))
            elif not line.strip():
                self.text = self.text if self.fresh else ""
                self.at += 1
            elif re.fullmatch(r"GATE_(BEGIN|END)_DECLS", line):
                self.at += 1
            else:
                self.declaration(self.take(is_whole))

    def comment(self, code):
        banner = BANNER.fullmatch(code)
        if banner:
            self.header.sections.append(Section(banner.group(1)))
        self.text, self.fresh = "" if banner else words(code), not banner

    def add(self, kind, name, code):
        behind = ""
        if code.rstrip().endswith("*/"):
            tail = code.rindex("/*")
            code, behind = code[:tail].rstrip(), words(code[tail:].strip())
        self.header.sections[-1].items.append(Item(
            self.header.name, kind, name, code,
            self.text if self.fresh or is_meant(name, self.text) else "", behind))
        self.fresh = False

    def macro(self, code):
        self.add("macro", re.match(r"#define (\w+)", code).group(1), code)

    def declaration(self, code):
        bare = COMMENT.sub("", code)
        if bare.startswith("typedef"):
            flat = re.sub(r"\{.*\}", "", bare, flags=re.S)
            found = re.search(r"(\w+)\s*\([^*]|(\w+)\s*;", flat)
            self.add("type", found.group(1) or found.group(2), code)
            return
        bare = re.sub(r"\(\*\w+\)\s*\([^()]*\)", "", bare)
        found = re.search(r"\b(gate_\w+)\s*\(", bare)
        if found:
            self.add("function", found.group(1), code)
        else:
            self.fresh = False


def is_whole(code):
    """A declaration with its ;, or a function with its body."""
    bare = COMMENT.sub("", code)
    if "/*" in bare or bare.count("{") != bare.count("}"):
        return False
    return bare.rstrip().endswith((";", "}"))


def prototype(item):
    """One line of it, without what compilers alone want to know."""
    if item.kind == "macro":
        return re.match(r"#define (\w+(?:\([^)]*\))?)", item.code).group(1)
    code = COMMENT.sub("", item.code).partition("{")[0].rstrip().rstrip(";") + ";"
    code = re.sub(r"GATE_API |\s*GATE_MUST|\s*GATE_PRINTF\([^)]*\)", "", code)
    return re.sub(r"\s+", " ", code)


def all_headers():
    return [Header(name) for name in names()]
