# SPDX-License-Identifier: BSD-3-Clause
"""broker, serve, serve --supervise, zap and call, started as daemons, cron, bad
entry points and small containers start things: descriptors 0, 1, 2 closed, a full
stdout, signals ignored or blocked, few descriptors, few threads, no environment, a
directory that is not ours. Each works, or ends at once with a sentence that names
the cause; none aborts, none hangs. GATE_LONG: every subset, every limit."""
import itertools
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from cli import CALM, kit

VERBS = ("broker", "serve", "supervise", "zap", "call")
AT_A_TIME = 4
AT_ONCE = 3  # seconds; a hang in the short form is ten times that
ABORT = re.compile(r"\(src/\w+\.cpp:\d+\)|Assertion|core dumped|Sanitizer|"
                   r"runtime error:")
CAUSE = re.compile(r"[A-Za-z]+Error: .|gate: .+: .")
FEW = r"Too many open files \(ulimit -n is \d+"
NO_THREAD = r"ulimit -u is \d+|Resource temporarily unavailable"


class Start:
    """One start of one verb; `before` runs in the child, close are its numbers."""

    def __init__(self, verb, what, before=None, close=(), out=None, env=None,
                 cwd=None, user=None, must=True, cause=None):
        self.verb, self.what, self.before = verb, what, before
        self.close, self.out, self.env = close, out, env
        self.cwd, self.user, self.must, self.cause = cwd, user, must, cause
        self.process, self.told = None, None

    def __str__(self):
        return "%s, %s" % (self.verb, self.what)

    def words(self, broker):
        config = ["--config", self.dir + "/cfg"]
        backend = ["--backend", broker.back, "--demo"]
        return {
            "broker": ["broker", "--frontend", self.ipc("f"), "--backend",
                       self.ipc("b"), *config],
            "zap": ["zap", "--bind", self.ipc("z"), "--users",
                    self.dir + "/users", *config],
            "serve": ["serve", *backend, *config],
            "supervise": ["serve", "--supervise", *backend, *config],
            "call": ["call", "--broker", broker.front, *config, "Gate.info"],
        }[self.verb]

    def ipc(self, name):
        return "ipc://%s/%s" % (self.dir, name)

    def prepare(self, top):
        self.dir = tempfile.mkdtemp(dir=top)
        self.log, self.err = self.dir + "/log", self.dir + "/err"
        with open(self.dir + "/cfg", "w") as f:
            f.write("log_file = \"%s\"\nprocesses = 1\nthreads = 1\n"
                    "mdp_heartbeat_interval = %d\n"
                    % (self.log, CALM["mdp_heartbeat_interval"]))
        with open(self.dir + "/users", "w") as f:
            f.write("# nobody at all\n")
        os.chmod(self.dir + "/users", 0o600)
        for name in ("", "cfg", "users"):
            if self.user is not None:
                os.chown(os.path.join(self.dir, name), self.user, self.user)

    def child(self):
        kit.die_with_the_test()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if self.before:
            self.before()
        for fd in self.close:
            os.close(fd)

    def begin(self, top, broker):
        self.prepare(top)
        env = kit.environment() if self.env is None else dict(self.env)
        env["ASAN_OPTIONS"] = "detect_leaks=0"  # LSan wants a thread
        who = {} if self.user is None else {
            "user": self.user, "group": self.user, "extra_groups": []}
        with open(self.out or self.dir + "/out", "wb") as out, \
                open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [kit.GATE, *self.words(broker)], env=env,
                cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                preexec_fn=self.child, **who)
        self.began = time.monotonic()

    def text(self, name):
        try:
            with open(self.dir + "/" + name, errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def works(self):
        if self.verb in ("serve", "supervise"):
            return "registered at" in self.text("log")
        if self.verb == "call":
            return False  # it ends
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.dir + ("/b" if self.verb == "broker"
                                            else "/z")) == 0

    def look(self):
        """True: it is over."""
        code = self.process.poll()
        age = time.monotonic() - self.began
        if code is not None:
            return True
        if self.told is None and self.works():
            self.process.send_signal(signal.SIGTERM)
            self.told, self.began = age, time.monotonic()
        elif age > AT_ONCE * kit.SLOW * (1 if kit.LONG else 10):
            self.process.kill()
            self.process.wait()
            self.hung = True
            return True
        return False

    hung = False

    def fault(self):
        """What is wrong with how it ended; "" when nothing is."""
        code, err = self.process.returncode, self.text("err")
        said = err + self.text("log")
        if self.hung:
            return "hung, %s: %s" % (
                "did not end on SIGTERM" if self.told is not None
                else "neither worked nor ended", said[-800:])
        if ABORT.search(said):
            return "aborted: " + said[-800:]
        if code == 0 and (self.told is not None or self.verb == "call"):
            return ""
        if self.told is not None and self.must:
            return "ended with %d: %s" % (code, said[-800:])
        if code == 0:
            return "ended with 0 and has not worked: %s" % said[-800:]
        if code < 0:
            return "ended by signal %d: %s" % (-code, said[-800:])
        if 2 not in self.close and not CAUSE.search(err):
            return "ended with %d and no word: %r" % (code, said[-800:])
        if self.cause and not re.search(self.cause, said):
            return "does not name the cause: %r" % said[-800:]
        return "did not work: %s" % said[-800:] if self.must else ""


class Matrix(kit.Shared):
    @classmethod
    def start(cls):
        os.chmod(cls.shared_dir, 0o711)
        cls.broker = cls.share(kit.OurBroker(
            "ipc://%s/f" % cls.shared_dir, "ipc://%s/b" % cls.shared_dir,
            **CALM))
        for name in "fb":
            os.chmod(cls.shared_dir + "/" + name, 0o777)

    def all(self, starts):
        """Runs them, some at a time; none may have a fault."""
        waiting, running, faults = list(starts), [], []
        random.Random(1).shuffle(waiting)
        while waiting or running:
            while waiting and len(running) < AT_A_TIME:
                running.append(waiting.pop())
                running[-1].begin(self.shared_dir, self.broker)
                self.addCleanup(self.end, running[-1])
            for one in [x for x in running if x.look()]:
                running.remove(one)
                if one.fault():
                    faults.append("%s: %s" % (one, one.fault()))
            time.sleep(0.01)
        self.assertFalse(faults, "\n".join(faults))

    @staticmethod
    def end(one):
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        shutil.rmtree(one.dir, True)

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no /dev/full")
    def test_full_stdout(self):
        self.all(Start(v, "/dev/full", out="/dev/full", must=v != "call",
                       cause="No space left") for v in VERBS)

    def test_the_ready_line_is_told(self):
        """Not on stdout, so on stderr, and the end is none of a failure."""
        for out, why in (("/dev/full", "No space left"), (None, "Bad file")):
            if out and not os.path.exists(out):
                continue
            one = Start("broker", why, out=out, close=() if out else (1,))
            self.all([one])
            self.assertRegex(one.text("err"),
                             "gate: stdout: %s.*: ready frontend=" % why)

    def test_closed(self):
        subsets = [s for n in (1, 2, 3)
                   for s in itertools.combinations((0, 1, 2), n)]
        short = {(0,), (1,), (2,), (0, 1, 2)}
        self.all(Start(v, "closed %s" % (s,), close=s,
                       must=v != "call" or 1 not in s)
                 for v in VERBS for s in subsets
                 if kit.LONG or v == "serve" or s in short)

    def test_signals(self):
        def ignored(number):
            return lambda: signal.signal(number, signal.SIG_IGN)

        def blocked():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

        self.all([Start(v, "%s ignored" % n.name, before=ignored(n))
                  for v in VERBS
                  for n in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP)] +
                 [Start(v, "all blocked", before=blocked) for v in VERBS])

    def test_descriptors(self):
        def few(n):
            return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

        limits = range(8, 65) if kit.LONG else (8, 13, 18, *range(21, 29), 33, 41)
        self.all([Start(v, "ulimit -n %d" % n, before=few(n), must=n >= 64,
                        cause=FEW)
                  for v in VERBS for n in {*limits, 64}])

    def test_children_are_heard(self):
        """With SIGCHLD ignored by who started us, what dies is started again."""
        one = Start("supervise", "SIGCHLD ignored", before=lambda:
                    signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        one.begin(self.shared_dir, self.broker)
        self.addCleanup(self.end, one)
        self.until(one.works, 60, "its start")
        with open("/proc/%d/task/%d/children" % ((one.process.pid,) * 2)) as f:
            children = [int(x) for x in f.read().split()]
        tasks = "/proc/%d/task" % one.process.pid
        for task in os.listdir(tasks):
            with open("%s/%s/children" % (tasks, task)) as f:
                children += [int(x) for x in f.read().split()]
        self.assertEqual(len(set(children)), 1, children)
        os.kill(children[0], signal.SIGKILL)
        self.until(lambda: one.text("log").count("registered at") >= 2, 60,
                   "its second start")
        one.process.send_signal(signal.SIGTERM)
        self.assertEqual(one.process.wait(60 * kit.SLOW), 0)

    # ---- other users -------------------------------------------------------
    def stranger(self):
        """A user without processes; root alone can be one."""
        if os.geteuid() != 0:
            self.skipTest("a user without processes: that takes root")
        user = 61000 + random.SystemRandom().randrange(4000)
        done = subprocess.run([kit.GATE, "--version"], user=user, group=user,
                              extra_groups=[], capture_output=True)
        if done.returncode:
            self.skipTest("other users may not run %s" % kit.GATE)
        return user

    def test_threads(self):
        first = self.stranger()

        def few(n):
            return lambda: resource.setrlimit(resource.RLIMIT_NPROC, (n, n))

        enough = 40
        limits = {"broker": (2, 3, 4, 5, 6), "zap": (3, 4, 5),
                  "call": (2, 3, 4, 5), "serve": (2, 4, 5, 6, 8, 10, 13),
                  "supervise": (4, 5, 6, 9, 12)}
        users = itertools.count(first)
        self.all([Start(v, "ulimit -u %d" % n, before=few(n), user=next(users),
                        must=n == enough, cause=NO_THREAD)
                  for v in VERBS
                  for n in [*(range(1, 25) if kit.LONG else limits[v]),
                            enough]])

    def test_places(self):
        starts = []
        for v in VERBS:
            starts += [
                Start(v, "no HOME", env={"PATH": os.environ["PATH"]}),
                Start(v, "an empty environment", env={}),
                Start(v, "a directory that nobody may write", cwd="/proc")]
        if os.geteuid() == 0:
            user = self.stranger()
            starts += [Start(v, "another user", user=user, env={}, cwd="/")
                       for v in VERBS]
        self.all(starts)


if __name__ == "__main__":
    kit.main()
