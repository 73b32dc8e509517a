# SPDX-License-Identifier: BSD-3-Clause
"""Usage, exit codes, what goes where; broker and serve as programs."""
import json
import os
import signal
import subprocess
import time

from cli import CALM, Session, kit

VERBS = ("broker", "serve", "call", "services", "inspect", "settings")


class Usage(kit.Case):
    def test_help_and_version(self):
        done = kit.run("--version")
        self.assertEqual((done.code, done.err), (0, ""))
        self.assertRegex(done.out, r"^gate \d+\.\d+\.\d+\n$")
        done = kit.run("--help")
        self.assertEqual((done.code, done.err), (0, ""))
        for verb in VERBS:
            self.assertIn("\n  %s " % verb, done.out)
            one = kit.run(verb, "--help")
            self.assertEqual((one.code, one.err), (0, ""))
            self.assertTrue(one.out.startswith("usage: gate " + verb))

    def test_help_in_other_words(self):
        for words in (["-h"], ["help"]):
            self.assertEqual(kit.run(*words).out, kit.run("--help").out)
        self.assertEqual(kit.run("-V").out, kit.run("--version").out)
        for verb in VERBS:
            whole = kit.run(verb, "--help").out
            self.assertEqual(kit.run("help", verb).out, whole)
            self.assertEqual(kit.run(verb, "-h").out, whole)

    def test_slips_are_named(self):
        for words, meant in ((["calll", "A.b"], "is call meant?"),
                             (["help", "servce"], "is serve meant?"),
                             (["call", "--brokr", "x", "A.b"],
                              "is --broker meant?"),
                             (["call", "--timeot=5", "A.b"],
                              "is --timeout meant?"),
                             (["call", "-b", "A.b"],
                              "options have two dashes")):
            done = kit.run(*words)
            self.assertEqual((done.code, done.out), (2, ""), words)
            self.assertIn(meant, done.err)

    def test_settings(self):
        name = os.path.join(self.dir, "gate.cfg")
        with open(name, "w") as f:
            f.write("timeout = 7\nplain_user = a\nplain_password = secret\n")
        done = kit.run("settings", "--config", name, "--changed",
                       queue_max=5)
        rows = {x.split("\t")[0]: x.split("\t")[1:4]
                for x in done.out.splitlines()}
        self.assertEqual((done.code, done.err), (0, ""))
        self.assertEqual(rows["timeout"], ["7", "30", "file"])
        self.assertEqual(rows["queue_max"], ["5", "100000", "environment"])
        self.assertEqual(rows["plain_password"], ["***", "", "file"])
        self.assertNotIn("secret", done.out)
        whole = json.loads(kit.run("settings", "--json").out)
        self.assertEqual(whole["timeout"]["default"], "30")
        with open(name, "a") as f:
            f.write("supervise_backoff_ms = 9000\n")
        done = kit.run("settings", "--config", name)
        self.assertEqual((done.code, done.out), (2, ""))
        self.assertIn("supervise_backoff_ms = 9000 is above", done.err)

    def test_wrong(self):
        for words in ([], ["nosuch"], ["call"], ["call", "--nosuch", "A.b"],
                      ["call", "A.b", "--broker"], ["inspect"],
                      ["inspect", "A", "B"], ["services", "A"], ["serve"],
                      ["serve", "--threads", "x", "--demo"], ["broker", "x"],
                      ["call", "--user", "u", "A.b"],
                      ["services", "--stats=1"],
                      ["call", "--curve-cert", "x", "A.b"]):
            done = kit.run(*words)
            self.assertEqual((done.code, done.out), (2, ""), words)
            self.assertIn("usage: gate", done.err)
        done = kit.run("bench", "echo", "--rounds", "0")
        self.assertEqual((done.code, done.out), (2, ""))
        self.assertIn("--rounds (1..99)", done.err)

    def test_no_broker(self):
        for words in (["call", "Demo.add", "1", "2"], ["services"],
                      ["inspect", "Demo"]):
            done = kit.run(words[0], "--broker", kit.free_tcp(), *words[1:])
            self.assertEqual((done.code, done.out), (3, ""), done.err)
            self.assertRegex(done.err, r"no broker at tcp://\S+: Connection "
                                       r"refused$")
            done = kit.run(words[0], "--wait", "300", "--broker",
                           kit.free_tcp(), *words[1:])
            self.assertEqual((done.code, done.out), (3, ""), done.err)
            self.assertIn("refused (waited 300 ms)", done.err)

    def test_a_broker_that_comes_later(self):
        with subprocess.Popen([kit.GATE, "services", "--wait", "60000",
                               "--broker", self.ipc("f")], text=True,
                              env=kit.environment(),
                              stdout=subprocess.PIPE) as early:
            self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b")))
            self.assertEqual(early.communicate(timeout=60)[0], "Gate\n")
            self.assertEqual(early.returncode, 0)

    def test_bad_settings(self):
        name = os.path.join(self.dir, "gate.cfg")
        with open(name, "w") as f:
            f.write("no_such_setting = 1\n")
        for words in (["broker", "--config", name],
                      ["call", "--config", name, "A.b"],
                      ["broker", "--config", name + ".no"]):
            done = kit.run(*words)
            self.assertNotEqual(done.code, 0)
            self.assertIn(name, done.err)

    def test_bad_endpoint(self):
        done = kit.run("broker", "--frontend", "nonsense")
        self.assertNotEqual(done.code, 0)
        self.assertIn("nonsense", done.err)
        self.assertEqual(done.out, "")


class Serve(kit.Case):
    def test_no_module(self):
        for word in ("/nonexistent.so", os.path.abspath(__file__)):
            done = kit.run("serve", word, "--backend", self.ipc("b"))
            self.assertEqual((done.code, done.out), (2, ""))
            self.assertIn(word, done.err)

    def test_library_that_is_no_module(self):
        done = kit.run("serve", "libm.so.6", "--backend", self.ipc("b"))
        self.assertEqual((done.code, done.out), (2, ""))
        self.assertIn("gate_module", done.err)

    def test_waits_for_the_broker(self):
        service = self.keep(kit.OurService(self.ipc("b"), ready=False))
        self.until(lambda: any("waiting for a broker at" in x
                               for x in service.err), 10, "the word")
        self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        service.ready()

    def test_ends_while_waiting(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            service = self.keep(kit.OurService(self.ipc("b"), ready=False))
            self.until(lambda: service.err, 10, "the word")
            service.signal(number)
            self.assertEqual(service.wait(), 0)

    def test_threads_option(self):
        """With one thread, two sleeps take twice as long."""
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        self.keep(kit.OurService(broker.back, "--threads", "1", **CALM))
        calls = [self.keep(kit.Command("call", "--broker", broker.front,
                                       "Demo.sleep", "600"))
                 for _ in range(2)]
        begin = time.monotonic()
        for call in calls:
            self.assertEqual(call.wait(), 0)
        self.between(time.monotonic() - begin, 0.9, 5)

    def test_drains(self):
        """SIGTERM: the call under way is answered first, then exit 0."""
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        service = self.keep(kit.OurService(broker.back, **CALM))
        call = self.keep(kit.Command("call", "--broker", broker.front,
                                     "Demo.slow_gen", "8", "200"))
        self.assertEqual(call.line(), "0")
        service.signal(signal.SIGTERM)
        self.assertEqual(call.wait(), 0, call.err)
        self.assertEqual(len(call.out), 8)
        self.assertEqual(service.wait(), 0)


    def test_drain_verb(self):
        """gate drain: the same without a signal; exit 0 by itself."""
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        service = self.keep(kit.OurService(broker.back, **CALM))
        call = self.keep(kit.Command("call", "--broker", broker.front,
                                     "Demo.slow_gen", "8", "200"))
        self.assertEqual(call.line(), "0")
        done = kit.run("drain", "--broker", broker.front, "Demo")
        self.assertEqual((done.code, done.out, done.err), (0, "1\n", ""))
        self.assertEqual(call.wait(), 0, call.err)
        self.assertEqual(len(call.out), 8)
        self.assertEqual(service.wait(), 0)
        done = kit.run("drain", "--broker", broker.front, "Demo")
        self.assertEqual((done.code, done.out), (3, ""))
        self.assertTrue(done.err.startswith("ServiceUnAvailableError"))
        self.assertEqual(kit.run("drain").code, 2)


class Ask(Session):
    def test_services(self):
        done = self.gate("services")
        self.assertEqual((done.code, done.out, done.err),
                         (0, "Demo\nGate\n", ""))

    def demo_stats(self):
        done = self.gate("services", "--stats")
        self.assertEqual((done.code, done.err), (0, ""))
        rows = {x.split("\t")[0]: x.split("\t")[1:]
                for x in done.out.splitlines()}
        return list(map(int, rows["Demo"]))

    def test_stats(self):
        before = self.demo_stats()[5]
        for _ in range(4):
            self.call("Demo.add", "1", "2")
        self.raises("ValueError", "Demo.boom")
        self.raises("AttributeError", "Demo.nosuch")
        self.raises("RuntimeError", "Demo.gen_boom", "1")
        (workers, credit, queued, oldest, calls, errors, local,
         far) = self.demo_stats()
        self.assertEqual((local, far), (workers, 0))
        self.assertEqual((workers, queued, oldest), (1, 0, 0))
        self.assertGreater(credit, 0)
        self.assertGreaterEqual(calls, 7)
        self.assertEqual(errors - before, 3, "each that failed, by whom ever")

    def test_inspect(self):
        done = self.gate("inspect", "Demo")
        self.assertEqual((done.code, done.err), (0, ""))
        rows = {x.split("\t")[0]: x.split("\t")[1:]
                for x in done.out.splitlines()}
        self.assertEqual(rows["add"],
                         ["(a, b)", "inline", "a + b, integers or floats"])
        self.assertEqual(rows["upper"][1], "thread")
        self.assertEqual(rows["fib"][1], "process")
        done = self.gate("inspect", "--json", "Demo")
        table = json.loads(done.out)
        self.assertEqual(done.out.count("\n"), 1)
        self.assertEqual(table["add"]["signature"], "(a, b)")
        self.assertEqual(set(rows), set(table))
        done = self.gate("inspect", "Gate")
        self.assertEqual((done.code, done.err), (0, ""))
        self.assertIn("get_interfaces\t()\tbroker\t", done.out)
        there = json.loads(self.gate("settings", "--json").out)
        self.assertEqual(there["service_default_name"]["value"], "GateRPC")
        done = self.gate("inspect", "Nosuch")
        self.assertEqual((done.code, done.out), (3, ""))

    def test_results_alone_on_stdout(self):
        done = self.gate("call", "Demo.boom")
        self.assertEqual(done.out, "")
        self.assertNotIn("\033", done.err)

    def test_full_stdout(self):
        with open("/dev/full", "w") as full:
            code = kit.subprocess.run(
                [kit.GATE, "call", "--broker", self.broker.front,
                 "Demo.none"], stdout=full, stderr=kit.subprocess.PIPE,
                env=kit.environment()).returncode
        self.assertEqual(code, 1)


kit.main()
