# SPDX-License-Identifier: BSD-3-Clause
"""What crosses files (gi_) can be found by its name: it is declared in the header
of the file that has it, or under that file's banner in a header of the room
(/* ---- file.c ---- */); it begins with gi_ and its file's name, or the first or
last words of it; and somebody in src uses it.
names.txt has what does not keep the first two today: it only shrinks."""
import collections
import os
import re

from house import files, read, verdict

# In src for the tests' sake: they could not see it otherwise.
TESTED = {
    "gi_mem_fail_at": "an allocation that fails", "gi_mem_asked": "how many there were",
    "gi_cgroup_look_below": "unit/shared/cgroup",
    "gi_broker_core_valid": "the law", "gi_sup_valid": "the law",
    "gi_broker_core_count": "a counter", "gi_client_core_count": "a counter",
    "gi_cgroup_look_below": "a tree of the test's own", "gi_wheel_size": "what is left",
    "gi_stream_abandoned": "by its reader",
    "gi_cgroup_look_below": "unit/shared/cgroup",
    "gi_huge_pack_cancel": "stress/huge_pool", "gi_gzip_block": "unit/huge/split",
    "gi_block_count": "unit/huge/split", "gi_engine_has": "unit/huge/split",
    "gi_gather_put": "a sink for blocks: unit/huge/split, fuzz_huge_split",
    "gi_gather_next": "the same", "gi_gather_done": "the same",
}
# Named by token pasting: how.
PASTED = [("src/cli/demo/demo.h", r"gi_demo_")]

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
DECLARED = re.compile(r"/\* -{2,} ?([^*]*?)(?: -*)?\*/"
                      r"|^(?!static|typedef|#|\s|extern \")[\w *\n]*?\b(gi_\w+)\(",
                      re.M)
DEFINED = re.compile(r"^(?!static|typedef|#|\s)[\w *\n]*?\b(gi_\w+)"
                     r"\([^;{]*?\)\s*\{", re.M)


def base(name):
    return os.path.splitext(os.path.basename(name))[0]


def declared():
    """name -> (header, the banner that it stands under)"""
    found = {}
    for header in files(".h", under="src/"):
        banner = ""
        for m in DECLARED.finditer(read(header)):
            if m.group(2):
                found[m.group(2)] = (header, banner)
            elif m.group(1):
                banner = m.group(1)
    return found


def defined():
    return {m.group(1): source for source in files(".c", under="src/")
            for m in DEFINED.finditer(COMMENT.sub("", read(source)))}


def used():
    """How often each name stands in src."""
    n = collections.Counter()
    for name in files(".c", ".h", ".def", under="src/"):
        n.update(re.findall(r"\bgi_\w+", COMMENT.sub("", read(name))))
    return n


def stems(source):
    """registry_names: registry_names, registry, names and name."""
    words = base(source).split("_")
    parts = {"_".join(words[:i]) for i in range(1, len(words) + 1)}
    parts |= {"_".join(words[i:]) for i in range(len(words))}
    return parts | {p[:-1] for p in parts if p.endswith("s")}


def misplaced(header, banner, source):
    return base(header) != base(source) and not re.search(
        r"\b%s\b" % re.escape(base(source)), banner)


def misnamed(name, source):
    return not any(name == "gi_" + s or name.startswith("gi_%s_" % s)
                   for s in stems(source))


def known():
    """(what, header or source, source) -> how many"""
    lines = [line.split() for line in read("tests/house/names.txt").split("\n")
             if line and not line.startswith("#")]
    return {tuple(words[:-1]): int(words[-1]) for words in lines}


def main():
    homes, wrong, problems = defined(), collections.defaultdict(list), []
    n = used()
    for name, (header, banner) in sorted(declared().items()):
        source = homes.get(name)
        if not source:
            continue  # a macro, an inline, or what a .def makes
        if misplaced(header, banner, source):
            wrong["place", header, source].append(name)
        if misnamed(name, source):
            wrong["name", source].append(name)
        if n[name] <= 2 and name not in TESTED and not any(
                header == h and re.match(p, name) for h, p in PASTED):
            problems.append("%s: %s is used by nobody in src: cut it" % (source, name))
    allowed = known()
    for key, names in sorted(wrong.items()):
        most = allowed.pop(key, 0)
        if len(names) > most:
            problems.append("%s: %d, at most %d: %s" % (
                " ".join(key), len(names), most, " ".join(names)))
    problems += ["names.txt: %s: none today, take it off" % " ".join(key)
                 for key in sorted(allowed)]
    problems += ["%s is in TESTED, and src uses it or it is gone" % name
                 for name in TESTED if n[name] > 2 or name not in homes]
    if problems:
        problems.append("(a function is declared in its file's header, or under "
                        "/* ---- file.c ---- */; it begins with gi_ and words of "
                        "its file's name)")
    return wrong, problems


if __name__ == "__main__":
    verdict(main()[1])
