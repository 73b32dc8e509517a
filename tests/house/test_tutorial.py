# SPDX-License-Identifier: BSD-3-Clause
"""The tutorial does what it says: each chapter's files are written, its sh blocks
run in one shell, and what they print is the text block behind them. Endpoints are
the test's own, so that whoever uses the usual ones is left alone; what gate dev,
broker and serve print (ready) is waited for, and not compared."""
import concurrent.futures
import os
import re
import signal
import subprocess
import tempfile

from house import BUILD, GATE, ROOT, files, read, skip, verdict

BLOCK = re.compile(r"^```(\w+) ?([\w.]*)\n(.*?)^```$", re.M | re.S)
PATIENCE_S = 270
PYTHON = os.environ.get("GATE_SYSTEM_PYTHON", "/usr/bin/python3")

with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
    if "GATE_SANITIZE:STRING=\n" not in cache.read():
        skip("programs of a reader are not built with sanitizers")

BEGIN = """set -m
python3() { "$PYTHON" "$@"; }
gate() {
  local verb=$1; shift
  case "$verb $*" in
    dev*--no-monitor*) set -- dev --frontend "$FRONT" "$@" ;;
    dev*) set -- dev --frontend "$FRONT" --monitor 0 "$@" ;;
    broker*--frontend*) set -- broker "$@" ;;
    broker*) set -- broker --frontend "$FRONT" "$@" ;;
    *) set -- "$verb" "$@" ;;
  esac
  case $1 in
    dev|broker|serve) "$GATE" "$@" >>ready 2>/dev/null ;;
    *) "$GATE" "$@" ;;
  esac
}
end() {
  for pid in $(jobs -p); do kill -TERM -- "-$pid" 2>/dev/null; done
  wait
}
trap end EXIT
: >ready
"""
WAIT = "until [ $(grep -c ^ready ready) -ge %d ]; do sleep 0.05; done\n"
FILE = "cat >%s <<'END OF FILE'\n%sEND OF FILE\n"


def environment(folder, text):
    front, back = ("ipc://%s/%s" % (folder, x) for x in "fb")
    env = {k: v for k, v in os.environ.items() if not k.startswith("GATE_")}
    env.update(GATE=GATE, PYTHON=PYTHON, FRONT=front, GATE_WORKER_ADDR=back,
               XDG_CONFIG_HOME=folder + "/config", PKG_CONFIG_PATH=folder,
               PYTHONPATH=os.path.join(ROOT, "python"),
               PYTHONDONTWRITEBYTECODE="1", GATE_LOG_LEVEL="warn",
               GATE_LIBRARY=os.path.join(BUILD, "libgaterpc.so"))
    if "gate context" not in text:
        env["GATE_BROKER"] = front
    for name, to in (("include", os.path.join(ROOT, "include")), ("lib", BUILD)):
        os.symlink(to, os.path.join(folder, name))  # of no blank
    with open(os.path.join(folder, "gaterpc.pc"), "w") as f:
        f.write("Name: gaterpc\nDescription: -\nVersion: 0\nRequires: msgpack\n"
                "Cflags: -I{0}/include\n"
                "Libs: -L{0}/lib -Wl,-rpath,{0}/lib -lgaterpc\n".format(folder))
    return env, (("tcp://127.0.0.1:5555", front), ("tcp://127.0.0.1:5556", back),
                 ("tcp://127.0.0.1:5565", front + "2"),
                 ("tcp://127.0.0.1:5566", back + "2"))


def script(text):
    """The shell's lines, with a mark behind each block; what each is to print."""
    lines, wanted, started = [BEGIN], [], 0
    for kind, name, body in BLOCK.findall(text):
        if kind == "sh":
            started += len(re.findall(r"^gate (?:dev|broker|serve)\b.*&$", body, re.M))
            body = re.sub(r"^(gate (?:dev|broker|serve)\b.*&)$", r"\1\n" + "@@",
                          body, flags=re.M)
            n = started - body.count("@@")
            while "@@" in body:
                n += 1
                body = body.replace("@@\n", WAIT % n, 1)
            lines.append(body + "echo '#%d'\n" % len(wanted))
            wanted.append(None)
        elif kind == "text":
            wanted[-1] = re.sub(r"^ready .*\n", "", body, flags=re.M)
        elif name:
            lines.append(FILE % (name, body))
    return "".join(lines), wanted


def leftovers(folder):
    """Those that a chapter that hangs has started: they have its folder."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if folder.encode() in f.read():
                    os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass


def run(folder, text):
    env, places = environment(folder, text)
    for usual, own in places:
        text = text.replace(usual, own)
    lines, wanted = script(text)
    shell = subprocess.Popen(["bash", "-c", lines], cwd=folder, env=env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    try:
        return shell.communicate(timeout=PATIENCE_S)[0], wanted
    except subprocess.TimeoutExpired:
        leftovers(folder)
        return shell.communicate()[0] + "(it hung)\n", wanted


def chapter(name):
    with tempfile.TemporaryDirectory(prefix="gate-tutorial-") as folder:
        out, wanted = run(folder, read(name))
    out = re.sub(r"^\[\d+\].*\n", "", out, flags=re.M)  # bash, of its jobs
    got = re.split(r"^#\d+\n", out, flags=re.M)
    if len(got) != len(wanted) + 1:
        return ["%s: it ended in block %d:\n%s" % (name, len(got), out)]
    return ["%s: block %d printed\n%s\nand not\n%s" % (name, i + 1, is_, said)
            for i, (is_, said) in enumerate(zip(got, wanted))
            if said is not None and is_ != said]


chapters = files(".md", under="docs/tutorial/")
assert len(chapters) == 4, chapters
with concurrent.futures.ThreadPoolExecutor(2) as two:
    verdict(sum(two.map(chapter, chapters), []))
