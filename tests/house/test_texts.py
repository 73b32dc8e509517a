# SPDX-License-Identifier: BSD-3-Clause
"""The repository stands alone: no machine's paths, an SPDX line in each source,
links and test names in documents that lead somewhere, a man page with every
option, errors as documented."""
import os
import re
import subprocess

from house import GATE, ROOT, files, read, verdict

problems = []
OURS = "tests/house/test_texts.py"

# ---- paths, licence --------------------------------------------------------
FOREIGN = re.compile(r"(?<![\w.])/work/|\.\./shared|/root/|/home/\w")
for name in files():
    if name == OURS or name.startswith(("tests/fuzz/corpus/",
                                        "tests/wire/vectors/")):
        continue
    for n, line in enumerate(read(name).split("\n"), 1):
        if FOREIGN.search(line):
            problems.append("%s:%d: a path of somebody's machine" % (name, n))
for name in files(".c", ".h", ".def", ".py", ".sh", ".cmake", "CMakeLists.txt"):
    if "SPDX-License-Identifier: BSD-3-Clause" not in read(name)[:200]:
        problems.append("%s: no SPDX line" % name)

# ---- links -----------------------------------------------------------------
for name in files(".md"):
    for target in re.findall(r"\]\(([^)#\s]+)", read(name)):
        if not re.match(r"\w+:", target) and not os.path.exists(
                os.path.join(ROOT, os.path.dirname(name), target)):
            problems.append("%s: %s is nowhere" % (name, target))
    for target in re.findall(r"`((?:tests|examples)/[\w./]+)`", read(name)):
        if not os.path.exists(os.path.join(ROOT, target)):
            problems.append("%s: %s is nowhere" % (name, target))


# ---- promises --------------------------------------------------------------
promises = re.search(r"\n## What it is for\n(.*?)\n## ", read("README.md"), re.S)
for promise in re.findall(r"^- (.*?)(?=^- |\Z)", promises.group(1) + "\n",
                          re.M | re.S):
    if not re.search(r"`(tests|examples)/[\w./]+`", promise):
        problems.append("README.md: no test beside: " + promise[:60])


# ---- man page --------------------------------------------------------------
def run(*args):
    return subprocess.run([GATE, *args], text=True, check=True, timeout=60,
                          stdout=subprocess.PIPE).stdout


man = read("docs/gate.1").replace("\\-", "-")
for verb in re.findall(r"^  (\w+) ", run("--help"), re.M):
    section = re.search(r"^\.SS %s\n(.*?)(?=^\.S[SH] )" % verb, man,
                        re.M | re.S)
    if not section:
        problems.append("docs/gate.1: no section on " + verb)
        continue
    for option in re.findall(r"^  --([\w-]+)", run(verb, "--help"), re.M):
        if option != "help" and "--%s" % option not in section.group(1):
            problems.append("docs/gate.1: %s: no --%s" % (verb, option))

# ---- errors (settings: tests/unit/proto/settings_doc.c) ---------------------
ERROR = re.compile(r'^GATE_X\((\w+),\s*"(\w*)"', re.M)
table = read("docs/errors.md")
for code, cls in ERROR.findall(read("include/gaterpc/errors.def")):
    if "`GATE_%s`" % code not in table:
        problems.append("docs/errors.md: no GATE_" + code)
    if cls and "`%s`" % cls not in table:
        problems.append("docs/errors.md: no " + cls)
verdict(problems)
