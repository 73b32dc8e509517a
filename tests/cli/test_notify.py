# SPDX-License-Identifier: BSD-3-Clause
"""What a service manager is told over NOTIFY_SOCKET, by a path and an abstract
name: ready with the ready line, alive, reading anew, stopping, who is the main
process after a hand-over."""
import os
import signal
import socket
import subprocess
import unittest.mock

from cli import CALM, kit


class Notify(kit.Case):
    def setUp(self):
        super().setUp()
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)

    def listen(self, abstract=False, **more):
        if abstract:
            self.manager.bind(b"\0gate-test-%d" % os.getpid())
            name = "@gate-test-%d" % os.getpid()
        else:
            name = os.path.join(self.dir, "notify")
            self.manager.bind(name)
        self.manager.settimeout(20 * kit.SLOW)
        changed = unittest.mock.patch.dict(
            os.environ, {"NOTIFY_SOCKET": name, **more})
        changed.start()
        self.addCleanup(changed.stop)

    def told(self):
        return self.manager.recv(4096).decode().split("\n")

    def silent(self):
        self.manager.setblocking(False)
        self.assertRaises(BlockingIOError, self.manager.recv, 4096)
        self.manager.settimeout(20 * kit.SLOW)

    def test_the_life_of_a_broker(self):
        self.listen()
        broker = self.keep(kit.OurBroker(**CALM))
        self.assertEqual(self.told(), ["READY=1"])
        broker.signal(signal.SIGHUP)
        reloading = self.told()
        self.assertEqual(reloading[0], "RELOADING=1")
        self.assertRegex(reloading[1], r"^MONOTONIC_USEC=[1-9][0-9]*$")
        self.assertEqual(self.told(), ["READY=1"])
        self.silent()  # no watchdog was asked for
        self.assertEqual(broker.end(), 0)
        stopping = self.told()
        self.assertEqual(stopping[0], "STOPPING=1")
        self.assertRegex(stopping[1], r"^EXTEND_TIMEOUT_USEC=[1-9][0-9]*$")

    def test_a_service_is_ready_when_it_is_registered(self):
        self.listen(abstract=True)
        serve = self.keep(kit.OurService(self.ipc("b"), ready=False, **CALM))
        zap = self.keep(kit.Command("zap", "--bind", self.ipc("z"), **CALM))
        zap.line()
        self.assertEqual(self.told(), ["READY=1"])  # the ZAP service's
        self.silent()
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        self.assertEqual(self.told(), ["READY=1"])  # the broker's
        serve.ready()
        self.assertEqual(self.told(), ["READY=1"])
        self.assertEqual((serve.end(), broker.end(), zap.end()), (0, 0, 0))

    def test_the_journal_has_the_time_itself(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        stat = os.fstat(write)
        for number, pattern in ((stat.st_ino, r"<6>runtime: draining\n"),
                                (stat.st_ino + 1, r"\d{4}-.* INFO +runtime: draining\n")):
            broker = subprocess.Popen(
                [kit.GATE, "broker", "--frontend", self.ipc("f"), "--backend",
                 self.ipc("b")], stdout=subprocess.PIPE, stderr=write, text=True,
                env=dict(kit.environment(**CALM),
                         JOURNAL_STREAM="%d:%d" % (stat.st_dev, number)))
            self.assertIn("ready", broker.stdout.readline())
            broker.terminate()
            self.assertEqual(broker.wait(60 * kit.SLOW), 0)
            broker.stdout.close()
            self.assertRegex(os.read(read, 4096).decode(), pattern)
        os.close(write)

    def remove(self, folder):
        try:
            os.rmdir(folder)
        except OSError:
            pass  # another test plays journald now

    def journald(self):
        """Where no journald runs, the test takes its place."""
        path = "/run/systemd/journal/socket"
        made = [x for x in ("/run/systemd", "/run/systemd/journal")
                if not os.path.isdir(x)]
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        try:
            for folder in made:
                os.mkdir(folder)
                self.addCleanup(self.remove, folder)
            sock.bind(path)
        except OSError as e:
            self.skipTest("a journald runs here, or none can be played: %s" % e)
        self.addCleanup(os.unlink, path)
        sock.settimeout(60 * kit.SLOW)
        return sock

    def test_the_journal_gets_fields(self):
        journal = self.journald()
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        stat = os.fstat(write)
        serve = subprocess.Popen(
            [kit.GATE, "serve", "--demo", "--backend", broker.back],
            stdout=subprocess.PIPE, stderr=write, text=True,
            env=dict(kit.environment(**CALM), JOURNAL_STREAM="%d:%d" % (
                stat.st_dev, stat.st_ino)))
        os.close(write)
        self.assertIn("ready", serve.stdout.readline())
        serve.terminate()
        self.assertEqual(serve.wait(60 * kit.SLOW), 0)
        serve.stdout.close()
        self.assertEqual(os.read(read, 4096), b"")  # once, and not by stderr, too
        lines = []
        while not any("draining" in x["MESSAGE"] for x in lines):
            text = journal.recv(4096).decode()
            lines.append(dict(x.split("=", 1) for x in text.splitlines()))
        one = [x for x in lines if "registered at" in x["MESSAGE"]]
        self.assertEqual(len(one), 1, lines)
        self.assertEqual({k: v for k, v in one[0].items() if k != "TID"}, {
            "MESSAGE": "service.Demo: registered at " + broker.back, "PRIORITY": "6",
            "SYSLOG_IDENTIFIER": "gate", "GATE_PART": "service.Demo",
            "GATE_SERVICE": "Demo"})

    def test_levels_of_one_service(self):
        broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"), **CALM))
        for rules, told in (("service.Demo=error", False), ("service=error", False),
                            ("service.Other=error", True),
                            ("service=error,service.Demo=info", True)):
            serve = self.keep(kit.OurService(broker.back, log_levels=rules, **CALM))
            self.assertEqual(serve.end(), 0)
            self.assertEqual("registered at" in "".join(serve.err), told, rules)

    def test_the_watchdog_hears_of_the_living(self):
        self.listen(WATCHDOG_USEC="300000")
        broker = self.keep(kit.OurBroker(**CALM))
        self.assertEqual(self.told(), ["READY=1"])
        for _ in range(3):
            self.assertEqual(self.told(), ["WATCHDOG=1"])
        broker.end()

    def test_another_process_watchdog_is_left_alone(self):
        self.listen(WATCHDOG_USEC="1000", WATCHDOG_PID="1")
        broker = self.keep(kit.OurBroker(**CALM))
        self.assertEqual(self.told(), ["READY=1"])
        broker.signal(signal.SIGHUP)
        self.assertEqual(self.told()[0], "RELOADING=1")
        broker.end()

    def test_the_main_process_after_a_hand_over(self):
        self.listen()
        path = os.path.join(self.dir, "move")
        old = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                      ["--hand-over", path], **CALM))
        self.assertEqual(self.told(), ["READY=1"])
        new = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                      ["--hand-over", path], **CALM))
        told = [self.told()[0] for _ in range(3)]
        self.assertIn("MAINPID=%d" % new.pid, told)
        self.assertIn("READY=1", told)
        self.assertEqual(old.wait(), 0)
        self.assertEqual(new.end(), 0)

    def test_nobody_who_listens_costs_nothing(self):
        with unittest.mock.patch.dict(os.environ,
                                      {"NOTIFY_SOCKET": "/nowhere/at/all"}):
            broker = self.keep(kit.OurBroker(**CALM))
            self.assertEqual(broker.end(), 0)
            self.assertEqual([x for x in broker.err if " INFO " not in x], [])


if __name__ == "__main__":
    kit.main()
