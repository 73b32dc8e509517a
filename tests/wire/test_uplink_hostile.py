# SPDX-License-Identifier: BSD-3-Clause
"""Joined brokers beside somebody who may publish on their subjects and does so in
other brokers' names, a server that comes back with other limits, brokers of one
name, one that is killed and started again at once, a far service that drains.
What `gate brokers` says is looked at each time. Skipped where nats-server is
not."""
import os
import random
import struct
import subprocess
import threading

import kit
import peers
from joined import (BEAT_MS, Joined, Liar, Nats, call, head, missing, pair,
                    stats)

FIELDS = ("name", "node", "state", "zone", "rtt", "services", "to", "from")


def brokers(at):
    """What `gate brokers` says there: a map of each line."""
    done = kit.run("brokers", "--broker", at.front)
    if done.code:
        raise AssertionError(done.err)
    return [dict(zip(FIELDS, line.split("\t")))
            for line in done.out.splitlines()]


def node_of(at, name):
    """The 8 bytes of the broker that is called so there."""
    text = next(b["node"] for b in brokers(at) if b["name"] == name)
    value = 0
    for letter in text:
        value = value << 5 | Liar.TEXT.index(letter)
    return struct.pack(">Q", value)


class Hostile(kit.Case):
    def right(self, at):
        done = call(at, "Demo.add", "2", "3")
        return done.out.strip() == "5"

    def still_right(self, at):
        done = call(at, "Demo.add", "2", "3")
        self.assertEqual((done.code, done.out.strip()), (0, "5"), done.err)


class Load:
    """Lanes that echo, and what they got that is not that."""

    def __init__(self, front, lanes):
        self.front, self.n, self.wrong = front, 0, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.lane)
                        for _ in range(lanes)]
        for thread in self.threads:
            thread.start()

    def lane(self):
        client = peers.Client(self.front)
        client.connect()
        while not self.over.is_set():
            text = "x" * random.randrange(2000)
            try:
                if client.call("Demo", "echo", text)["args"] != [text]:
                    self.wrong.append("other bytes")
            except Exception as e:
                self.wrong.append(repr(e))
            self.n += 1
        client.close()

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Smaller(Hostile):
    """nats-server is there again, with another max_payload."""

    def server(self, port, size):
        conf = os.path.join(self.dir, "nats.conf")
        with open(conf, "w") as f:
            f.write("max_payload: %d\n" % size)
        nats = Nats(port, args=("-c", conf))
        self.addCleanup(nats.stop)
        return nats

    def test_the_smallest_there_is_loses_nothing(self):
        port = kit.free_port()
        nats = self.server(port, 65536)
        a, _ = pair(self, nats.url)
        load = Load(a.front, 60)
        try:
            for _ in range(2):
                before = load.n
                self.until(lambda: load.n > before + 200, 60, "calls")
                nats.kill()
                nats = self.server(port, 65536)
            before = load.n
            self.until(lambda: load.n > before + 200, 60, "calls again")
        finally:
            load.end()
        self.assertEqual(load.wrong, [])
        self.assertEqual(stats(a)["uplink"]["links_lost"], 0)

    def test_less_than_what_is_under_way_is_said_at_once(self):
        port = kit.free_port()
        nats = self.server(port, 1 << 20)
        a, b = pair(self, nats.url)
        running = subprocess.Popen(
            [kit.GATE, "call", "--broker", a.front, "--raw", "Demo.huge",
             "3000000000", "hex"], env=kit.environment(), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            preexec_fn=kit.die_with_the_test)
        self.until(lambda: stats(a)["uplink"]["bytes_in"] > 1 << 22, 30,
                   "a huge result")
        nats.kill()
        nats = self.server(port, 65536)
        _, err = running.communicate()
        self.assertIn("WorkerLostError: The broker B is lost.", err)
        said = "lost: the server takes smaller messages now"
        self.until(lambda: said in "".join(b.err), 30, said)
        self.until(lambda: self.right(a), 60, "calls again")
        done = call(a, "--raw", "Demo.huge", "3000000", "random", text=False)
        self.assertEqual((done.code, len(done.out)), (0, 3000000), done.err)


class Forged(Hostile):
    def setUp(self):
        super().setUp()
        self.nats = self.keep(Nats())
        self.a, self.b = pair(self, self.nats.url,
                              uplink_heartbeat_ms=BEAT_MS)
        self.liar = self.keep(Liar(self.nats.port, b"liarliar"))

    def repeat(self, **news):
        """What a broker says each heartbeat."""
        over = threading.Event()

        def run():
            while not over.wait(0.2):
                try:
                    self.liar.announce(**news)
                except OSError:
                    return
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)

    def test_nobody_offers_our_own_service(self):
        self.repeat(s=[[1, "Gate", "", 1, 100, "", 0],
                       [2, "Trap", "", 1, 100, "", 0]])
        self.until(lambda: "Trap" in self.a.services(), 30, "its service")
        self.assertEqual(self.a.services().count("Gate"), 1)
        listed = stats(self.a)["services"]
        self.assertNotIn("Gate", listed)

    def test_an_announcement_in_anothers_name_is_mended_by_its_own(self):
        node = node_of(self.a, "B")
        for i, lie in enumerate((
                dict(n="B", rev=1 << 62, s=[]),
                dict(n="B", rev=0, s=[]),
                dict(n="B", rev=99, s=[[9, "Trap", "", 1, 9, "", 0]]),
                dict(n="B", rev=95, part=3, parts=4000, s=[]),
                dict(n="B", rev=96, part=0, parts=4000, s=[]),
                dict(n="Mallory", rev=97, hb=3600000, s=[]),
                dict(n="B", d=True, rev=98, s=[]))):
            self.liar.announce(node=node, **lie)
            self.until(lambda: self.right(self.a), 60, "Demo after lie %d" % i)
            self.until(lambda: [b["name"] for b in brokers(self.a)] == ["B"],
                       30, "its name")
        self.assertEqual([b["services"] for b in brokers(self.a)], ["1"])
        self.assertEqual(stats(self.a)["uplink"]["links_lost"], 0)

    def test_words_in_anothers_name_end_nothing(self):
        """Whoever does not know a link's gens cannot speak on it."""
        node, me = node_of(self.a, "B"), node_of(self.b, "A")
        running = self.keep(kit.Command("call", "--broker", self.a.front,
                                        "Demo.slow_gen", "100", "10"))
        self.assertEqual(running.line(), "0")
        for i in range(200):
            kind = "HDRB"[i % 4]
            self.liar.publish(
                b"gate.default.n." + Liar.text(me),
                head(kind, node, gen=1 + i, peer_gen=i, seq=i, ack=1 << 40,
                     grant=(1 << 64) - 1, rest=b"the broker ends"))
        self.assertEqual(running.wait(), 0)
        self.assertEqual("".join(running.out).split(),
                         [str(i) for i in range(100)])
        self.assertEqual(stats(self.a)["uplink"]["links_lost"], 0)

    def linked(self):
        self.repeat(s=[[7, "Trap", "", 1, 100, "", 0]])
        self.until(lambda: "Trap" in self.a.services(), 30, "its service")
        return node_of(self.b, "A")

    def test_wrong_numbers_from_one_that_is_linked(self):
        me = self.linked()
        record = b"P\0" + struct.pack(">I", 4) + b"\3\1\1\0"
        share = b"S\0" + struct.pack(">I", 11) + b"\2\4\4" + bytes(8)
        for kind, more in (
                ("R", dict(seq=(1 << 64) - 1)), ("R", dict(seq=0)),
                ("H", dict(ack=1 << 60)), ("H", dict(grant=(1 << 64) - 1)),
                ("D", dict(seq=0, rest=share)),
                ("D", dict(seq=1 << 63, rest=share)),
                ("D", dict(seq=1, rest=share)), ("D", dict(seq=1, rest=share)),
                ("D", dict(seq=3, rest=share)),
                ("D", dict(seq=2, rest=share))):
            self.liar.say(kind, me, **more)
        count = stats(self.a)["uplink"]
        self.until(lambda: stats(self.a)["uplink"]["gaps"] >= 2, 30, "gaps")
        self.until(lambda: stats(self.a)["uplink"]["stale_batches"] >= 2, 30,
                   "doubles")
        self.until(lambda: stats(self.a)["uplink"]["malformed"] >= 2, 30,
                   "numbers that cannot be")
        self.assertEqual(count["links_lost"], 0)
        self.assertIn("R", self.liar.got)  # it says what it lacks
        self.liar.say("D", me, seq=3, rest=record)
        self.until(lambda: "cannot be read" in "".join(self.a.err), 30, "end")
        self.still_right(self.a)

    def test_fragments_without_end(self):
        me = self.linked()
        part = os.urandom(60000)

        def fragment(number):
            body = (b"\2\4\xfe" + struct.pack(">I", len(part)) +
                    struct.pack(">I", number) + part)
            return b"F\0" + struct.pack(">I", len(body)) + body
        for seq in range(1, 40):
            self.liar.say("D", me, seq=seq, rest=fragment(seq))
        self.until(lambda: "records in fragments" in "".join(self.a.err) or
                   "cannot be read" in "".join(self.a.err) or
                   "more than it was granted" in "".join(self.a.err), 30,
                   "its end")
        self.still_right(self.a)


class Names(Hostile):
    def test_two_of_one_name_and_one_that_leaves(self):
        nats = self.keep(Nats())
        a, b = pair(self, nats.url)
        twin = Joined(nats.url, "B")
        self.addCleanup(twin.end)
        self.until(lambda: len(brokers(a)) == 2, 30, "both")
        listed = brokers(a)
        self.assertEqual([x["name"] for x in listed], ["B", "B"])
        self.assertNotEqual(listed[0]["node"], listed[1]["node"])
        self.until(lambda: "is called B as we are" in "".join(b.err) and
                   "is called B as we are" in "".join(twin.err), 30, "a word")
        self.still_right(a)
        twin.end()
        self.until(lambda: len(brokers(a)) == 1, 30, "one")
        self.still_right(a)
        self.assertEqual(brokers(a)[0]["services"], "1")

    def test_killed_and_started_again_at_once(self):
        """The one before is there until it is missed; the new one is another."""
        nats = self.keep(Nats())
        a, b = pair(self, nats.url, uplink_heartbeat_ms=500)
        before = node_of(a, "B")
        b.process.kill()
        b.process.wait()
        again = self.keep(Joined(nats.url, "B", "--backend", b.back,
                                 uplink_heartbeat_ms=500))
        self.until(lambda: [x["name"] for x in brokers(a)
                            if x["state"] == "up"].count("B") >= 1 and
                   len(brokers(a)) == 1 and node_of(a, "B") != before, 60,
                   "the new one alone")
        self.until(lambda: self.right(a), 60, "its worker there")
        self.assertEqual(again.called, "B@default")
        self.assertEqual("".join(a.err).count("broker B is lost"), 1)


class Drained(Hostile):
    def test_a_far_service_that_drains_finishes(self):
        nats = self.keep(Nats())
        a, b = pair(self, nats.url)
        running = self.keep(kit.Command("call", "--broker", a.front,
                                        "Demo.slow_gen", "150", "10"))
        self.assertEqual(running.line(), "0")
        self.assertEqual([(x["services"], x["to"]) for x in brokers(a)],
                         [("1", "1")])
        done = kit.run("drain", "--broker", b.front, "Demo")
        self.assertEqual(done.code, 0, done.err)
        self.assertEqual(running.wait(), 0, "".join(running.err))
        self.assertEqual(len("".join(running.out).split()), 150)
        self.until(lambda: [(x["services"], x["to"]) for x in brokers(a)] ==
                   [("0", "0")], 30, "nothing is offered")
        self.assertIn("ServiceUnAvailableError",
                      call(a, "--timeout", "2000", "Demo.add", "1", "2").err)
        self.keep(kit.OurService(b.back))
        self.until(lambda: self.right(a), 60, "another worker")


if __name__ == "__main__":
    reason = missing()
    if reason:
        print("skipped: " + reason)
        raise SystemExit(77)
    kit.main()
