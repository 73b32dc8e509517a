# SPDX-License-Identifier: BSD-3-Clause
"""A call that nobody waits for any more stops running: its deadline passed, or
its client was killed. With one thread and one worker process the next call
shows it: it would have to wait for a minute."""
import json
import signal
import subprocess
import time

from cli import CALM, kit

LONG_MS = "60000"


class Cancelled(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(**CALM))
        cls.service = cls.share(kit.OurService(
            cls.broker.back, "--threads", "1", "--processes", "1", **CALM))

    def gate(self, *args):
        return kit.run("call", "--broker", self.broker.front, *args, **CALM)

    def soon(self, *args):
        """Its result, long before the other one would have ended."""
        begin = time.monotonic()
        done = self.gate("--timeout", LONG_MS, *args)
        self.assertEqual(done.code, 0, done.err)
        self.between(time.monotonic() - begin, 0, 3, args)
        return done.out

    def times_out(self, method):
        done = self.gate("--timeout", "300", method, LONG_MS)
        self.assertEqual((done.code, done.err.split(":")[0]),
                         (3, "TimeoutError"), done.err)

    def test_on_a_thread(self):
        self.times_out("Demo.sleep")
        self.assertEqual(self.soon("Demo.upper", "a"), '"A"\n')

    def test_in_a_process(self):
        pid = self.soon("Demo.pid")
        self.times_out("Demo.spin")
        self.assertEqual(self.soon("Demo.pid"), pid, "it was told, not killed")

    def test_its_client_dies(self):
        call = kit.Command("call", "--broker", self.broker.front,
                           "Demo.slow_gen", "1000", "200", **CALM)
        self.assertEqual(call.line(), "0")
        call.kill()
        self.assertEqual(self.soon("Demo.upper", "a"), '"A"\n')

    def in_flight(self):
        return json.loads(self.gate("Gate.stats").out)["in_flight"]

    def test_it_is_interrupted(self):
        """Ctrl-C, with a stdout that is read, or that nobody reads: the call is
        cancelled before the command ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            for words in (["Demo.gen", "1000000"], ["Demo.sleep", LONG_MS],
                          ["--raw", "Demo.huge", "50000000", "random"]):
                call = subprocess.Popen(
                    [kit.GATE, "call", "--timeout", LONG_MS, "--broker",
                     self.broker.front, *words],
                    env=kit.environment(**CALM), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                try:
                    self.until(lambda: self.in_flight() == 1, 20, "it runs")
                    time.sleep(0.2)  # its pipe is full, where it writes much
                    call.send_signal(number)
                    self.assertEqual(call.wait(10 * kit.SLOW), 128 + number)
                finally:
                    call.kill()
                    err = call.stderr.read()
                    call.stdout.close()
                    call.stderr.close()
                    call.wait()
                self.assertEqual(err, b"", words)
                self.until(lambda: self.in_flight() == 0, 10, "it is cancelled")


kit.main()
