# SPDX-License-Identifier: BSD-3-Clause
"""docs/errors.md has every code with its class and exit code, and every text
that the sources make an error of: the longest piece of it between two
specifiers of printf stands there. "No memory" and failed system calls are
described as kinds."""
import re

from house import files, read, verdict

MAKERS = re.compile(
    r"\b(gi_err|gi_error_story|gate_raise|gi_broker_call_fail|gi_broker_refuse|"
    r"gi_scall_refuse|gi_pjob_fail|gi_pending_fail_all|gi_opts_fail|"
    r"s_reject\w*|s_fail\w*|s_tell_error|s_bad|s_error|s_refuse\w*|gi_err_story|fprintf|snprintf)\(")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
SPECIFIER = re.compile(r"%[-+ #0]*[\d.*]*(?:hh|h|ll|l|z|j|t)?[a-zA-Z]")
CLASS = re.compile(r"^\w+(?:Error|Iteration)$")
# Heads, progress and the like: not about a failure.
NO_ERROR = re.compile(r"usage: gate|Exit codes:|/s \\033|^-?\d* ?$|_\b|\)\s*->")
# Names of things that the rest of a sentence is put together with.
WHOLE = ("thread pool", "process pool")


def arguments(text, at):
    """Behind the opening bracket at at - 1, to the one that closes it."""
    depth, i = 1, at
    while depth:
        if text[i] == '"':
            i = STRING.match(text, i).end()
            continue
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        i += 1
    return text[at:i - 1]


def split(text):
    """At its commas, but those inside brackets and strings."""
    parts, depth, begin, i = [], 0, 0, 0
    while i < len(text):
        if text[i] == '"':
            i = STRING.match(text, i).end()
            continue
        if text[i] == "," and depth == 0:
            parts.append(text[begin:i])
            begin = i + 1
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        i += 1
    return parts + [text[begin:]]


def stem(message):
    message = message.replace('\\"', '"').replace("\\n", " ")
    message = re.sub(r"^(gate|\w+Error): ", "", message.strip())
    pieces = [p.strip(" :'\"()=") for p in SPECIFIER.split(message)]
    return max(pieces, key=len)


def texts(name):
    """(maker, its text) of each error that the file makes."""
    source = re.sub(r"/\*.*?\*/", "", read(name), flags=re.S)
    for found in MAKERS.finditer(source):
        inside = arguments(source, found.end())
        if found.group(1) == "gi_err" and "GATE_NOMEM" in inside:
            continue
        if found.group(1) == "fprintf" and not inside.startswith("stderr"):
            continue
        if found.group(1) == "snprintf" and not inside.startswith("text,"):
            continue  # where a text for one of the others is made
        for part in split(inside):
            found_any = False
            for way in re.split(r'(?<=")\s*:\s', part):  # one or the other
                whole = "".join(STRING.findall(way))
                if whole and not CLASS.match(whole):
                    found_any = True
                    yield found.group(1), whole
            if found_any:
                break


def problems():
    document = re.sub(r"\s+", " ", read("docs/errors.md"))
    for row in re.findall(r"GATE_X\((.*?)\)\n", read(
            "include/gaterpc/errors.def").split("*/", 2)[2].replace("\n ", ""),
            re.S):
        code, cls, status = [x.strip(' "') for x in row.split(",")[:3]]
        line = next((x for x in read("docs/errors.md").splitlines()
                     if x.startswith("| `GATE_%s`" % code)), "")
        cells = [x.strip(" `") for x in line.split("|")]
        if len(cells) < 6 or cls not in cells[2]:
            yield "docs/errors.md: GATE_%s with class %s is missing" % (code, cls)
        elif cells[5] and not cells[5].startswith(("1" if status == "2" else status)):
            yield "docs/errors.md: GATE_%s: exit code %s" % (code, status)
    for name in files(".c", under="src/"):
        if name.startswith(("src/bench", "src/cli/demo", "src/cli/bench")):
            continue  # measurements; the demo's own, for gate inspect Demo
        for maker, text in texts(name):
            piece = stem(text)
            if piece.startswith("no memory") or "() of ABI" in piece:
                continue  # a kind; a name that the preprocessor puts in
            if len(piece) > 3 and not NO_ERROR.search(text) and \
                    piece not in WHOLE and piece not in document:
                yield "%s: %s: %r is not in docs/errors.md" % (name, maker, piece)


verdict(list(problems()))
