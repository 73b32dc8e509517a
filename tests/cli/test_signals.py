# SPDX-License-Identifier: BSD-3-Clause
"""SIGHUP, SIGUSR1, SIGUSR2: broker, serve, zap go on, with new rules, levels and
log file. SIGTERM twice is an end with 0."""
import json
import os
import resource
import signal
import subprocess
import time

from cli import CALM, kit

RELOADS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
SAID = "are read anew"


class Reload(kit.Case):
    def config(self, *lines, name="cfg"):
        path = os.path.join(self.dir, name)
        with open(path + ".new", "w") as f:
            f.write("".join(line + "\n" for line in lines))
        os.rename(path + ".new", path)
        return path

    def broker(self, *lines):
        return self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"), ["--config", self.config(*lines)],
            **CALM))

    def add(self, timeout=0):
        return kit.run("call", "--broker", self.ipc("f"), "Demo.add", "1", "2",
                       **CALM)

    def said(self, process, n=1, word=SAID):
        self.until(lambda: sum(word in x for x in process.err) >= n, 20, word)

    def test_nobody_ends(self):
        broker = self.broker()
        serve = self.keep(kit.OurService(broker.back, **CALM))
        zap = self.keep(kit.Command("zap", "--bind", self.ipc("z"), **CALM))
        zap.line()
        call = self.keep(kit.Command("call", "--broker", broker.front,
                                     "Demo.slow_gen", "20", "50", **CALM))
        call.line()
        for n, number in enumerate(RELOADS):
            for process in (broker, serve, zap):
                process.signal(number)
                self.said(process, n + 1)
        self.assertEqual(call.wait(), 0)
        self.assertEqual(len(call.out), 20)
        self.assertEqual(self.add().code, 0)
        for process in (serve, broker, zap):
            self.assertEqual(process.end(), 0)

    def test_a_file_that_may_not_grow(self):
        """SIGXFSZ, of a log that has reached `ulimit -f`, ends nobody."""
        log = os.path.join(self.dir, "log")
        broker = self.keep(kit.Command(
            "broker", "--frontend", self.ipc("f"), "--backend", self.ipc("b"),
            limits=((resource.RLIMIT_FSIZE, 1024),), log_file=log, **CALM))
        broker.line()

        def full():
            broker.signal(signal.SIGHUP)
            return any("lines are lost" in x for x in broker.err)
        self.until(full, 20, "a full log")
        self.assertEqual(os.path.getsize(log), 1024)
        self.assertEqual(broker.end(), 0)

    def test_supervised(self):
        broker = self.broker()
        serve = self.keep(kit.OurService(broker.back, "--supervise", **CALM))
        for n, number in enumerate(RELOADS):
            serve.signal(number)
            self.said(serve, 2 * n + 2)  # it and its child
        self.assertEqual(self.add().code, 0)
        self.assertEqual(serve.end(), 0)
        self.assertEqual(serve.out, ["ready service=Demo\n"])

    def test_rules_and_levels(self):
        broker = self.broker("access = \"deny * Demo.add\"",
                             "log_level = info")
        self.keep(kit.OurService(broker.back, **CALM))
        self.assertEqual(self.add().code, 4)
        self.config("access = \"deny * Demo.sub\"", "log_level = debug",
                    "queue_max = 77", "timeout = 9")
        self.assertEqual(self.add().code, 4)
        broker.signal(signal.SIGHUP)
        self.said(broker)
        self.said(broker, 1, "only taken by a restart: timeout, queue_max")
        self.assertEqual(self.add().code, 0)
        self.config("log_level = info")  # no rules at all
        broker.signal(signal.SIGHUP)
        self.said(broker, 2)
        self.assertEqual(self.add().code, 0)
        self.config("access = \"deny * *\"")
        broker.signal(signal.SIGHUP)
        self.said(broker, 3)
        self.assertEqual(self.add().code, 4)

    def test_what_was_read_before_holds(self):
        broker = self.broker("access = \"deny * Demo.add\"")
        self.keep(kit.OurService(broker.back, **CALM))
        path = os.path.join(self.dir, "cfg")
        for n, text in enumerate((["access = \"permit * *\""],
                                  ["acces = \"allow * *\""],
                                  ["access ="], None)):
            if text is None:
                os.unlink(path)
            else:
                self.config(*text)
            broker.signal(signal.SIGHUP)
            self.said(broker, n + 1, "what was read before holds")
            self.assertEqual(self.add().code, 4)

    def test_log_file(self):
        log = os.path.join(self.dir, "log", "gate.log")
        broker = self.broker("log_file = " + log)
        os.rename(log, log + ".1")
        broker.signal(signal.SIGHUP)
        self.until(lambda: os.path.exists(log), 20, "a new log file")
        self.said(broker)
        with open(log) as f:
            self.assertIn(SAID, f.read())

    def test_nohup(self):
        hup = subprocess.Popen(
            [kit.GATE, "broker", "--frontend", self.ipc("f"), "--backend",
             self.ipc("b")], env=kit.environment(**CALM), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.addCleanup(hup.kill)
        hup.stdout.readline()
        hup.send_signal(signal.SIGHUP)
        hup.send_signal(signal.SIGTERM)
        out, err = hup.communicate(timeout=60)
        self.assertEqual(hup.returncode, 0)
        self.assertNotIn(SAID, err)

    def holds(self, command):
        """SIGTERM waits there by now, or is taken, or it has ended."""
        try:
            with open("/proc/%d/status" % command.pid) as f:
                masks = [int(x.split()[1], 16) for x in f
                         if x.startswith(("SigBlk", "SigCgt"))]
        except OSError:
            return True
        return not masks or any(x & 1 << (signal.SIGTERM - 1) for x in masks)

    def test_told_while_it_starts(self):
        """From the moment that SIGTERM is held on: the end is one with 0."""
        broker = self.broker()
        verbs = (("broker", "--frontend", self.ipc("1"), "--backend",
                  self.ipc("2")),
                 ("serve", "--demo", "--backend", broker.back),
                 ("serve", "--demo", "--backend", self.ipc("nobody")),
                 ("serve", "--supervise", "--demo", "--backend", broker.back),
                 ("zap", "--bind", self.ipc("3")),
                 ("dev", "--frontend", self.ipc("4"), "--backend",
                  self.ipc("5"), "--no-monitor"))
        for verb in verbs:
            for wait_ms in (0, 30):
                one = kit.Command(*verb, **CALM)
                self.addCleanup(one.end)
                self.until(lambda: self.holds(one), 20, "its start")
                time.sleep(wait_ms / 1000)
                self.assertEqual(one.end(), 0, (verb, wait_ms, one.err))

    def last_words(self):
        """What callers hear when a broker is told twice with calls under way."""
        broker = kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM)
        serve = kit.OurService(broker.back, "--threads", "8", **CALM)
        calls = [kit.Command("call", "--broker", broker.front, "--timeout",
                             "60000", "Demo.sleep", "60000", **CALM)
                 for _ in range(8)]

        def under_way():
            out = kit.run("call", "--broker", broker.front, "Gate.stats",
                          **CALM).out
            return json.loads(out)["in_flight"] >= len(calls)
        self.until(under_way, 60, "its calls")
        broker.signal(signal.SIGTERM)
        self.said(broker, 1, "draining")
        broker.signal(signal.SIGTERM)
        self.assertEqual(broker.end(), 0)
        told = 0
        for call in calls:
            self.until(lambda: call.err and (not call.running() or any(
                "closed" in x for x in call.err)), 60, "its end")
            time.sleep(0.05)
            told += any("the broker stopped" in x for x in call.err)
            call.kill()
            call.end()
        serve.end()
        return told == len(calls)

    def test_its_last_words_are_heard(self):
        """A machine that stands still for 250 ms may lose one: once more."""
        self.assertTrue(self.last_words() or self.last_words())

    def test_two_terms(self):
        for verb in ("broker", "zap", "serve"):
            for _ in range(5):
                if verb == "broker":
                    one = kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM)
                elif verb == "zap":
                    one = kit.Command("zap", "--bind", self.ipc("z"), **CALM)
                    one.line()
                else:
                    broker = kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM)
                    one = kit.OurService(broker.back, **CALM)
                one.signal(signal.SIGTERM)
                one.signal(signal.SIGTERM)
                self.assertEqual(one.end(), 0, verb)
                if verb == "serve":
                    broker.end()
        self.assertEqual(os.listdir(self.dir), [])


if __name__ == "__main__":
    kit.main()
