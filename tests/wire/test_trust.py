# SPDX-License-Identifier: BSD-3-Clause
"""Connections under a worker's routing id that say nothing, and who may
administer a broker."""
import json
import os
import pwd
import subprocess
import time
import unittest

import zmq

import kit
import peers



def as_nobody(*args):
    """gate as another user of this machine."""
    nobody = pwd.getpwnam("nobody")
    return subprocess.run(
        [kit.GATE, *args], env=kit.environment(), capture_output=True,
        text=True, timeout=60, stdin=subprocess.DEVNULL, cwd="/",
        user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])


class Theft(kit.Case):
    def listen(self, endpoint, ident):
        """Connects under that id and says nothing."""
        thief = peers.CONTEXT.socket(zmq.DEALER)
        thief.linger = 0
        thief.setsockopt(zmq.ROUTING_ID, ident)
        thief.connect(endpoint)
        self.addCleanup(thief.close)
        return thief

    @staticmethod
    def requests(thief):
        n = 0
        while thief.poll(50):
            n += any(b"\xa3add" in f for f in thief.recv_multipart())
        return n

    def honest(self, broker, rounds):
        """So many calls, spread over a second; those that were answered, and
        those that were right."""
        client = peers.RawClient(broker.front)
        for i in range(rounds):
            client.send(b"", peers.MDPC, b"Demo", peers.new_id(),
                        *peers.body("add", [i, 1]))
            time.sleep(1 / rounds)
        got = [m for m in client.drain(3 * kit.SLOW, 20 * kit.SLOW)]
        client.close()
        return len(got), sum(m[-1].endswith(b"exception\xc0") for m in got)

    def test_a_silent_connection_gets_no_requests(self):
        """Each call ends, if need be with an error that says so: libzmq hears
        the worker no more. It registers again under another id."""
        broker = self.keep(kit.OurBroker(mdp_heartbeat_interval=500))
        self.keep(kit.OurService(broker.back, mdp_heartbeat_interval=500))
        found = kit.run("services", "--workers", "--broker", broker.front)
        ident = bytes.fromhex(found.out.split()[1])
        thief = self.listen(broker.back, ident)
        time.sleep(0.2)
        self.assertEqual(self.honest(broker, 100)[0], 100)
        self.until(lambda: kit.run("call", "--broker", broker.front,
                                   "Demo.add", "2", "3").out == "5\n",
                   what="the service is back")
        self.assertEqual(self.honest(broker, 10), (10, 10))
        self.assertEqual(self.requests(thief), 0)

    @staticmethod
    def robbed(broker):
        done = kit.run("call", "--broker", broker.front, "Gate.stats")
        return json.loads(done.out)["workers_robbed"] == 1

    def test_the_service_is_back_before_its_silence_is_over(self):
        """The kernel knows that nothing goes over its connection any more."""
        broker = self.keep(kit.OurBroker(mdp_heartbeat_interval=600000))
        self.keep(kit.OurService(broker.back, mdp_heartbeat_interval=600000))
        found = kit.run("services", "--workers", "--broker", broker.front)
        thief = self.listen(broker.back, bytes.fromhex(found.out.split()[1]))
        self.until(lambda: self.robbed(broker),
                   what="it is noticed")
        self.until(lambda: kit.run("call", "--broker", broker.front,
                                   "Demo.add", "2", "3").out == "5\n",
                   what="the service is back")
        self.assertEqual(self.requests(thief), 0)

    def test_who_speaks_under_its_id_ends_its_connection_too(self):
        """Nothing that is believed; so the worker is back at once, over ipc as
        well, where the kernel does not tell whether anything goes."""
        beat = {"mdp_heartbeat_interval": 600000}
        says = {"a heartbeat": [b"", peers.MDPW, peers.HEARTBEAT],
                "a READY of another": [b"", peers.MDPW, peers.READY, b"Else:x:1"]}
        for i, (what, message) in enumerate(says.items()):
            for back in "tcp://127.0.0.1:*", self.ipc("b%d" % i):
                with self.subTest(back=back, what=what):
                    self.speaks(back, message, beat)

    def speaks(self, back, message, beat):
        zap = self.keep(kit.Command(
            "zap", "--bind", "tcp://127.0.0.1:*", "--user", "ann",
            "--password", "pw"))
        broker = self.keep(kit.OurBroker(
            backend=back, options=("--zap", zap.line().split("=")[1]),
            access="allow ann Gate.*", **beat))
        who = ("--broker", broker.front, "--user", "ann", "--password", "pw")
        self.keep(kit.OurService(broker.back, *who[2:], **beat))
        found = kit.run("services", "--workers", *who)
        thief = self.listen(broker.back, bytes.fromhex(found.out.split()[1]))
        for _ in range(3):
            thief.send_multipart(message)
        self.until(lambda: thief.poll(0), what="it is answered")
        self.until(lambda: kit.run("call", *who, "Demo.add", "2",
                                   "3").out == "5\n",
                   what="the service is back")
        self.assertEqual(self.requests(thief), 0)

    def test_many_newcomers_cost_no_call(self):
        """Honest workers answer the question at once."""
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back))
        for i in range(10):
            self.listen(broker.back, b"newcomer %d" % i)
        self.assertEqual(self.honest(broker, 200), (200, 200))


class Administration(kit.Case):
    def test_our_own_user_on_this_machine(self):
        """Over tcp and ipc alike."""
        for front in "tcp://127.0.0.1:*", self.ipc("f"):
            broker = self.keep(kit.OurBroker(front))
            self.keep(kit.OurService(broker.back))
            for verb in (("services", "--stats"), ("services", "--workers"),
                         ("drain", "Demo")):
                done = kit.run(*verb[:1], "--broker", broker.front, *verb[1:])
                self.assertEqual(done.code, 0, done.err)

    @unittest.skipIf(os.geteuid() != 0, "only root can become another user")
    def test_another_user_of_this_machine(self):
        broker = self.keep(kit.OurBroker())
        self.keep(kit.OurService(broker.back))
        if as_nobody("--version").returncode:
            self.skipTest("nobody cannot run the command where it lies")
        for verb in (("services", "--stats"), ("services", "--workers"),
                     ("drain", "Demo")):
            done = as_nobody(*verb[:1], "--broker", broker.front, *verb[1:])
            self.assertEqual(done.returncode, 4, done.stderr)
            self.assertIn("AccessDeniedError", done.stderr)
        done = as_nobody("call", "--broker", broker.front, "Demo.add", "2",
                         "3")
        self.assertEqual(done.stdout, "5\n", done.stderr)
        done = as_nobody("services", "--broker", broker.front)
        self.assertIn("Demo", done.stdout)


if __name__ == "__main__":
    kit.main()
