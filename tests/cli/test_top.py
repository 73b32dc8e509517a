# SPDX-License-Identifier: BSD-3-Clause
"""gate top: its lines and objects equal what was called; on a terminal its frames
fit, its keys work, and it leaves the terminal as it was."""
import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import termios

from cli import CALM, Session, kit


class Terminal:
    """gate top in a pty of that size."""

    def __init__(self, rows, columns, *args):
        self.master, slave = kit.terminal()
        self.size(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.text = b""
        self.process = subprocess.Popen(
            [kit.GATE, "top", *args], stdin=slave, stdout=slave,
            stderr=subprocess.PIPE, preexec_fn=kit.die_with_the_test,
            env={**kit.environment(**CALM), "TERM": "xterm"})

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        if select.select([self.master], [], [], .05)[0]:
            try:
                self.text += os.read(self.master, 65536)
            except OSError:
                pass
        return self.text.decode(errors="replace")

    def press(self, keys):
        self.text = b""
        os.write(self.master, keys.encode())

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


class Top(Session):
    def top(self, *args):
        done = self.gate("top", *args)
        self.assertEqual((done.code, done.err), (0, ""), args)
        return done.out

    def object(self, view):
        return json.loads(self.top("--json", "--view", view))

    def test_what_workers_tell(self):
        self.call("Demo.upper", "x")
        self.raises("WorkerLostError", "Demo.crash")

        def pools():
            return {r["KIND"]: r for r in self.object("pools")["rows"]}
        self.until(lambda: "threads" in pools() and
                   pools()["processes"]["RESTARTS"], 20,
                   "a report since those calls")
        self.assertEqual(pools()["threads"]["SERVICE"], "Demo")
        self.until(lambda: any("crash" in r["TEXT"] or "killed" in r["TEXT"]
                               for r in self.object("log")["rows"]), 20,
                   "the line of the crash")

    def test_lines_and_objects_are_the_ledger(self):
        before = {r["METHOD"]: r["CALLS"]
                  for r in self.object("methods")["rows"]}.get("add", 0)
        for _ in range(6):
            self.call("Demo.add", "1", "2")
        for _ in range(2):
            self.raises("TypeError", "Demo.add", "1", "x")
        rows = {r["METHOD"]: r for r in self.object("methods")["rows"]}
        self.assertEqual((rows["add"]["CALLS"] - before,
                          rows["add"]["ERRORS"]), (8, 2))
        errors = self.object("errors")["rows"]
        self.assertEqual([(r["CLASS"], r["SERVICE"], r["TOTAL"])
                          for r in errors], [("TypeError", "Demo", 2)])
        services = self.object("services")
        self.assertEqual(services["rows"][0]["SERVICE"], "Demo")
        self.assertEqual(services["rows"][0]["WRK"], 1)
        for rate in (services["rows"][0]["CALL/S"], services["calls_per_s"],
                     services["errors_per_s"]):
            self.assertIsNone(rate, "one look, no rate")
        seen = json.loads(self.call("Gate.observe")[0])["services"][0]["total"]
        for key, share in (("p50_us", "P50"), ("p99_us", "P99")):
            self.assertAlmostEqual(services["rows"][0][share], seen[key],
                                   delta=2 + seen[key] / 100)
        self.assertEqual(self.object("clients")["rows"][0]["USER"], "")
        self.assertEqual(len(self.object("workers")["rows"]), 1)
        lines = self.top("--batch", "--view", "methods").splitlines()
        self.assertTrue(lines[0].startswith("SERVICE\tMETHOD\tCALL/S"))
        self.assertIn("Demo\tadd\t-", lines[1])
        self.assertEqual(self.top("--view", "methods", "--filter", "nosuch")
                         .splitlines(), lines[:1])
        two = self.top("--json", "--count", "2", "--interval", "1")
        self.assertEqual(len(two.splitlines()), 2)
        first, second = (json.loads(line) for line in two.splitlines())
        self.assertIsNone(first["calls_per_s"])
        self.assertEqual((second["rows"][0]["CALL/S"], second["calls_per_s"],
                          second["errors_per_s"]), (0, 0, 0))

    def test_what_is_wrong(self):
        for words, code in ((("--view", "x"), 2), (("--sort", "x"), 2),
                            (("--interval", "0"), 2), (("x",), 2)):
            self.assertEqual(self.gate("top", *words).code, code, words)
        self.assertEqual(kit.run("top", "--broker", kit.free_tcp()).code, 3)

    def test_a_stdout_that_takes_nothing(self):
        for words in (["--once"], ["--json"], ["--batch", "--count", "2"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [kit.GATE, "top", "--broker", self.broker.front, *words],
                    env=kit.environment(), stdout=full, stderr=subprocess.PIPE,
                    text=True, timeout=60 * kit.SLOW)
            self.assertEqual((done.returncode, done.stderr),
                             (1, "gate: stdout: No space left on device\n"))

    def see(self, terminal, *words):
        self.until(lambda: all(w in terminal.read() for w in words), 20,
                   "%s on the screen" % (words,))

    def test_a_terminal(self):
        self.call("Demo.add", "1", "2")
        t = Terminal(24, 80, "--broker", self.broker.front)
        self.addCleanup(t.stop)
        self.see(t, "gate top", "SERVICE", "Demo", "[1 services]", "q quit")
        t.press("2")
        self.see(t, "[2 methods]", "METHOD", "add")
        t.press("/nosuch")
        self.see(t, "/nosuch_")
        t.press("\x1b")
        self.see(t, "q quit", "add")
        t.press("h")
        self.see(t, "leave", "pause")
        t.press("h")
        self.see(t, "[2 methods]", "add")
        t.press(" ")
        self.see(t, "PAUSED")
        t.size(7, 39)
        t.process.send_signal(signal.SIGWINCH)
        self.see(t, "/s err 0.00%")
        t.size(50, 200)
        t.press(" ")
        self.see(t, "every 2.0 s")
        t.press("q")
        self.until(lambda: t.process.poll() is not None, 20)
        self.assertEqual(t.process.returncode, 0)
        self.assertIn("\x1b[?1049l", t.read())
        self.assertEqual(termios.tcgetattr(t.slave), t.before)

    def test_frames_fit_the_screen(self):
        t = Terminal(24, 80, "--broker", self.broker.front)
        self.addCleanup(t.stop)
        self.see(t, "q quit")
        for line in t.read().split("\x1b[")[1:]:
            if ";1H" in line[:6]:
                continue
            text = line.split("m", 1)[-1] if "m" in line[:4] else ""
            self.assertLessEqual(len(text), 80, text)
            self.assertNotIn("\n", text)
        t.process.send_signal(signal.SIGTERM)
        self.until(lambda: t.process.poll() is not None, 20)
        self.assertEqual(termios.tcgetattr(t.slave), t.before)


kit.main()
