# SPDX-License-Identifier: BSD-3-Clause
"""Lanes (docs/extensions.md) by raw peers: how one comes about, that order is
kept, and that whoever breaks its law loses its own connection and nobody else
anything."""
import os
import resource
import socket
import subprocess
import time

import zmq

import kit
import peers
from lane import DOWN, MAGIC, Lane, LaneClient, offer_of, whole
from peers import MDPC, MDPW, body, new_id, result, unpack


class Lanes(kit.Case):
    def begin(self, **settings):
        settings.setdefault("lane", "auto")
        self.broker = self.keep(kit.OurBroker(self.ipc("f"), self.ipc("b"),
                                              **settings))
        self.offer = offer_of(self.broker.front)

    def client(self, lane=True):
        client = self.keep(LaneClient(self.broker.front))
        return client.lane(self.offer) if lane else client

    def worker(self, name="S"):
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register(name)
        return worker

    def stats(self):
        client = peers.RawClient(self.broker.front)
        try:
            return client.call("Gate", "stats")
        finally:
            client.close()

    def count(self, name):
        return self.stats()[name]

    def well(self):
        """Others are served."""
        client = self.client()
        self.assertIn("GX1", client.call_by_lane("Gate", "info")["ext"])


class Regular(Lanes):
    def test_calls_go_by_it_and_by_zeromq_as_the_peer_has_it(self):
        self.begin()
        client, plain, worker = self.client(), self.client(False), self.worker()
        for who in range(3):
            rid = new_id()
            request = (MDPC, b"S", rid, *body("f", [who], {}))
            if who == 1:
                plain.send(b"", *request)
            else:
                client.way.put(*request)
            got = worker.expect(peers.REQUEST, 5)
            self.assertEqual(got[2:], [rid, *body("f", [who], {})])
            worker.answer(got, result(who))
            if who == 1:
                self.assertEqual(plain.reply(rid), [result(1)])
            else:
                self.assertEqual(client.way.take(),
                                 [MDPC, b"S", rid, result(who)])
        self.assertEqual(self.count("lanes_opened"), 1)
        self.assertEqual(self.count("malformed"), 0)

    def test_a_worker_is_asked_and_answers_by_it(self):
        self.begin()
        worker, client = self.worker(), self.client(False)
        lane = Lane(self.offer).open(worker)
        self.addCleanup(lane.close)
        rid = client.request("S", "f", [1])
        got = lane.take()
        while got[1] == peers.HEARTBEAT:
            lane.put(MDPW, peers.HEARTBEAT)
            got = lane.take()
        self.assertEqual(got[:2], [MDPW, peers.REQUEST])
        self.assertEqual(got[2:5], [client.ident, b"", rid])
        lane.put(MDPW, peers.REPLY, got[2], b"", rid, result(7))
        self.assertEqual(client.reply(rid), [result(7)])

    def test_order_is_kept_where_the_ways_change(self):
        self.begin()
        client, worker = self.client(False), self.worker()
        lane = client.way = Lane(self.offer).hello().ask(client)
        self.assertTrue(lane.memory())
        for i in range(200):
            client.request("S", "f", [i])
        client.send(MAGIC + b"u")
        for i in range(200, 400):
            lane.put(MDPC, b"S", new_id(), *body("f", [i], {}))
        for i in range(400):
            got = worker.expect(peers.REQUEST, 5)
            self.assertEqual(unpack(got[4]), [i])
            worker.answer(got, result(i))
        answers, here = [], False
        while not here:  # first all that came by ZeroMQ, then the others
            message = client.recv(5)
            here = message == [MAGIC + b"u"]
            if not here:
                answers.append(unpack(message[4])["result"])
        while len(answers) < 400:
            answers.append(unpack(lane.take()[3])["result"])
        self.assertEqual(answers, list(range(400)))

    def test_large_messages_come_in_pieces_both_ways(self):
        self.begin(lane_bytes=4096)
        client, worker = self.client(), self.worker()
        big = os.urandom(300000)
        self.assertEqual(client.way.ring, 4096)
        rid = new_id()
        client.way.put(MDPC, b"S", rid, *body("f", [1], {}))
        got = worker.expect(peers.REQUEST, 5)
        worker.answer(got, result(big))
        self.assertEqual(client.way.take(10)[3], result(big))

    def test_memory_cannot_be_cut_short(self):
        self.begin()
        client = self.client()
        with self.assertRaises(PermissionError):
            os.ftruncate(client.way.fd, 0)
        with self.assertRaises(PermissionError):
            os.ftruncate(client.way.fd, 1 << 20)

    def test_off_offers_none_and_knows_none(self):
        self.begin(lane="off")
        self.assertIsNone(self.offer)
        client = self.client(False)
        client.send(MAGIC + b"a" + b"0" * 16)
        self.assertEqual(client.call("Gate", "info")["services"], [])
        self.assertEqual(self.count("malformed"), 1)

    def test_beyond_lanes_max_one_is_refused_and_calls_go_on(self):
        self.begin(lanes_max=1)
        self.client()
        second = self.client(False)
        lane = Lane(self.offer).hello().ask(second)
        self.addCleanup(lane.close)
        self.assertFalse(lane.memory())
        self.assertIn("GX1", second.call("Gate", "info")["ext"])
        self.assertEqual(self.count("lanes_refused"), 1)

    def test_the_end_of_the_connection_is_the_end_of_the_lane(self):
        self.begin()
        client = self.client()
        client.socket.close(0)
        self.assertTrue(client.way.ended())
        self.well()

    def test_the_end_of_the_lane_is_the_end_of_the_connection(self):
        self.begin()
        worker, client = self.worker(), self.client(False)
        lane = Lane(self.offer).open(worker)
        rid = client.request("S", "f", [1])
        while lane.take()[1] != peers.REQUEST:
            pass
        lane.close()
        frames = client.reply(rid)
        self.assertIn("WorkerLost", frames[0].decode(errors="replace"))

    def test_what_was_said_before_the_end_counts(self):
        self.begin()
        worker, client = self.worker(), self.client(False)
        lane = Lane(self.offer).open(worker)
        rid = client.request("S", "f", [1])
        got = lane.take()
        while got[1] != peers.REQUEST:
            got = lane.take()
        lane.put(MDPW, peers.REPLY, got[2], b"", rid, result("the last word"))
        lane.close()
        self.assertEqual(client.reply(rid), [result("the last word")])


class Handshakes(Lanes):
    def refuses(self, lane):
        """It gets nothing, and its socket's end."""
        self.assertTrue(lane.ended(5))

    def test_a_nonce_counts_once_and_for_who_has_none_yet(self):
        self.begin()
        first, second = self.client(False), self.client(False)
        lane = Lane(self.offer).hello().ask(first)
        self.addCleanup(lane.close)
        self.assertTrue(lane.memory())
        lane.ask(second)  # it is used up
        lane.up(first)
        again = Lane(self.offer).hello().ask(first)  # one has one
        self.addCleanup(again.close)
        self.refuses(again)
        self.assertIn("GX1", second.call("Gate", "info")["ext"])
        self.assertEqual(self.count("lanes_opened"), 1)

    def test_wrong_words(self):
        self.begin()
        client = self.client(False)
        lane = Lane(self.offer).hello()
        self.addCleanup(lane.close)
        words = [b"", b"a", b"x", b"d", b"a" + lane.nonce[:-1],
                 b"a" + lane.nonce + b"x", b"a" + b"0" * 16, b"u" * 1000]
        for word in words:
            client.send(MAGIC + word)
        client.send(MAGIC + b"a" + lane.nonce, b"and more")
        client.send(MAGIC + b"a" + lane.nonce, b"", b"and more")
        self.assertIn("GX1", client.call("Gate", "info")["ext"])
        lane.ask(client)
        self.assertTrue(lane.memory(), "the nonce is still good")
        self.assertEqual(self.count("lanes_opened"), 0)
        self.well()

    def test_up_is_believed_of_the_one_that_asked_alone(self):
        self.begin()
        client, other = self.client(False), self.client(False)
        lane = Lane(self.offer).hello().ask(client)
        self.addCleanup(lane.close)
        self.assertTrue(lane.memory())
        other.send(MAGIC + b"u")
        self.until(lambda: self.count("malformed") == 1)
        self.assertEqual(self.count("lanes_opened"), 0)
        lane.up(client)
        self.assertEqual(self.count("lanes_opened"), 1)

    def test_who_says_nothing_has_its_time(self):
        self.begin()
        lanes = [Lane(self.offer).hello() for _ in range(3)]
        talks = Lane(self.offer).hello()
        talks.socket.send(b"anything")
        for lane in [talks, *lanes]:
            self.refuses(lane)
            self.addCleanup(lane.close)
        client = self.client(False)
        lanes[0].ask(client)  # too late
        self.assertIn("GX1", client.call("Gate", "info")["ext"])
        self.well()

    def test_a_thousand_that_never_ask(self):
        self.begin()
        held = []
        for i in range(1000):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.setblocking(False)
            try:
                s.connect("\0" + self.offer.split(" ")[3])
            except BlockingIOError:
                s.close()  # its backlog is full
                continue
            held.append(s)
        client = self.client(False)
        self.assertIn("GX1", client.call("Gate", "info")["ext"])
        for s in held:
            s.close()
        self.well()


    def test_up_without_a_lane_ends_the_connection(self):
        """It writes to a ring that nobody reads, and would wait for ever."""
        self.begin()
        stays = self.client()
        for late in (False, True):
            client = self.client(False)
            monitor = client.socket.get_monitor_socket(
                zmq.EVENT_DISCONNECTED)
            if late:  # it had one, and stood still for too long
                lane = Lane(self.offer).hello().ask(client)
                self.addCleanup(lane.close)
                self.assertTrue(lane.memory())
                self.assertTrue(lane.ended())
            client.send(MAGIC + b"u")
            self.assertTrue(monitor.poll(int(peers.patient(5) * 1000)))
            client.socket.disable_monitor()
            monitor.close(0)
        self.assertEqual(self.count("lanes_opened"), 1)
        self.assertIn("GX1", stays.call_by_lane("Gate", "info")["ext"])

    def test_who_dies_at_any_step_leaves_nothing(self):
        self.begin()
        self.client()  # one that stays

        def held():
            return len(os.listdir("/proc/%d/fd" % self.broker.pid))
        before = held()
        for step in range(6):
            client = LaneClient(self.broker.front)
            client.call("Gate", "info")
            lane = Lane(self.offer)
            if step > 0:
                lane.hello()
            if step > 1:
                lane.ask(client)
            if step > 2:
                self.assertTrue(lane.memory())
            if step > 3:
                lane.up(client)
            if step > 4:  # in the middle of a record
                lane.put_raw(b"x" * 100, 100 | 1 << 31)
            if step % 2:
                lane.close()
                client.close()
            else:
                client.close()
                lane.close()
        self.until(lambda: held() <= before, 10)
        self.well()
        self.assertEqual(self.count("lanes_bad"), 0)


class Bounds(Lanes):
    def refused(self, client):
        lane = Lane(self.offer).hello().ask(client)
        self.addCleanup(lane.close)
        return not lane.memory()

    def test_a_process_has_a_quarter(self):
        self.begin(lanes_max=16)
        held = [self.client() for _ in range(4)]
        self.assertTrue(self.refused(self.client(False)))
        service = self.keep(kit.OurService(self.broker.back, lane="always"))
        self.until(lambda: self.count("lanes_opened") == 5, 20)
        self.assertTrue(service.running())
        held[0].way.close()
        self.until(lambda: not self.refused(self.client(False)))

    def test_who_connects_and_says_nothing_leaves_room_for_others(self):
        self.begin()
        held = []
        for _ in range(40):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            s.connect("\0" + self.offer.split(" ")[3])
            held.append(s)
            self.addCleanup(s.close)
        hellos = [s.recv(100) for s in held]
        self.assertEqual(sum(map(bool, hellos)), 16)
        service = self.keep(kit.OurService(self.broker.back, lane="always"))
        self.until(lambda: self.count("lanes_opened") == 1, 20)
        self.assertTrue(service.running())

    def test_no_memory_is_no_lane_and_nothing_else(self):
        """As where memfd_create is not allowed, or the machine is full."""
        self.begin(limits=[(resource.RLIMIT_FSIZE, 65536)])
        client = self.client(False)
        self.assertTrue(self.refused(client))
        self.assertIn("GX1", client.call("Gate", "info")["ext"])
        self.assertEqual(self.count("lanes_refused"), 1)
        self.assertTrue(self.broker.running())

    def test_new_peers_come_before_lanes(self):
        self.begin(lane="always",  # so that none is idle
                   limits=[(resource.RLIMIT_NOFILE, 128)])
        lanes = [self.client() for _ in range(3)]
        held = [self.client(False) for _ in range(40)]
        for client in held:
            client.call("Gate", "info")
        late = Lane(self.offer)
        self.addCleanup(late.close)
        self.assertTrue(late.ended(), "half is in use")
        for client in lanes:
            self.assertIn("GX1", client.call_by_lane("Gate", "info")["ext"])
        more = [self.client(False) for _ in range(60)]
        for client in lanes:  # few are left: all are given back
            self.assertEqual(client.way.take(10), DOWN)
            self.assertTrue(client.way.down())
            self.assertIn("GX1", client.call("Gate", "info")["ext"])
        for client in held + more:
            client.close()
        self.until(lambda: self.count("lanes_left") == 3)
        self.well()

    def test_records_without_end_have_one_bound_for_all(self):
        self.begin(broker_queue_max_bytes=1 << 20)
        clients = [self.client() for _ in range(3)]
        for n, client in enumerate(clients):
            for _ in range(50 + n):
                self.until(lambda: client.way.room() > 9000)
                client.way.put_raw(b"x" * 8000, 8000 | 1 << 31)
        self.until(lambda: self.count("lanes_bad") >= 1)
        self.well()


class Elsewhere(Lanes):
    def test_another_namespace_goes_on_over_its_socket(self):
        self.begin()
        for flags in (["-n"], ["-p", "-f", "--kill-child"]):
            under = ["unshare", *flags]
            if subprocess.run([*under, "true"], stderr=subprocess.DEVNULL,
                              check=False).returncode:
                self.skipTest("no namespace can be made here")
            with self.subTest(flags):
                service = kit.OurService(self.broker.back, lane="always",
                                         under=under)
                client = peers.RawClient(self.broker.front)
                self.assertEqual(client.call("Demo", "add", 2, 3), 5)
                stats = client.call("Gate", "stats")
                self.assertEqual(stats["lanes_opened"], 0)
                self.assertEqual(stats["lanes_refused"], 0)
                client.close()
                service.kill()
        self.keep(kit.OurService(self.broker.back, lane="always"))
        self.until(lambda: self.count("lanes_opened") == 1, 20)


class GivenBack(Lanes):
    def test_one_by_which_little_goes(self):
        self.begin()
        worker, client = self.worker(), self.client()
        for i in range(2):  # it comes back to it when it pays again
            rid = new_id()
            client.way.put(MDPC, b"S", rid, *body("f", [1], {}))
            got = worker.expect(peers.REQUEST, 5)
            said = None
            while said is None:  # a worker that says nothing is lost
                worker.idle(0.1)
                said = client.way.take(0.1)
            self.assertEqual(said, DOWN)
            worker.answer(got, result(i))  # by ZeroMQ now
            self.assertEqual(client.by_zeromq(), [MDPC, b"S", rid, result(i)])
            rid = new_id()
            client.way.put(MDPC, b"S", rid, *body("f", [2], {}))
            self.assertTrue(client.way.down())
            got = worker.expect(peers.REQUEST, 5)
            self.assertEqual(got[4], body("f", [2], {})[1])
            worker.answer(got, result(i))
            self.assertEqual(client.by_zeromq(), [MDPC, b"S", rid, result(i)])
            client.way.close()
            client.lane(self.offer)
        self.assertEqual(self.count("lanes_left"), 2)
        self.assertEqual(self.count("lanes_bad"), 0)

    def test_who_goes_before_it_is_asked(self):
        self.begin()
        client = self.client()
        self.assertTrue(client.way.down())
        self.until(lambda: self.count("lanes_bad") == 1)
        self.well()


class Hostile(Lanes):
    def cut(self, *spoils):
        """What each does to a client's lane ends its connection, and no
        other."""
        self.begin()
        other = self.client()
        for n, spoil in enumerate(spoils, 1):
            with self.subTest(n):
                client = self.client()
                spoil(client)
                self.assertTrue(client.way.ended(5), "the lane ends")
                self.until(lambda: self.count("lanes_bad") == n)
                self.assertIn("GX1",
                              other.call_by_lane("Gate", "info")["ext"])

    def test_lengths(self):
        self.cut(*[lambda c, n=n: c.way.put_raw(b"x" * 16, n) for n in
                   (0, 0xffffffff, 0x7fffffff, 1 << 20, 65536, 40)])

    def test_positions(self):
        def spoil(client, value):
            client.way.write(client.way.out, value)
            client.way.bell()
        self.cut(*[lambda c, n=n: spoil(c, n) for n in
                   (1, 7, 1 << 17, 1 << 63, (1 << 64) - 8, 65536 + 8)])

    def test_a_head_beyond_all(self):
        def spoil(client):
            way = client.way
            way.write(way.into + 64, 1 << 40)
            for _ in range(3000):  # answers that would fill it
                if way.word(way.into) > way.ring * 3 // 4:
                    break
                way.put(MDPC, b"Gate", new_id(), *body("info", [], {}))
                time.sleep(0.001)
            for _ in range(300):
                way.put(MDPC, b"Gate", new_id(), *body("info", [], {}))
                time.sleep(0.001)
        self.cut(spoil)

    def test_records_that_are_no_messages_are_counted(self):
        self.begin()
        client = self.client()
        some = [b"x", b"\xc1GXP", b"\xc1GXP\x40" + b"0" * 100,
                b"\xc1GXP\x01\xff", b"\xc1GXP\x02\x05\x05abc", b"\0" * 1000,
                whole(), whole(b"junk"), MAGIC + b"u",
                MAGIC + b"a" + b"0" * 16]
        for record in some:
            client.way.put_raw(record)
        self.assertIn("GX1", client.call_by_lane("Gate", "info")["ext"])
        self.assertEqual(self.count("lanes_bad"), 0)
        self.assertGreaterEqual(self.count("malformed"), len(some) - 3)

    def test_who_speaks_over_both_ways(self):
        self.cut(lambda c: c.request("Gate", "info"))

    def test_a_record_without_end(self):
        self.begin(message_bytes_max=65536)
        client = self.client()
        for _ in range(2000):
            if client.way.room() < 9000:
                time.sleep(0.002)
                continue
            client.way.put_raw(b"x" * 8000, 8000 | 1 << 31)
        self.until(lambda: self.count("lanes_bad") == 1)
        self.well()

    def test_bells_without_end_and_none_read(self):
        self.begin()
        client = self.client()
        client.way.socket.setblocking(False)
        for _ in range(20):
            try:
                while True:
                    client.way.socket.send(b"xyz")
            except BlockingIOError:
                pass
        self.assertIn("GX1", client.call_by_lane("Gate", "info")["ext"])
        self.well()

    def test_descriptors_that_are_sent_are_closed(self):
        self.begin()
        client = self.client()
        here, there = socket.socketpair()
        socket.send_fds(client.way.socket, [b"x"], [there.fileno()])
        there.close()
        self.assertIn("GX1", client.call_by_lane("Gate", "info")["ext"])
        here.settimeout(5 * kit.SLOW)
        self.assertEqual(here.recv(1), b"", "nobody holds it")
        here.close()

    def test_a_socket_that_reads_no_more(self):
        self.begin()
        client = self.client()
        client.way.socket.shutdown(socket.SHUT_RD)
        for _ in range(50):
            client.way.put(MDPC, b"Gate", new_id(), *body("info", [], {}))
        self.well()

    def test_who_does_not_read_its_answers_waits_alone(self):
        self.begin(lane_bytes=4096)
        client, worker = self.client(), self.worker()
        other = self.client()
        for i in range(100):
            client.way.put(MDPC, b"S", new_id(), *body("f", [i], {}))
            got = worker.expect(peers.REQUEST, 5)
            worker.answer(got, result(b"x" * 1000))
            self.assertIn("GX1", other.call_by_lane("Gate", "info")["ext"])
        for i in range(100):
            self.assertEqual(client.way.take()[3], result(b"x" * 1000))

    def test_another_that_takes_a_workers_id_gets_its_own(self):
        self.begin()
        worker, client = self.worker(), self.client(False)
        lane = Lane(self.offer).open(worker)
        self.addCleanup(lane.close)
        thief = self.keep(peers.RawWorker(self.broker.back, worker.ident))
        thief.register("S")
        self.assertTrue(lane.ended(5), "whose messages it had")
        rid = client.request("S", "f", [1])
        got = thief.expect(peers.REQUEST, 5)
        thief.answer(got, result("the new one"))
        self.assertEqual(client.reply(rid), [result("the new one")])
        self.well()


if __name__ == "__main__":
    kit.main()
