# SPDX-License-Identifier: BSD-3-Clause
"""The library exports what include/ declares: not one symbol more or less; and
debian's symbols file lists the same."""
import os
import re
import subprocess

from house import BUILD, ROOT, read, verdict


def declared():
    flags = subprocess.run(["pkg-config", "--cflags", "msgpack"], text=True,
                           stdout=subprocess.PIPE, check=True).stdout.split()
    text = subprocess.run(
        ["cc", "-E", "-P", "-I", os.path.join(ROOT, "include"),
         "-x", "c", "-", *flags],
        input=undefined_api(), text=True, stdout=subprocess.PIPE, check=True,
        cwd=ROOT).stdout
    names = set()
    for rest in text.split("GATE_EXPORTED_HERE")[1:]:
        head = rest.split(";", 1)[0]
        names.add(re.search(r"\b(gate_\w+)\s*\(", head).group(1))
    return names


def undefined_api():
    """gaterpc.h with base.h's own GATE_API left to the command line."""
    return ("#include <gaterpc/base.h>\n#undef GATE_API\n"
            "#define GATE_API GATE_EXPORTED_HERE\n#include <gaterpc.h>\n"
            "GATE_EXPORTED_HERE const char *gate_version(void);\n")


def exported():
    lines = subprocess.run(
        ["nm", "-D", "--defined-only", os.path.join(BUILD, "libgaterpc.so")],
        text=True, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    return {line.split()[-1] for line in lines} - {"_init", "_fini"}


def listed():
    text = read("debian/libgaterpc0.2.symbols")
    return set(re.findall(r"^ (\w+)@Base \d[\d.]*$", text, re.M))


header, library, debian = declared(), exported(), listed()
verdict(["declared, not exported: " + n for n in sorted(header - library)]
        + ["exported, not declared: " + n for n in sorted(library - header)]
        + ["debian/libgaterpc0.2.symbols: %s is missing: add ' %s@Base VERSION'"
           % (n, n) for n in sorted(library - debian)]
        + ["debian/libgaterpc0.2.symbols: %s is not exported: it may not go "
           "before the SONAME changes" % n for n in sorted(debian - library)])
