# SPDX-License-Identifier: BSD-3-Clause
"""gate dev: broker, demo service and page in one process, which ^C ends."""
import json
import re
import signal
import subprocess
import urllib.request

from cli import CALM, kit


class Wait(kit.Case):
    def test_a_call_waits_for_the_service_too(self):
        """As behind gate dev &: the broker is up a moment before its service is."""
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        call = subprocess.Popen(
            [kit.GATE, "call", "--broker", broker.front, "--wait", "60000",
             "Demo.add", "2", "3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=kit.environment(**CALM))
        self.until(lambda: json.loads(kit.run(
            "call", "--broker", broker.front, "Gate.stats").out)["peers"] >= 2, 60,
            "the call's connection")
        self.keep(kit.OurService(broker.back, **CALM))
        out, err = call.communicate(timeout=90 * kit.SLOW)
        self.assertEqual((call.returncode, out, err), (0, "5\n", ""))


class Dev(kit.Case):
    def dev(self, *options):
        dev = self.keep(kit.Command("dev", "--frontend", self.ipc("f"),
                                    "--backend", self.ipc("b"), *options, **CALM))
        found = re.fullmatch(
            r"ready frontend=(\S+) backend=(\S+) service=Demo(?: monitor=(\S+))?",
            dev.line())
        self.assertTrue(found)
        self.assertEqual(found.groups()[:2], (self.ipc("f"), self.ipc("b")))
        return dev, found.group(3)

    def called(self, *words):
        done = kit.run("call", "--broker", self.ipc("f"), *words, **CALM)
        self.assertEqual((done.code, done.err), (0, ""))
        return done.out.split()

    def test_a_first_look(self):
        dev, url = self.dev("--no-monitor")
        self.assertIsNone(url)
        self.assertEqual(self.called("Demo.add", "2", "3"), ["5"])
        self.assertEqual(self.called("Demo.gen", "3"), ["0", "1", "2"])
        self.assertEqual(self.called("Demo.fib", "10"), ["55"])  # a process
        # a service of one's own joins, and leaves it running
        other = kit.Command("serve", "--demo", "--backend", self.ipc("b"), **CALM)
        other.line()
        self.assertEqual(other.end(), 0)
        self.assertEqual(self.called("Demo.add", "2", "3"), ["5"])
        dev.signal(signal.SIGINT)
        self.assertEqual(dev.wait(), 0)
        hint = "".join(dev.err)
        for word in ("gate call --broker %s Demo.add 2 3" % self.ipc("f"),
                     "Services of your own join at %s" % self.ipc("b")):
            self.assertIn(word, hint)

    def test_with_the_page(self):
        if "--listen" not in kit.run("help", "monitor").out:
            self.skipTest("built without libmicrohttpd")
        dev, url = self.dev("--monitor", "0")
        with urllib.request.urlopen(url + "healthz" if url.endswith("/")
                                    else url + "/healthz", timeout=60) as answer:
            self.assertEqual(answer.status, 200)
        self.assertEqual(dev.end(), 0)
        self.assertIn("In a browser: " + url, "".join(dev.err))

    def test_a_place_that_is_taken(self):
        self.dev("--no-monitor")
        done = kit.run("dev", "--no-monitor", "--frontend", self.ipc("f"), "--backend",
                       self.ipc("c"), **CALM)
        self.assertEqual((done.code, done.out), (1, ""))
        self.assertIn(self.ipc("f"), done.err)


if __name__ == "__main__":
    kit.main()
