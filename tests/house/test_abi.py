# SPDX-License-Identifier: BSD-3-Clause
"""Programs that were built with the library go on with this one: script/abi against
the ABI that is kept in the tree (a clean clone without tags has it too). And it sees:
against faces that the library never had, what may not change is told, and what may
grow is not."""
import gzip
import os
import platform
import re
import subprocess
import sys
import tempfile

from house import BUILD, ROOT, verdict

KEPT = os.path.join(ROOT, "cmake", "abi", platform.machine() + ".xml.gz")


def abi(*words):
    return subprocess.run(
        [os.path.join(ROOT, "script", "abi"), *words], text=True, timeout=300,
        env={**os.environ, "GATE_BUILD": BUILD}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)


def once(pattern, by, text, flags=re.S):
    text, n = re.subn(pattern, by, text, count=1, flags=flags)
    assert n == 1, pattern
    return text


def struct(name, text):
    return re.search(r"    <class-decl name='%s' size-in-bits='\d+' is-struct.*?"
                     r"</class-decl>\n" % name, text, re.S).group(0)


def smaller(name, text):
    """As it was before its last member came, of 8 bytes at most."""
    now = struct(name, text)
    members = re.findall(r"      <data-member.*?</data-member>\n", now, re.S)
    at = int(re.search(r"layout-offset-in-bits='(\d+)'", members[-1]).group(1))
    was = once(r"size-in-bits='\d+'", "size-in-bits='%d'" % (at // 64 * 64),
               now.replace(members[-1], ""))
    return text.replace(now, was)


done = abi()
if done.returncode == 77:
    print(done.stdout.strip())
    sys.exit(77)
problems = [] if done.returncode == 0 else [done.stdout]

with gzip.open(KEPT, "rt") as f:
    face = f.read()
CASES = {
    "a function went away": (1, face.replace("gate_version", "gate_versjon")),
    "an argument changed": (1, once(
        r"(<function-decl name='gate_client_ready'.*?<parameter type-id=')[\w-]+(')",
        r"\1type-id-1\2", face)),
    "a struct of a table grew": (1, smaller("gate_method", face)),
    "options grew that have no size": (1, smaller("gate_pool_options", face)),
    "errors changed places": (1, once(
        r"'GATE_RAISED' value='1'", "'GATE_RAISED' value='2'", once(
            r"'GATE_TIMEOUT' value='2'", "'GATE_TIMEOUT' value='1'", face))),
    "an error came behind the last": (0, once(
        r"'GATE_ERR_COUNT' value='20'", "'GATE_ERR_COUNT' value='19'", once(
            r" *<enumerator name='GATE_NOTIMPL'[^\n]*\n", "", face))),
    "a function came": (0, once(
        r" *<elf-symbol name='gate_version'[^\n]*\n", "", once(
            r" *<function-decl name='gate_version'.*?</function-decl>\n", "", face))),
    "a struct with its size grew": (0, smaller("gate_map_more", face)),
}
with tempfile.TemporaryDirectory() as folder:
    for what, (code, text) in CASES.items():
        name = os.path.join(folder, "was.xml")
        with open(name, "w") as f:
            f.write(text)
        done = abi(name)
        if done.returncode != code:
            problems.append("%s: %d and not %d\n%s" % (
                what, done.returncode, code, done.stdout))
verdict(problems)
