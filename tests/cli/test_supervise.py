# SPDX-License-Identifier: BSD-3-Clause
"""gate serve --supervise: the serving process dies, by kill -9 and by its own
handlers, and is there again; too often, and the command gives up; SIGTERM stops
everything. After each of them no process is left."""
import os
import signal
import time

from cli import CALM, kit

MODULE = os.path.join(os.environ.get("GATE_BUILD", os.path.dirname(kit.GATE)),
                      "cli_fragile.so")
# Deaths are a connection's end, not a silence: heartbeats may be long.
QUICK = {**CALM, "supervise_backoff_ms": 20, "supervise_backoff_max_ms": 100}


def children(pid):
    """Of all its threads."""
    found = []
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as f:
                found += [int(word) for word in f.read().split()]
    except OSError:
        pass
    return found


def family(pid):
    """It and all below it: {pid: start time}, so that a pid that is used again
    is nobody of ours."""
    found, more = {}, [pid]
    while more:
        one = more.pop()
        started = start_time(one)
        if started:
            found[one] = started
            more += children(one)
    return found


def start_time(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


class Supervised(kit.Case):
    def setUp(self):
        super().setUp()
        self.broker = self.keep(kit.OurBroker(**CALM))

    def serve(self, **settings):
        self.service = kit.Command("serve", "--supervise", "--backend",
                                   self.broker.back, "--processes", "1",
                                   MODULE, **{**QUICK, **settings})
        self.keep(self.service)
        self.ready()
        return self.service

    def ready(self):
        self.assertEqual(self.service.line(), "ready service=Fragile")

    def call(self, method, *args):
        return kit.run("call", "--broker", self.broker.front, "--timeout",
                       "30000", "Fragile." + method, *args, **CALM)

    def pid(self):
        done = self.call("pid")
        self.assertEqual(done.code, 0, done.err)
        return int(done.out)

    def nobody_is_left(self, were):
        self.until(lambda: not [p for p, t in were.items()
                                if start_time(p) == t], 20.0,
                   "the end of %s" % sorted(were))

    def all(self):
        """With the zygote and a worker process."""
        done = self.call("pid_process")
        self.assertEqual(done.code, 0, done.err)
        found = family(self.service.pid)
        self.assertIn(int(done.out), found)
        self.assertGreaterEqual(len(found), 4, found)
        return found

    def err(self):
        return "".join(self.service.err)

    def test_killed(self):
        self.serve()
        supervisor, seen = self.service.pid, set()
        for _ in range(3):
            pid, were = self.pid(), self.all()
            self.assertEqual(children(supervisor), [pid])
            with open("/proc/%d/comm" % pid) as f:
                self.assertEqual(f.read(), "gate\n")
            self.assertNotIn(pid, seen)
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
            self.ready()
            del were[supervisor]
            self.nobody_is_left(were)
        self.assertNotIn(self.pid(), seen)
        self.assertEqual(self.err().count("was killed by signal 9"), 3)

    def test_handlers_that_crash(self):
        self.serve()
        for method, number in (("crash", signal.SIGSEGV),
                               ("crash_inline", signal.SIGABRT)):
            before = self.pid()
            done = self.call(method, str(int(number)))
            self.assertEqual((done.code, done.err.split(":")[0]),
                             (1, "WorkerLostError"), done.err)
            self.ready()
            self.assertNotEqual(self.pid(), before)
            self.assertIn("was killed by signal %d" % number, self.err())
        done = self.call("leave", "7")
        self.assertEqual((done.code, done.err.split(":")[0]),
                         (1, "WorkerLostError"), done.err)
        self.ready()
        self.assertIn("the serving process ended with 7", self.err())

    def test_gives_up(self):
        self.serve(supervise_intensity=2, supervise_period_ms=600000)
        for last in (False, False, True):
            were = self.all()
            os.kill(self.pid(), signal.SIGKILL)
            if not last:
                self.ready()
        self.assertEqual(self.service.wait(), 1, self.err())
        self.assertIn("giving up", self.err())
        self.nobody_is_left(were)
        self.assertEqual(self.err().count("was killed by signal 9"), 3)

    def test_gives_up_with_the_childs_code(self):
        self.serve(supervise_intensity=0, supervise_period_ms=600000)
        self.call("leave", "7")
        self.assertEqual(self.service.wait(), 7, self.err())
        self.assertIn("giving up", self.err())

    def test_ends_as_it_should(self):
        """Exit code 0 is no death, bad usage does not go away."""
        self.serve()
        self.call("leave", "0")
        self.assertEqual(self.service.wait(), 0, self.err())
        self.assertIn("has ended, and stays down", self.err())
        self.assertNotIn("died", self.err())
        done = kit.run("serve", "--supervise", "--backend", self.broker.back,
                       os.path.join(self.dir, "none.so"), **QUICK)
        self.assertEqual(done.code, 2, done.err)
        self.assertIn("none.so", done.err)

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.serve()
            were = self.all()
            self.service.signal(number)
            self.assertEqual(self.service.wait(), 0, self.err())
            self.nobody_is_left(were)

    def test_signal_while_it_waits(self):
        """In the pause before a restart: nobody is there to be stopped."""
        self.serve(supervise_backoff_ms=60000, supervise_backoff_max_ms=60000)
        were = self.all()
        os.kill(self.pid(), signal.SIGKILL)
        self.until(lambda: "was killed by signal 9" in self.err(), 20.0)
        begin = time.monotonic()
        self.service.signal(signal.SIGTERM)
        self.service.wait()
        self.between(time.monotonic() - begin, 0, 3, "the end")
        self.nobody_is_left(were)

    def zygotes(self):
        found = {}
        for pid in family(self.service.pid):
            try:
                with open("/proc/%d/comm" % pid) as f:
                    found.setdefault(f.read().strip(), []).append(pid)
            except OSError:
                pass
        return found

    def test_the_zygote_is_killed(self):
        """Its spare goes on: nobody is restarted, no later call fails."""
        self.serve()
        before = self.pid()
        for _ in range(3):
            self.all()
            self.until(lambda: "gate-spare" in self.zygotes(), 20.0)
            os.kill(self.zygotes()["gate-zygote"][0], signal.SIGKILL)
            self.until(lambda: self.call("pid_process").code == 0, 20.0)
            for _ in range(5):
                done = self.call("pid_process")
                self.assertEqual(done.code, 0, done.err)
        self.assertEqual(self.pid(), before)

    def test_no_worker_can_be_had(self):
        """The zygote and its spare are gone: the process leaves, and comes
        again with new ones."""
        self.serve()
        before, were = self.pid(), self.all()
        self.until(lambda: "gate-spare" in self.zygotes(), 20.0)
        found = self.zygotes()
        for name in ("gate-spare", "gate-zygote"):
            os.kill(found[name][0], signal.SIGKILL)
        self.ready()
        self.assertNotEqual(self.pid(), before)
        done = self.call("pid_process")
        self.assertEqual(done.code, 0, done.err)
        self.assertIn("leaving: the process pool", self.err())
        del were[self.service.pid]
        self.nobody_is_left(were)

    def test_the_supervisor_is_killed(self):
        self.serve()
        were = self.all()
        self.service.kill()
        self.nobody_is_left(were)


kit.main()
