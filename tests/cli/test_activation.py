# SPDX-License-Identifier: BSD-3-Clause
"""Socket activation: sockets that somebody else has opened and named are the
broker's, keep whoever connects while no broker is there, and outlive it."""
import fcntl
import os
import socket
import subprocess
import uuid

import msgpack
import zmq

from cli import CALM, kit


class Activation(kit.Case):
    def setUp(self):
        super().setUp()
        self.front = socket.create_server(("127.0.0.1", 0))
        self.back = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.front.close)
        self.addCleanup(self.back.close)
        self.path = os.path.join(self.dir, "b")
        self.back.bind(self.path)
        self.back.listen()
        self.place = "tcp://127.0.0.1:%d" % self.front.getsockname()[1]

    def broker(self, names, *options, pid="$$", n=2):
        """As systemd starts it: from descriptor 3 on, and these names."""
        high = [fcntl.fcntl(s, fcntl.F_DUPFD, 20) for s in (self.front, self.back)]
        broker = kit.Command.__new__(kit.Command)
        real = subprocess.Popen

        def start(words, **how):
            line = "exec 3<&%d 4<&%d 5<&- %d<&- %d<&-; LISTEN_PID=%s exec \"$@\"" % (
                *high, *high, pid)
            return real(["bash", "-c", line, "-", *words], pass_fds=high, **how)
        subprocess.Popen = start
        try:
            named = {"LISTEN_FDNAMES": names} if names is not None else {}
            broker.__init__("broker", *options, LISTEN_FDS=n, **named, **CALM)
        finally:
            subprocess.Popen = real
            for fd in high:
                os.close(fd)
        return self.keep(broker)

    def test_a_number_that_cannot_be(self):
        for n in ("33", "two", "-1", "2x"):
            broker = self.broker("frontend:backend", n=n)
            self.assertNotEqual(broker.wait(), 0)
            self.assertIn("LISTEN_FDS=%s: a number of sockets" % n,
                          "".join(broker.err))

    def refused(self, right, *words, **how):
        broker = self.broker(*words, **how)
        self.assertNotEqual(broker.wait(), 0)
        self.assertIn(right, "".join(broker.err))

    def test_names_and_sockets_are_as_many(self):
        for names, n in (("frontend", 2), ("frontend:backend:backend", 2),
                         ("frontend:backend", 1), ("", 2)):
            self.refused("LISTEN_FDNAMES=%s: as many names" % names, names, n=n)

    def test_a_socket_that_is_none(self):
        self.refused("descriptor 5 (backend) was closed",
                     "frontend:backend:backend", n=3)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, \
                socket.socket() as deaf, open("/dev/null") as file:
            udp.bind(("127.0.0.1", 0))
            deaf.bind(("127.0.0.1", 0))
            for odd in (udp, deaf, file):
                self.back, back = odd, self.back
                self.refused("descriptor 4 (backend) is no socket that listens",
                             "frontend:backend")
                self.back = back

    def test_a_socket_twice(self):
        self.back, back = self.front, self.back
        self.refused("is frontend and backend", "frontend:backend")
        self.back = back

    def ask(self):
        """Connects and asks, whether somebody is there or not."""
        s = zmq.Context.instance().socket(zmq.DEALER)
        self.addCleanup(s.close, 0)
        s.connect(self.place)
        s.send_multipart([b"", b"MDPC01", b"Gate", uuid.uuid4().bytes] + [
            msgpack.packb(x) for x in ("get_services", [], {})])
        return s

    def answered(self, s):
        self.assertTrue(s.poll(60000 * kit.SLOW), "no answer")
        return msgpack.unpackb(s.recv_multipart()[4])["result"]

    def test_the_sockets_are_the_brokers_and_outlive_it(self):
        for _ in range(2):
            early = self.ask()
            broker = self.broker("frontend:backend", "--frontend", self.place,
                                 "--backend", "ipc://" + self.path)
            self.assertEqual(broker.line(), "ready frontend=%s backend=ipc://%s" % (
                self.place, self.path))
            self.assertIn("Gate", self.answered(early))
            service = kit.OurService("ipc://" + self.path, **CALM)
            self.assertEqual(kit.run("call", "--broker", self.place, "Demo.add",
                                     "2", "3", **CALM).out, "5\n")
            self.assertEqual((service.end(), broker.end()), (0, 0))
            self.assertTrue(os.path.exists(self.path))  # its owner's

    def test_the_address_may_be_another_of_the_same_port(self):
        port = self.place.rpartition(":")[2]
        broker = self.broker("frontend:backend", "--frontend", "tcp://*:" + port,
                             "--backend", "ipc://" + self.path)
        self.assertIn("frontend=%s " % self.place, broker.line())

    def test_without_names_the_place_says_whose_it_is(self):
        """systemd's own name is the unit's; other managers give none."""
        for names in ("gate.socket:other.socket", None):
            early = self.ask()
            broker = self.broker(names, "--frontend", self.place, "--backend",
                                 "ipc://" + self.path)
            self.assertEqual(broker.line(), "ready frontend=%s backend=ipc://%s"
                             % (self.place, self.path))
            self.assertIn("Gate", self.answered(early))
            self.assertEqual(broker.end(), 0)

    def test_one_that_nobody_would_answer_at(self):
        """Its owner listens: who connects there would wait for ever."""
        for names in ("gate.socket:backend", "frontend:gate.socket", None):
            place = self.ipc("c") if names and names[0] == "f" else \
                "ipc://" + self.path
            broker = self.broker(names, "--frontend", self.ipc("f"), "--backend",
                                 place)
            self.assertEqual(broker.wait(), 2)
            err = "".join(broker.err)
            self.assertIn("nobody would answer at descriptor %d"
                          % (4 if "frontend" in (names or "") else 3), err)
            self.assertIn("'%s' is left alone" % (
                "gate.socket" if names else ""), err)

    def test_another_process_is_meant(self):
        broker = self.broker("frontend:backend", "--frontend", self.ipc("f"),
                             "--backend", self.ipc("c"), pid="1")
        self.assertEqual(broker.line(), "ready frontend=%s backend=%s" % (
            self.ipc("f"), self.ipc("c")))


if __name__ == "__main__":
    kit.main()
