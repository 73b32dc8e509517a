# SPDX-License-Identifier: BSD-3-Clause
"""The headers have no warning in C++, with each compiler that is here: those of C,
all of them, and what the C++ face's test makes of them."""
import os
import shutil
import subprocess
import tempfile

from house import ROOT, files, skip, verdict

FLAGS = ["-Werror", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion",
         "-Wold-style-cast", "-fsyntax-only", "-I", os.path.join(ROOT, "include")]


def compiles(*command):
    done = subprocess.run(command, text=True, capture_output=True, cwd=ROOT,
                          timeout=200)
    return "" if done.returncode == 0 else done.stderr[:2000]


def usable(compiler):
    """It is there, and finds a C++ library."""
    if not shutil.which(compiler):
        return False
    return not subprocess.run(
        [compiler, "-x", "c++", "-fsyntax-only", "-"], input="#include <map>\n",
        text=True, capture_output=True, timeout=100).returncode


compilers = [c for c in ("g++", "clang++-14") if usable(c)]
if not compilers:
    skip("no C++ compiler")
problems = []
with tempfile.TemporaryDirectory() as folder:
    each = os.path.join(folder, "each.cpp")
    with open(each, "w", encoding="utf-8") as f:
        for name in files(".h", ".hpp", under="include/"):
            f.write("#include <%s>\n" % name[len("include/"):])
    plain = os.path.join(folder, "c.cpp")
    with open(plain, "w", encoding="utf-8") as f:
        f.write("#include <gaterpc.h>\n")
    for compiler in compilers:
        # The C headers ask for no more than C++11; g++ builds the test anyway.
        jobs = [("c++11", plain), ("c++20", each)]
        if compiler != "g++":
            jobs.append(("c++17", "tests/cxx/calls.cpp"))
        for standard, name in jobs:
            said = compiles(compiler, "-std=" + standard, *FLAGS, name)
            if said:
                problems.append("%s -std=%s %s: %s" % (
                    compiler, standard, os.path.basename(name), said))
verdict(problems)
