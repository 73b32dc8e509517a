# SPDX-License-Identifier: BSD-3-Clause
"""Where a broker listens is where its clients look: names with addresses of both
families, literal IPv6, interfaces, everything."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import unittest

from cli import CALM, kit


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
        return True
    except OSError:
        return False


class Addresses(kit.Case):
    def broker(self, front, **settings):
        return self.keep(kit.OurBroker(front, self.ipc("b"),
                                       **{**CALM, **settings}))

    def info(self, front, **settings):
        done = kit.run("call", "--broker", front, "Gate.get_services",
                       **{**CALM, **settings})
        self.assertEqual((done.code, done.out), (0, "[\"Gate\"]\n"), done.err)

    @staticmethod
    def port(broker):
        return broker.front.rsplit(":", 1)[1]

    def test_interface(self):
        broker = self.broker("tcp://lo:*")
        self.assertRegex(broker.front, r"^tcp://127\.0\.0\.1:\d+$")
        self.info(broker.front)

    @unittest.skipUnless(has_ipv6(), "there is no IPv6")
    def test_literal(self):
        """The endpoint that is printed can be used as it is."""
        broker = self.broker("tcp://[::1]:*")
        self.assertRegex(broker.front, r"^tcp://\[::1\]:\d+$")
        self.info(broker.front)

    @unittest.skipUnless(has_ipv6(), "there is no IPv6")
    def test_everything(self):
        broker = self.broker("tcp://*:*", zmq_sock="ipv6=1")
        for host in ("127.0.0.1", "[::1]"):
            self.info("tcp://%s:%s" % (host, self.port(broker)))
        other = self.keep(kit.OurBroker("tcp://*:*", self.ipc("b2"), **CALM))
        self.assertRegex(other.front, r"^tcp://0\.0\.0\.0:\d+$")

    @unittest.skipUnless(has_ipv6(), "there is no IPv6")
    def test_localhost(self):
        """Debian's stock hosts file has ::1 for localhost as well."""
        if os.geteuid() != 0 or not shutil.which("unshare"):
            self.skipTest("a hosts file of one's own takes root and unshare")
        hosts = os.path.join(self.dir, "hosts")
        with open(hosts, "w") as f:
            f.write("127.0.0.1 localhost\n"
                    "::1 localhost ip6-localhost ip6-loopback\n::1 only-six\n")
        words = ["unshare", "-m", "sh", "-c",
                 "mount --bind %s /etc/hosts && exec \"$0\" \"$@\"" % hosts]
        if subprocess.run([*words, "true"], capture_output=True).returncode:
            self.skipTest("nothing can be mounted here")
        for name, want, settings in (
                ("localhost", "127.0.0.1", {}),
                ("localhost", "[::1]", {"zmq_sock": "ipv6=1"}),
                ("only-six", "127.0.0.1", {})):  # as the C library has it
            broker = subprocess.Popen(
                [*words, kit.GATE, "broker", "--frontend",
                 "tcp://%s:*" % name, "--backend", self.ipc("b")],
                env=kit.environment(**{**CALM, **settings}), text=True,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                preexec_fn=kit.die_with_the_test)
            try:
                line = broker.stdout.readline()
                self.assertRegex(
                    line, r"^ready frontend=tcp://%s:\d+ " % re.escape(want))
                self.info(line.split()[1].split("=")[1])
                end = "tcp://%s:%s" % (name, line.split()[1].rsplit(":")[-1])
                done = subprocess.run(
                    [*words, kit.GATE, "call", "--broker", end,
                     "Gate.get_services"], capture_output=True, text=True,
                    env=kit.environment(**{**CALM, **settings}))
                self.assertEqual((done.returncode, done.stdout),
                                 (0, "[\"Gate\"]\n"), done.stderr)
            finally:
                broker.send_signal(signal.SIGTERM)
                broker.communicate(timeout=60 * kit.SLOW)

    def are_no_strangers(self, front):
        """Peers of ours at the wrong side, as broker and doctor tell it."""
        done = kit.run("call", "--broker", front, "Gate.stats", **CALM)
        counts = json.loads(done.out)
        self.assertEqual(counts["malformed"], 0)
        self.assertGreaterEqual(counts["astray"], 4)
        done = kit.run("doctor", "--broker", front, **CALM)
        self.assertRegex(done.out,
                         r"\d+ messages of peers came to the wrong side")
        self.assertNotIn("no peer", done.out)

    def test_the_wrong_side(self):
        """A client at a backend and a service at a frontend are told so, and so
        is the broker's log, whether credentials are asked for or not."""
        with open(os.path.join(self.dir, "users"), "w") as f:
            os.chmod(f.name, 0o600)
            f.write("ann:%s\n" % kit.run("zap", "--hash", "pw").out.strip())
        self.keep(kit.Command("zap", "--bind", self.ipc("z"), "--users", f.name,
                              **CALM)).line()
        for place, asked in ((("f1", "b1"), ()), (("f2", "b2"), (
                "--zap", self.ipc("z")))):
            front, back = (self.ipc(p) for p in place)
            broker = self.keep(kit.Command("broker", "--frontend", front,
                                           "--backend", back, *asked, **CALM))
            broker.line()
            for who in ((), ("--user", "ann", "--password", "pw")):
                for words in (("call", "Demo.add", "1", "2"), ("services",),
                              ("health",)):
                    done = kit.run(words[0], "--broker", back, *who, *words[1:],
                                   **CALM)
                    self.assertEqual(done.code, 4, (words, done.err))
                    self.assertIn("clients connect to its frontend", done.err)
                serve = self.keep(kit.Command("serve", "--demo", "--backend",
                                              front, *who, **CALM))
                self.until(lambda: any("or is a frontend" in x
                                       for x in serve.err), 30, "a reason")
                serve.end()
            for right in ("a client came to a backend",
                          "a service came to a frontend"):
                self.until(lambda: sum(right in x for x in broker.err) == 1, 10,
                           right)
            if not asked:
                self.are_no_strangers(front)
            else:
                self.keep(kit.Command("serve", "--demo", "--backend", back,
                                      **CALM))
                self.until(lambda: any("it came without a user" in x
                                       for x in broker.err), 10, "a reason")

    def test_what_a_service_lacks(self):
        """Of the transport's security, by name."""
        users, cert = (os.path.join(self.dir, n) for n in ("users", "cert"))
        with open(users, "w") as f:
            os.chmod(users, 0o600)
            f.write("ann:%s\n" % kit.run("zap", "--hash", "pw").out.strip())
        self.assertEqual(kit.run("keygen", cert).code, 0)
        plain = ("--plain-user", "ann", "--plain-password")
        for i, (asked, who, right) in enumerate((
                (("--plain-users", users), (), "and we have neither"),
                (("--curve-cert", cert), (), "and we have neither"),
                (("--plain-users", users), (*plain, "no"),
                 "does not accept our certificate, or our user"),
                (("--curve-cert", cert), (*plain, "pw"), "as we do"))):
            back = self.ipc("b%d" % i)
            self.keep(kit.Command("broker", "--frontend", self.ipc("f%d" % i),
                                  "--backend", back, *asked, **CALM)).line()
            serve = self.keep(kit.Command("serve", "--demo", "--backend", back,
                                          *who, **CALM))
            self.until(lambda: any(right in x for x in serve.err), 30, right)

    def test_slips(self):
        for end, word in (("tcp://127.0.0.1", "port"),
                          ("tcp://127.0.0.1:99999", "port 99999"),
                          ("tcp://127.0.0.1:http", "port http"),
                          ("tcp://no.such.host.invalid:*", "no.such.host")):
            done = kit.run("broker", "--frontend", end, "--backend",
                           self.ipc("b"))
            self.assertNotEqual(done.code, 0, end)
            self.assertIn(word, done.err)


if __name__ == "__main__":
    kit.main()
