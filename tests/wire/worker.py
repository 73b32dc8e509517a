# SPDX-License-Identifier: BSD-3-Clause
"""worker.py BACKEND [NAME]: a worker of Python's kind as a process of its own,
for the fault tests: the service Demo, under an identity made from NAME. Prints
"ready" when the broker's first heartbeat came; SIGTERM ends it."""
import os
import signal
import sys

import peers


def main():
    methods = dict(peers.demo_methods(), slow=lambda n: peers.Later(0.1, -n))
    ident = peers.identity(sys.argv[2]) if len(sys.argv) > 2 else None
    hb = float(os.environ.get("GATE_MDP_HEARTBEAT_INTERVAL", "500")) / 1000
    worker = peers.Worker(sys.argv[1], "Demo", methods, hb=hb, ident=ident,
                          reconnect=True, secure=False)
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    said = False
    while not ended:
        worker.step(0.02)
        if worker.log and not said:
            said = True
            print("ready service=Demo", flush=True)
    worker.disconnect()
    worker.raw.close(linger=1000)


if __name__ == "__main__":
    main()
