# SPDX-License-Identifier: BSD-3-Clause
"""A Python client that sleeps while a stream of 30,000 items comes: what fits
the broker's bounds arrives whole, what does not ends with an explicit error
after a part that is in order; others are served and the broker stays small."""
import os
import time

import kit
import peers

N = 30000
ASLEEP = 12 if kit.LONG else 1.5
# One number bounds what waits for a peer: peer_queue_max_bytes. A quarter of it
# is libzmq's, where it may take 2.3 times as much: docs/reliability.md.
PEER_QUEUE = 8 << 20
MEMORY = PEER_QUEUE * 3 // 4 + PEER_QUEUE * 23 // 40 + (8 << 20)


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * 4096


class SlowReader(kit.Case):
    def setUp(self):
        super().setUp()
        # what a sanitizer keeps of freed memory is not the broker's
        os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=4"
        self.broker = self.keep(kit.OurBroker(
            self.ipc("f"), self.ipc("b"), peer_queue_max_bytes=PEER_QUEUE))
        self.other = self.keep(peers.RawClient(self.broker.front))
        self.reader = self.keep(peers.RawClient(self.broker.front, hwm=100))

    def python_worker(self, item):
        worker = peers.Worker(self.broker.back, "Svc", {
            "gen": lambda n: (item(i) for i in range(n)),
            "add": lambda a, b: a + b}, secure=False)
        self.keep(peers.Background(worker))
        self.until(lambda: worker.log, what="the first heartbeat")

    def asleep(self, service, n=N):
        """The stream is asked for; others call while nobody reads it."""
        before = resident(self.broker.process.pid)
        rid = self.reader.request(service, "gen", [n])
        end, calls, most = time.monotonic() + ASLEEP, 0, 0
        while time.monotonic() < end:
            self.assertEqual(self.other.call(service, "add", calls, 1,
                                             timeout=20), calls + 1)
            calls += 1
            most = max(most, resident(self.broker.process.pid) - before)
        self.assertLess(most, MEMORY * kit.SLOW)
        print("%d calls beside; the broker's memory %+.1f MiB"
              % (calls, most / 1048576), flush=True)
        return rid

    def whole(self, service):
        items, why = self.reader.stream(self.asleep(service))
        self.assertIsNone(why)
        self.assertEqual(items, list(range(N)))

    def test_small_items_of_a_python_worker(self):
        self.python_worker(lambda i: i)
        self.whole("Svc")

    def test_small_items_of_ours(self):
        self.keep(kit.OurService(self.broker.back))
        self.whole("Demo")

    def test_more_than_may_wait(self):
        """60 MB: seven times what may."""
        self.python_worker(lambda i: [i, "x" * 1000])
        items, why = self.reader.stream(
            self.asleep("Svc", 2 * N))
        self.assertEqual([i for i, _ in items], list(range(len(items))))
        self.assertLess(len(items), 2 * N)
        self.assertIsInstance(why, list, why)
        self.assertEqual(why[0], "StreamOverflowError")
        self.assertEqual(self.reader.call("Svc", "add", 2, 3), 5)


if __name__ == "__main__":
    kit.main()
