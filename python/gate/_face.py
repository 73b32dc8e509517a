# SPDX-License-Identifier: BSD-3-Clause
"""What clients, streams and readers have in common, over the library and by
pyzmq alone. It imports neither."""


class Closes:
    """`with`: close() at the end."""
    __slots__ = ()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ClosesAsync:
    """`async with` and aclose(): close() at the end."""
    __slots__ = ()

    async def aclose(self):
        self.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()


class Connecting:
    """What gate.aio.connect gives: await it, or async with it. cls: the
    client's, made in the loop that awaits."""

    def __init__(self, cls, endpoint, wait, options):
        self._cls, self._endpoint = cls, endpoint
        self._wait, self._options = wait, options
        self._client = None

    async def _make(self):
        client = self._cls(self._endpoint, **self._options)
        if self._wait is not None:
            try:
                await client.ready(self._wait)
            except BaseException:
                client.close()
                raise
        return client

    def __await__(self):
        return self._make().__await__()

    async def __aenter__(self):
        self._client = await self._make()
        return self._client

    async def __aexit__(self, *_):
        self._client.close()
