# SPDX-License-Identifier: BSD-3-Clause
"""The man pages that script/man.py makes: every verb with each of its options, every
exported function and macro, every setting, error and metric has its text; and man
has nothing to complain of."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from house import BUILD, GATE, ROOT, files, read, verdict

sys.path.insert(0, os.path.join(ROOT, "script"))
import headers  # noqa: E402
import man  # noqa: E402

sys.dont_write_bytecode = True
pages = man.pages()
problems = []


def plain(name):
    """A page as one reads it, without roff's words."""
    if name not in pages:
        problems.append("no page " + name)
        return ""
    text = re.sub(r"\\f[BIPR]|\\&", "", pages[name].replace("\\-", "-"))
    return text.replace("\\e", "\\")


def run(*args):
    return subprocess.run([GATE, *args], text=True, check=True, timeout=60,
                          stdout=subprocess.PIPE).stdout


# ---- verbs and options ----------------------------------------------------------
shown = re.findall(r"^  (\w+) ", run("--help"), re.M)
for verb in shown:
    text = plain("gate-%s.1" % verb)
    for option in re.findall(r"^  --([\w-]+)", run(verb, "--help"), re.M):
        if option != "help" and "--" + option not in text:
            problems.append("gate-%s(1): no --%s" % (verb, option))
for verb in set(man.verbs()) - set(shown) - {"monitor", "bench"}:
    problems.append("gate-%s(1): gate --help has no such verb" % verb)

# ---- public names ---------------------------------------------------------------
lines = subprocess.run(
    ["nm", "-D", "--defined-only", os.path.join(BUILD, "libgaterpc.so")],
    text=True, stdout=subprocess.PIPE, check=True).stdout.splitlines()
names = {line.split()[-1] for line in lines} - {"_init", "_fini"}
for header in headers.names():
    names |= set(re.findall(r"^#define (gate_[a-z_]+)\(",
                            read("include/gaterpc/" + header), re.M))
for name in sorted(names):
    text = plain(name + ".3")
    said = text.partition(".SH DESCRIPTION\n")[2].partition(".SH SEE")[0]
    if name + "(" not in text or len(said.split()) < 8:
        problems.append("%s(3) does not say what it does" % name)

# ---- settings, errors, metrics --------------------------------------------------
conf = plain("gate.conf.5")
settings = re.findall(r"^GI_S_\w+\((\w+),", read("src/proto/settings/settings.def"),
                      re.M)
problems += ["gate.conf(5): no " + s for s in settings
             if not re.search(r"^%s$" % s, conf, re.M)]
errors = plain("gaterpc-errors.7")
for code, cls in re.findall(r'^GATE_X\((\w+),\s*"(\w*)"',
                            read("include/gaterpc/errors.def"), re.M):
    problems += ["gaterpc-errors(7): no " + word
                 for word in ("GATE_" + code, cls) if word not in errors]
observe = plain("gaterpc-observe.7")
metrics = {m for name in files(".c", ".h", ".def", under="src/")
           for m in re.findall(r'"((?:gaterpc|process)_[a-z_]+)', read(name))}
problems += ["gaterpc-observe(7): no " + m for m in sorted(metrics)
             if m not in observe]
assert len(metrics) > 15
assert len(settings) > 50 and len(names) > 250 and len(shown) > 12

# ---- as man reads them ------------------------------------------------------------
if shutil.which("man"):
    with tempfile.TemporaryDirectory() as folder:
        man.main(folder)
        sample = ["man1/gate-call.1", "man5/gate.conf.5", "man3/gate_client_call.3",
                  *("man7/" + n for n in pages if n.endswith(".7"))]
        for name in sample:
            done = subprocess.run(
                ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z",
                 os.path.join(folder, name)], stdout=subprocess.DEVNULL, text=True,
                stderr=subprocess.PIPE, env=dict(os.environ, MANWIDTH="80"))
            told = [x for x in done.stderr.splitlines()
                    if "cannot adjust line" not in x and "can't break line" not in x]
            problems += ["%s: %s" % (name, x) for x in told[:3]]
else:
    print("how man reads them is not tried: there is no man here")
verdict(problems)
