# SPDX-License-Identifier: BSD-3-Clause
"""What a stranger says is not obeyed by the terminal, whichever verb prints it. The
broker here lies: it asks a real one, and puts into each text, and each name of a
service, a worker or a method, what a terminal would obey."""
import json
import re
import threading
import unicodedata

import zmq

from cli import CALM, kit
import peers

# C0, DEL, C1 in UTF-8, what turns the direction of writing.
EVIL = "a\x1b[2J\x07\x7f\x9b31m\u202e\r"
FIELD = re.compile(r"[a-z][a-z_0-9]*$")
VERBS = (["call", "Demo.boom"], ["call", "Demo.about"], ["services"],
         ["services", "--stats"], ["services", "--workers"],
         ["inspect", "Demo"], ["brokers"], ["drain", "Nobody"],
         ["health", "--ready"], ["doctor"], ["settings"],
         ["settings", "--json"], ["top", "--once"],
         ["top", "--once", "--view", "methods"],
         ["top", "--once", "--view", "workers"],
         ["top", "--once", "--view", "clients"])


def spoil(value, names=False):
    """names: its keys are names of something, and not fields."""
    if isinstance(value, str):
        return EVIL + value
    if isinstance(value, list):
        return [spoil(v) for v in value]
    if isinstance(value, dict):
        return {(EVIL + k if names or not FIELD.match(k) else k):
                spoil(v, k in ("services", "methods", "settings"))
                for k, v in value.items()}
    return value


def obeyed(text):
    return {c for c in text if c not in "\n\t" and
            unicodedata.category(c) in ("Cc", "Cf")}


class Liar:
    def __init__(self, front, endpoint):
        self.real = peers.RawClient(front)
        self.socket = peers.Raw(zmq.ROUTER, endpoint, bind=True)
        self.fails = False
        self.renames = True
        self.over = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def end(self):
        self.over = True
        self.thread.join()
        self.socket.close()
        self.real.close()

    def _answer(self, service, body):
        rid = peers.new_id()
        self.real.send(b"", peers.MDPC, service, rid, *body[:3])
        reply = self.real.reply(rid)
        func = peers.unpack(body[0])
        if not reply or len(reply) != 1:
            return [peers.failure(EVIL, EVIL, EVIL)]
        answer = peers.unpack(reply[0])
        if func == "info":  # a plain broker, as Python's
            return [peers.result(spoil({**answer["result"], "ext": []}))]
        if answer["exception"] or self.fails and func != "get_services":
            return [peers.failure(EVIL, EVIL + "\n" + EVIL, EVIL)]
        return [peers.result(spoil(answer["result"], self.renames and func in (
            "get_interfaces", "workers", "settings")))]

    def _run(self):
        while not self.over:
            frames = self.socket.within(0.05)
            if frames and len(frames) > 5:
                self.socket.send(*frames[:5],
                                 *self._answer(frames[3], frames[5:]))


class Strangers(kit.Case):
    def setUp(self):
        super().setUp()
        broker = self.keep(kit.OurBroker(**CALM))
        self.keep(kit.OurService(broker.back, **CALM))
        kit.run("call", "--broker", broker.front, "Demo.boom")
        self.liar = Liar(broker.front, self.ipc("liar"))
        self.addCleanup(self.liar.end)

    def is_json(self, words, text):
        try:
            json.loads(text.split("\n")[0])
        except ValueError as e:
            self.fail("%s: %s: %r" % (words, e, text[:200]))

    def test_each_verb(self):
        bad = []
        for self.liar.fails in (False, True):
            for words in VERBS[::3] if self.liar.fails else VERBS:
                done = kit.run(words[0], "--broker", self.ipc("liar"),
                               *words[1:])
                self.assertTrue(done.out or done.err or words == ["brokers"])
                if obeyed(done.out + done.err):
                    bad.append((words, obeyed(done.out + done.err), done))
                if "--json" in words and done.code == 0:
                    self.is_json(words, done.out)
        self.assertEqual(bad, [])

    def test_completion(self):
        """It offers no such name, and shows what is said about the others."""
        for self.liar.renames in (True, False):
            done = kit.run("--complete", "call", "--broker", self.ipc("liar"),
                           "Demo.", gate_complete_ms=60000)
            self.assertEqual(obeyed(done.out), set())
            self.assertEqual("Demo.add\t" in done.out, not self.liar.renames)


if __name__ == "__main__":
    kit.main()
