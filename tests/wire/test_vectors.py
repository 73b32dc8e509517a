# SPDX-License-Identifier: BSD-3-Clause
"""The golden frames, played through our broker: for each call the vectors'
client and worker are played, and what the broker makes of it on either side
must be the vectors' bytes (with masks where the broker itself speaks)."""
import glob
import json
import os

import kit
import peers
from peers import DISCONNECT, HEARTBEAT, MDPW, REQUEST, unpack

VECTORS = os.path.join(kit.HERE, "vectors")
# Functions that the recording broker had of its own.
USERS = {"call_gate_bboom", "call_gate_bgen_2_broker_side_stream"}


def load(name):
    with open(os.path.join(VECTORS, name + ".json")) as f:
        messages = json.load(f)
    return [(m["direction"], m["peer"],
             [bytes.fromhex(x) for x in m["frames"]]) for m in messages]


class Replay(kit.Shared):
    @classmethod
    def start(cls):
        cls.broker = cls.share(kit.OurBroker(mdp_heartbeat_interval=1000))

    def setUp(self):
        super().setUp()
        self.clients = {}
        ready = load("worker_ready_heartbeat")
        self.worker = self.keep(peers.RawWorker(
            self.broker.back, bytes.fromhex(ready[0][1])))
        self.worker.send(*ready[0][2])
        self.assertEqual(self.from_broker(), ready[1][2][2:])
        self.worker.send(*ready[2][2])

    def tearDown(self):
        self.worker.command(DISCONNECT, b"bye")
        self.worker.drain(0.1)

    def from_broker(self, timeout=3.0):
        """The next message from the broker to the worker, from its command
        on; an announcement behind a heartbeat is not the vectors' matter."""
        message = self.worker.recv(timeout)
        self.assertIsNotNone(message, "nothing for the worker")
        self.assertEqual(message[:2], [b"", MDPW])
        return message[2:3] if message[2] == HEARTBEAT else message[2:]

    def next_request(self):
        got = self.worker.expect(REQUEST)
        self.assertIsNotNone(got, "no request for the worker")
        return [REQUEST] + got

    def same_answer(self, got, want):
        """Equal but for what is the broker's own: id and traceback text."""
        self.assertEqual(len(got), len(want))
        self.assertEqual(got[:4], want[:4])
        if got == want:
            return
        a, b = unpack(got[4]), unpack(want[4])
        self.assertEqual(list(a), list(b))
        if b["exception"]:
            self.assertEqual(a["exception"][:2], b["exception"][:2])
            self.assertIsInstance(a["exception"][2], str)
        elif isinstance(b["result"], dict):
            self.assertLessEqual(set(b["result"]), set(a["result"]))
            self.assertEqual(a["result"]["services"], b["result"]["services"])
            self.assertEqual(len(a["result"]["my_id"]), 16)
        else:
            self.assertEqual(a["result"], b["result"])

    def client(self, ident):
        """One connection an identity: without HANDOVER a second would be
        refused as long as the first is there."""
        if ident not in self.clients:
            self.clients[ident] = self.keep(peers.RawClient(
                self.broker.front, bytes.fromhex(ident)))
        return self.clients[ident]

    def play(self, name):
        client = None
        messages = load(name)
        # Recorded at two sockets: the request may stand behind its forward.
        messages.sort(key=lambda m: m[0] != "client->broker")
        for direction, peer, frames in messages:
            if HEARTBEAT in frames[2:3]:
                continue  # timing: test_broker_workers.py
            if direction == "client->broker":
                client = self.client(peer)
                client.send(*frames)
            elif direction == "broker->worker":
                self.assertEqual(self.next_request(), frames[2:])
            elif direction == "worker->broker":
                self.worker.send(*frames)
            elif direction == "broker->client":
                got = client.recv(3)
                self.assertIsNotNone(got, "nothing for the client")
                self.same_answer(got, frames)
        self.assertIsNone(client.recv(0.05), "one message too many")

    def test_calls(self):
        names = [os.path.basename(p)[:-5] for p in
                 sorted(glob.glob(os.path.join(VECTORS, "call_*.json")))]
        self.assertGreater(len(names), 20)
        for name in names:
            if name not in USERS:
                with self.subTest(name):
                    self.play(name)

    def test_simple_client(self):
        """The request of the vector, over REQ, and its answer's bytes."""
        (_, _, request), (_, _, reply) = load("simple_client")
        self.worker.command(DISCONNECT, b"bye")
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.register(request[2].decode())
        simple = self.keep(peers.SimpleClient(self.broker.front))
        simple.send(*request[1:])
        got = worker.expect(REQUEST)
        self.assertEqual(got[1:], [b""] + request[3:])
        worker.answer(got, *reply[4:])
        self.assertEqual(simple.recv(), reply[1:])

    def test_raw_worker(self):
        """READY, heartbeat, duplicate READY, DISCONNECT as recorded."""
        ready, beat, dropped, bye = [f for _, _, f in load("worker_raw_peer")]
        worker = self.keep(peers.RawWorker(self.broker.back))
        worker.send(*ready)
        self.assertEqual(worker.recv(3)[:3], beat)
        worker.send(*ready)
        self.assertEqual(worker.expect(DISCONNECT), dropped[3:])
        worker.send(*ready)
        self.assertIsNotNone(worker.expect(HEARTBEAT))
        worker.send(*bye)
        client = self.keep(peers.RawClient(self.broker.front))
        name = ready[3].split(b":")[0].decode()

        def gone():
            try:
                client.call(name, "f", timeout=1)
            except peers.RemoteError as e:
                return e.cls == "ServiceUnAvailableError"
            except TimeoutError:
                pass
            return False
        self.until(gone, what="its end")

    def test_constants_of_the_peers(self):
        """The peers' own constants are the recorded ones."""
        with open(os.path.join(VECTORS, "constants.json")) as f:
            constants = json.load(f)
        for name, value in (("C_MDP_CLIENT", peers.MDPC),
                            ("C_MDP_WORKER", peers.MDPW),
                            ("C_STREAM_GEN", peers.STREAM),
                            ("C_STREAM_END", peers.END),
                            ("C_STREAM_EXC", peers.EXCEPTION),
                            ("C_HUGE_TAG", peers.HUGE),
                            ("C_HUGE_END", peers.HUGE_END),
                            ("V_SINGLETON_OK", peers.result(42))):
            self.assertEqual(bytes.fromhex(constants[name]), value, name)
        for name, value in constants["UUID5_DNS"].items():
            self.assertEqual(peers.identity(name).hex(), value)

    def test_unknown_gate_function(self):
        """unknown_method_secure_false: ours answers always, as that one."""
        messages = load("unknown_method_secure_false")
        client = self.keep(peers.RawClient(self.broker.front))
        (_, _, request), (_, _, reply) = messages[2:4]
        client.send(*request)
        got = client.recv(3)
        self.assertIsNotNone(got, "no answer")
        self.assertEqual(got[:4], reply[:4])
        self.assertEqual(unpack(got[4])["exception"][0],
                         unpack(reply[4])["exception"][0])



if __name__ == "__main__":
    kit.main()
