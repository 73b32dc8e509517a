# SPDX-License-Identifier: BSD-3-Clause
"""A program in gate-rpc's words, once for all: which library it imports is its
first argument, gaterpc (the original) or gate.compat. Then what it is:
    broker FRONT BACK [ZAP] | worker BACK [USER PASSWORD] | zap ADDR |
    client FRONT [USER PASSWORD] | all FRONT BACK
A client checks what it gets and prints "all as it should be"."""
import asyncio
import hashlib
import importlib
import os
import sys
import tempfile
from pathlib import Path

LIBRARY, WHAT, *REST = sys.argv[1:]
core = importlib.import_module(LIBRARY + ".core")
utils = importlib.import_module(LIBRARY + ".utils")
exceptions = importlib.import_module(LIBRARY + ".exceptions")
Settings = importlib.import_module(LIBRARY + ".global_settings").Settings
interface = utils.interface
TEXT = "0123456789abcdef" * 40000


class Echo(core.Worker):
    @interface
    async def aecho(self, *args, **kwargs):
        return {"args": args, "kwargs": kwargs}

    @interface("thread")
    def secho(self, *args, **kwargs):
        return {"args": args, "kwargs": kwargs}

    @interface("none")
    def necho(self, *args, **kwargs):
        return {"args": args, "kwargs": kwargs}

    @interface
    def gen(self, n):
        for i in range(n):
            yield i

    @interface
    async def agen(self, n):
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    @interface
    async def boom(self):
        raise ValueError("boom!")

    @interface
    async def aboom(self):
        yield 1
        raise ValueError("half way")

    @interface
    async def in_executor(self, n):
        return await utils.run_in_executor(self._loop, self.thread_executor,
                                           sum, range(n))

    @interface
    async def huge(self):
        return utils.HugeData(Settings.HUGE_DATA_END_TAG,
                              Settings.HUGE_DATA_EXCEPT_TAG,
                              data=utils.msg_pack(TEXT))


class Broker(core.AMajordomo):
    @interface
    def length(self, text, **kwargs):
        return len(text), kwargs["__client_id"] != b""


def plain(user=None, password=None):
    return {} if user is None else {
        "zap_mechanism": Settings.ZAP_MECHANISM_PLAIN,
        "zap_credentials": (user, password)}


def ready():
    print("ready", flush=True)


async def broker(front, back, zap=None):
    b = Broker(context=core.Context())
    b.bind_backend(back)
    b.bind_frontend(front)
    if zap:
        b.connect_zap(zap_addr=zap)
    b.run()
    ready()
    await b._broker_task


async def worker(back, user=None, password=None):
    service = core.Service()
    w = service.create_worker(Echo, back, context=core.Context(),
                              **plain(user, password))
    assert w.service is service and "aecho" in w.interfaces
    w._reconnect = True
    w.run()
    ready()
    await w._recv_task


async def zap(addr):
    z = core.AsyncZAPService(addr)
    z.configure_plain(Settings.ZAP_DEFAULT_DOMAIN, {
        Settings.ZAP_PLAIN_DEFAULT_USER: Settings.ZAP_PLAIN_DEFAULT_PASSWORD})
    z.start()
    ready()
    await z._recv_task


async def registered(c):
    """Until the worker is there."""
    while Settings.SERVICE_DEFAULT_NAME not in await c.Gate.get_services():
        await asyncio.sleep(0.05)
    c._remote_services = set(await c.Gate.get_services())


async def client(front, user=None, password=None):
    c = core.Client(broker_addr=front, **plain(user, password))
    await c.connect()
    await registered(c)
    want = {"args": ["a", 1, None], "kwargs": {"k": [b"\xff"]}}
    for method in (c.GateRPC.aecho, c.GateRPC.secho, c.necho):
        assert await method("a", 1, None, k=[b"\xff"]) == want, method
    for method in (c.gen, c.GateRPC.agen):
        assert [i async for i in await method(50)] == list(range(50)), method
    assert [i async for i in await c.gen(0)] == []
    assert await c.in_executor(10) == 45
    try:
        await c.boom()
        raise AssertionError("no error")
    except exceptions.RemoteException as e:
        assert "ValueError" in str(e) and "boom!" in str(e), e
    got = []
    try:
        async for i in await c.aboom():
            got.append(i)
        raise AssertionError("no error")
    except exceptions.RemoteException as e:
        assert got == [1] and "half way" in str(e), (got, e)
    faces = await c.GateRPC.get_interfaces()
    assert "aecho" in faces and "huge" in faces, faces
    found = await asyncio.gather(*(c.necho(i) for i in range(200)))
    assert [f["args"] for f in found] == [[i] for i in range(200)]
    text = await c.huge()
    assert hashlib.sha256(text.encode()).digest() == hashlib.sha256(
        TEXT.encode()).digest()
    if "length" in REST[-1:]:
        assert await c.Gate.length("four") == [4, True]
    if LIBRARY != "gaterpc":
        assert len(c.replies) == 0, c.replies
    c.close()
    print("all as it should be", flush=True)


async def all_in_one(front, back):
    b = Broker(context=core.Context())
    b.bind_backend(back)
    b.bind_frontend(front)
    b.run()
    w = core.Service().create_worker(Echo, back, context=core.Context())
    w.run()
    await client(front)
    assert w.is_alive()
    w.stop()
    b.stop()


async def main():
    Settings.configure("BASE_PATH", Path(tempfile.mkdtemp(
        prefix="run", dir=os.environ["COMPAT_DIR"])))
    Settings.configure("HEARTBEAT", 2000)
    Settings.setup()
    words = [w for w in REST if w != "length"]
    await {"broker": broker, "worker": worker, "zap": zap, "client": client,
           "all": all_in_one}[WHAT](*words)


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # the original keeps executors
