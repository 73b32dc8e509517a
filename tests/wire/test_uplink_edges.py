# SPDX-License-Identifier: BSD-3-Clause
"""Joined brokers and servers that are not as they should be: TLS, credentials,
other clusters, equal names, small messages; peers that lie; what a broker without
an uplink does not have; four brokers. Skipped where nats-server is not."""
import json
import os
import re
import shutil
import struct
import subprocess
import threading
import time

import kit
import peers
from joined import Joined, Liar, Nats, call, head, missing, pair, stats

OPENSSL = shutil.which("openssl")


def why(broker):
    return stats(broker)["uplink"].get("why", "")


class Tls(kit.Case):
    def openssl(self, *args):
        subprocess.run([OPENSSL, *args], check=True, cwd=self.dir,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def path(self, name):
        return os.path.join(self.dir, name)

    def ca(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                     "/CN=" + name, "-keyout", name + ".key", "-out",
                     name + ".pem")

    def cert(self, name, host):
        self.openssl("req", "-newkey", "ec", "-pkeyopt",
                     "ec_paramgen_curve:P-256", "-nodes", "-subj",
                     "/CN=" + name, "-keyout", name + ".key", "-out",
                     name + ".csr")
        with open(self.path(name + ".ext"), "w") as f:
            f.write("subjectAltName=" + host)
        self.openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem",
                     "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                     "-extfile", name + ".ext", "-out", name + ".pem")
        os.chmod(self.path(name + ".key"), 0o600)

    def server(self, name):
        nats = self.keep(Nats(args=(
            "--tls", "--tlscert", self.path(name + ".pem"), "--tlskey",
            self.path(name + ".key"), "--tlscacert", self.path("ca.pem"),
            "--tlsverify")))
        return nats.url.replace("nats:", "tls:")

    def ours(self, ca="ca", cert="broker"):
        files = {"uplink_ca": self.path(ca + ".pem")}
        if cert:
            files["uplink_cert"] = self.path(cert + ".pem")
            files["uplink_key"] = self.path(cert + ".key")
        return files

    def refused(self, url, text, **files):
        """Its reason is told, and what is local goes on."""
        broker = self.keep(Joined(url, "R", **files))
        self.until(lambda: re.search(text, why(broker)), 30, text)
        self.assertRegex("".join(broker.err), text)

    def test_both_sides_are_checked(self):
        if OPENSSL is None:
            self.skipTest("no openssl to make certificates with")
        for name in ("ca", "stranger"):
            self.ca(name)
        self.cert("server", "IP:127.0.0.1")
        self.cert("elsewhere", "DNS:elsewhere.example")
        self.cert("broker", "DNS:broker.example")
        url = self.server("server")
        a, _ = pair(self, url, **self.ours())
        self.assertEqual(call(a, "Demo.add", "2", "3").out.strip(), "5")
        done = call(a, "--raw", "Demo.huge", "3000000", text=False)
        self.assertEqual((done.code, len(done.out)), (0, 3000000))
        self.refused(url, "self.signed|unable to get|certificate",
                     **self.ours(ca="stranger"))
        self.refused(url, "handshake|certificate|Connection|PONG|recv",
                     **self.ours(cert=None))
        self.refused(self.server("elsewhere"), "mismatch", **self.ours())


class Refused(kit.Case):
    def secret(self, text):
        path = os.path.join(self.dir, text)
        with open(path, "w") as f:
            f.write(text + "\n")
        os.chmod(path, 0o600)
        return path

    def test_user_and_password(self):
        nats = self.keep(Nats(args=("--user", "joe", "--pass", "right")))
        wrong = {"uplink_user": "joe",
                 "uplink_password_file": self.secret("wrong")}
        for settings in ({}, wrong):
            broker = self.keep(Joined(nats.url, "W", **settings))
            self.until(lambda: "Authorization" in why(broker), 30, "a reason")
            self.assertIn("Authorization Violation", "".join(broker.err))
            listed = kit.run("brokers", "--broker", broker.front)
            self.assertIn("Authorization Violation", listed.err)
            time.sleep(0.3)  # several tries: said once all the same
            self.assertEqual("".join(broker.err).count("no NATS server"), 1)
        pair(self, nats.url, uplink_user="joe",
             uplink_password_file=self.secret("right"))

    def test_a_server_for_small_messages(self):
        conf = os.path.join(self.dir, "nats.conf")
        port = kit.free_port()

        def server(size):
            with open(conf, "w") as f:
                f.write("max_payload: %d\n" % size)
            return Nats(port, args=("-c", conf))
        nats = server(32768)
        self.addCleanup(lambda: nats.stop())
        a, b = (self.keep(Joined(nats.url, n)) for n in "AB")
        text = "takes 32768 bytes a message: at least 65536"
        self.until(lambda: text in why(a), 30, text)
        nats.kill()
        nats = server(70000)
        self.keep(kit.OurService(b.back))
        self.until(lambda: "Demo" in a.services(), 30, "Demo at A")
        done = call(a, "--raw", "Demo.huge", "3000000", "random", text=False)
        self.assertEqual((done.code, len(done.out)), (0, 3000000), done.err)
        path = os.path.join(self.dir, "large")
        with open(path, "wb") as f:
            f.write(os.urandom(1000000))
        done = call(a, "Demo.blob", "--file", path)
        self.assertEqual(done.out.strip(), "1000000", done.err)


class Apart(kit.Case):
    def test_clusters_prefixes_and_equal_names(self):
        nats = self.keep(Nats())
        a, b = pair(self, nats.url)
        other = self.keep(Joined(nats.url, "O", "--uplink-cluster", "other"))
        word = self.keep(Joined(nats.url, "P", uplink_prefix="word"))
        twin = self.keep(Joined(nats.url, "A"))
        self.until(lambda: "Demo" in twin.services(), 30, "Demo at the twin")
        self.until(lambda: "another broker is called A" in "".join(twin.err),
                   30, "a warning")
        self.assertEqual(call(twin, "Demo.add", "1", "2").out.strip(), "3")
        for broker in (other, word):
            self.assertNotIn("Demo", broker.services())
            self.assertEqual(stats(broker)["uplink"]["nodes"], 0)
        for broker in (a, b):
            self.assertEqual(stats(broker)["uplink"]["nodes"], 2)

    def test_what_is_offered_and_taken(self):
        nats = self.keep(Nats())
        a, b = pair(self, nats.url, uplink_export="De*, Other")
        shut = self.keep(Joined(nats.url, "S", uplink_import="Nothing"))
        kept = self.keep(Joined(nats.url, "K", uplink_export="None"))
        self.keep(peers.Background(peers.Worker(
            kept.back, "Kept", peers.demo_methods(), hb=peers.CALM_HB)))
        self.until(lambda: stats(shut)["uplink"]["links_up"] == 3, 30, "links")
        self.until(lambda: call(kept, "Kept.echo", "1").code == 0, 30, "Kept")
        self.assertNotIn("Demo", shut.services())
        self.assertNotIn("Kept", a.services() + b.services())


class Lies(kit.Case):
    def setUp(self):
        super().setUp()
        self.nats = self.keep(Nats())
        self.a, self.b = pair(self, self.nats.url)
        self.liar = self.keep(Liar(self.nats.port, b"liarliar"))

    def still_right(self):
        self.assertEqual(call(self.a, "Demo.add", "2", "3").out.strip(), "5")

    def test_garbage_on_both_subjects(self):
        node = bytes.fromhex("0102030405060708")
        for data in (b"", b"x", os.urandom(56), os.urandom(3000),
                     head("A", node), head("A", node, rest=b"\xc1" * 100),
                     head("Z", node), head("D", node, rest=b"x" * 1000),
                     head("A", node, rest=b"x")[:-1],
                     head("A", node, rest=b"\x81\xa1n" + b"\xd9\xff" * 40)):
            self.liar.to_all(data)
            for target in list(self.liar.peers) or [b"\0" * 8]:
                self.liar.publish(
                    b"gate.default.n." + self.liar.text(target), data)
        self.liar.to_all(head("A", node, version=9))
        self.until(lambda: stats(self.a)["uplink"]["malformed"] > 0, 30,
                   "a count of it")
        self.until(lambda: "version 9" in "".join(self.a.err), 30, "a warning")
        self.still_right()

    def test_names_that_are_none(self):
        for name in ("\x1b[31mred", "a\tb", "\u009b31m", "N" * 100000, 7, ""):
            self.liar.announce(n=name)
        self.liar.announce(z="\x1b]0;x\x07")
        self.until(lambda: stats(self.a)["uplink"]["malformed"] == 7, 30,
                   "a count of them")
        self.liar.announce(node=b"other678", n="Zo\u00eb")
        self.until(lambda: stats(self.a)["uplink"]["nodes"] == 2, 30, "nodes")
        done = kit.run("brokers", "--broker", self.a.front)
        self.assertEqual(sorted(x.split("\t")[0] for x in
                                done.out.splitlines()), ["B", "Zo\u00eb"])
        self.still_right()

    def test_thousands_of_nodes(self):
        for i in range(600):
            self.liar.announce(node=struct.pack(">Q", i + 1), n="n%d" % i)
        self.until(lambda: stats(self.a)["uplink"]["nodes"] >= 256, 30, "nodes")
        self.assertEqual(stats(self.a)["uplink"]["nodes"], 256)
        self.until(lambda: "uplink_peers_max" in "".join(self.a.err), 30,
                   "a warning")
        self.still_right()

    def test_one_that_links_and_then_sends_no_records(self):
        offer = [7, "Trap", "", 1, 100, "", 0]
        stop = threading.Event()

        def repeat():
            while not stop.wait(0.2):
                try:
                    self.liar.announce(s=[offer])
                except OSError:
                    return
        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        self.until(lambda: "Trap" in self.a.services(), 30, "its service")
        running = self.keep(kit.Command("call", "--broker", self.a.front,
                                        "--timeout", "60000", "Trap.f"))
        self.until(lambda: "D" in self.liar.got, 30, "the call")
        for node in list(self.liar.peers):
            self.liar.say("D", node, seq=1, rest=os.urandom(500))
        self.assertNotEqual(running.wait(), 0)
        self.assertIn("The broker Liar is lost.", "".join(running.err))
        self.assertIn("it sends what cannot be read", "".join(self.a.err))
        self.still_right()


class Nothing(kit.Case):
    """A broker without an uplink has neither the libraries nor a thread."""

    def has(self, broker):
        with open("/proc/%d/maps" % broker.pid) as f:
            maps = f.read()
        names = []
        for task in os.listdir("/proc/%d/task" % broker.pid):
            with open("/proc/%d/task/%s/comm" % (broker.pid, task)) as f:
                names.append(f.read().strip())
        return "nats" in maps, len(names)

    def test_without_an_uplink(self):
        nats = self.keep(Nats())
        plain = self.keep(kit.OurBroker())
        joined = self.keep(Joined(nats.url, "J"))
        self.until(lambda: stats(joined)["uplink"]["up"] == 1, 30, "uplink")
        self.assertTrue(call(plain, "Gate.stats").code == 0)
        plain_nats, plain_tasks = self.has(plain)
        joined_nats, joined_tasks = self.has(joined)
        self.assertEqual((plain_nats, joined_nats), (False, True))
        self.assertGreater(joined_tasks, plain_tasks + 1)
        self.assertNotIn("uplink", json.loads(call(plain, "Gate.stats").out))


class Four(kit.Case):
    """A mesh: no call crosses two links, and none is sent for nothing."""
    CALLS = 6

    def sent(self):
        return sum(stats(b)["uplink"]["requests_out"] for b in self.brokers)

    def calls(self, broker, wanted=0):
        for i in range(self.CALLS):
            done = call(broker, "Demo.add", str(i), "1")
            self.assertEqual(done.code, wanted, done.err)

    def test_nowhere_everywhere_moving(self):
        nats = self.keep(Nats())
        self.brokers = [self.keep(Joined(nats.url, n)) for n in "ABCD"]
        for broker in self.brokers:
            self.until(lambda: stats(broker)["uplink"]["links_up"] == 3, 30,
                       "the mesh")
        done = call(self.brokers[0], "Demo.add", "1", "1")
        self.assertIn("ServiceUnAvailableError", done.err)
        self.assertEqual(self.sent(), 0)
        service = kit.OurService(self.brokers[1].back)
        self.addCleanup(service.end)
        for broker in self.brokers:
            self.until(lambda: "Demo" in broker.services(), 30, "Demo")
        self.calls(self.brokers[0])
        once = self.sent()
        self.assertGreaterEqual(once, self.CALLS)
        self.assertLessEqual(once, 3 * self.CALLS)
        service.end()  # it moves
        moved = self.keep(kit.OurService(self.brokers[2].back))
        self.assertTrue(moved)
        self.until(lambda: call(self.brokers[0], "Demo.add", "1",
                                "1").code == 0, 30, "Demo where it is now")
        for i in (0, 1, 3):
            self.keep(kit.OurService(self.brokers[i].back))
        for broker in self.brokers:
            self.until(lambda: stats(broker)["services"]["Demo"]["workers"] -
                       stats(broker)["services"]["Demo"]["far"] == 1, 30,
                       "a worker here")
        before = self.sent()
        self.calls(self.brokers[3])
        self.assertEqual(self.sent(), before, "local ones first")


if __name__ == "__main__":
    reason = missing()
    if reason:
        print("skipped: " + reason)
        raise SystemExit(77)
    kit.main()
