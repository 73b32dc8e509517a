# SPDX-License-Identifier: BSD-3-Clause
"""gate.aio beside gate-rpc's own client and worker, in pairs: each round measures
both against the same broker and service, one after the other.

    GATERPC=FOLDER python3 bench/python_client.py GATE [rounds]

GATE is the command; FOLDER has gate-rpc's source (without it: ours alone). Prints
calls/s of each round, the medians, and the median of the rounds' ratios. Service:
the demo service for clients; for services the same method, echo, in Python, under
our client."""
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SECONDS = 2.0


def child(what, *args):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [os.path.join(ROOT, "python"), *os.environ.get("GATERPC", "").split()])}
    env.pop("GATERPC", None)
    return subprocess.Popen([sys.executable, "-B", os.path.abspath(__file__),
                             "--as", what, *args], text=True, env=env,
                            start_new_session=True, stdout=subprocess.PIPE)


async def rate(call, outstanding):
    """calls/s with so many under way."""
    end, n = time.perf_counter() + SECONDS, 0

    async def some():
        nonlocal n
        while time.perf_counter() < end:
            await call()
            n += 1
    begin = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(outstanding)))
    return n / (time.perf_counter() - begin)


async def client_ours(front, service):
    import gate
    async with gate.aio.connect(front, wait=20) as c:
        echo = c[service]["echo"]

        async def call():
            await echo("a", 1)
        await call()
        return [await rate(call, 1), await rate(call, 100)]


async def client_theirs(front, service):
    from gaterpc.core import Client
    c = Client(broker_addr=front)
    await c.connect()
    method = getattr(getattr(c, service), "echo")

    async def call():
        await method("a", 1)
    await call()
    return [await rate(call, 1), await rate(call, 100)]


async def worker_ours(back):
    import gate

    class Echo:
        @gate.method
        async def echo(self, *args):
            return list(args)
    async with gate.aio.Service("PyOurs", Echo()) as service:
        await service.start(back, wait=20)
        print("ready", flush=True)
        await asyncio.Event().wait()


async def worker_theirs(back):
    from gaterpc.core import Service, Worker
    from gaterpc.utils import interface

    class Echo(Worker):
        @interface
        async def echo(self, *args):
            return args
    worker = Service("PyTheirs").create_worker(Echo, back)
    worker._reconnect = True
    worker.run()
    print("ready", flush=True)
    await worker._recv_task


def play(what, *args):
    folder = tempfile.mkdtemp()
    if what.endswith("theirs"):
        from pathlib import Path
        from gaterpc.global_settings import Settings
        Settings.configure("BASE_PATH", Path(folder))

        async def run():
            Settings.setup()
            return await globals()[what](*args)
        got = asyncio.run(run())
    else:
        got = asyncio.run(globals()[what](*args))
    if got:
        print(*got, flush=True)
    os._exit(0)


def measure(what, *args):
    p = child(what, *args)
    line = p.communicate(timeout=120)[0].split()
    if len(line) != 2:
        raise SystemExit("%s failed" % what)
    return [float(x) for x in line]


def report(what, rounds):
    """rounds: of pairs (ours, theirs or None)."""
    for i, name in enumerate(("1 under way", "100 under way")):
        ours = [o[i] for o, _ in rounds]
        print("%s, %s: ours %.0f calls/s (%.0f..%.0f)" % (
            what, name, statistics.median(ours), min(ours), max(ours)), end="")
        theirs = [t[i] for _, t in rounds if t]
        if theirs:
            ratios = [o[i] / t[i] for o, t in rounds]
            print(", gate-rpc %.0f (%.0f..%.0f), %.2f times (%.2f..%.2f)" % (
                statistics.median(theirs), min(theirs), max(theirs),
                statistics.median(ratios), min(ratios), max(ratios)), end="")
        print(flush=True)


def end(*processes):
    for p in processes:
        os.killpg(p.pid, 9)
        p.wait()


def main(gate_command, rounds=3):
    both = "GATERPC" in os.environ
    with tempfile.TemporaryDirectory() as folder:
        front, back = ("ipc://%s/%s" % (folder, x) for x in "fb")
        broker = subprocess.Popen([gate_command, "broker", "--frontend", front,
                                   "--backend", back], text=True,
                                  start_new_session=True,
                                  stdout=subprocess.PIPE)
        broker.stdout.readline()
        demo = subprocess.Popen([gate_command, "serve", "--demo", "--backend",
                                 back], text=True, start_new_session=True,
                                stdout=subprocess.PIPE)
        demo.stdout.readline()
        report("client", [(measure("client_ours", front, "Demo"),
                           measure("client_theirs", front, "Demo")
                           if both else None) for _ in range(int(rounds))])
        end(demo)
        workers = [child("worker_ours", back)]
        if both:
            workers.append(child("worker_theirs", back))
        for w in workers:
            w.stdout.readline()
        time.sleep(0.5)
        report("service", [(measure("client_ours", front, "PyOurs"),
                            measure("client_ours", front, "PyTheirs")
                            if both else None) for _ in range(int(rounds))])
        end(broker, *workers)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        play(*sys.argv[2:])
    elif len(sys.argv) < 2:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
