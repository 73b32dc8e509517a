# SPDX-License-Identifier: BSD-3-Clause
"""gate -- gaterpc for Python: clients and services over libgaterpc.

    import gate
    with gate.connect("tcp://127.0.0.1:5555") as c:
        print(c.Math.add(2, 3, timeout=1))

asyncio: gate.aio.connect. Services: gate.method, gate.serve, gate.aio.Service.
Errors: gate.errors. The names of gate-rpc: gate.compat. docs/python.md has it all."""
from . import errors
from ._pack import Codec
from .errors import Error, LibraryMissing

try:
    from . import _lib
except LibraryMissing as _e:  # clients by pyzmq alone: gate.plain
    missing = _e
    from .plain import File, aio, connect
    from .plain import Client, Stream
    Reader = current = method = serve = None

    def version():
        """There is no library."""
        raise missing
else:
    missing = None
    from .client import Client, File, Reader, Stream, connect
    from .service import current, method, serve
    from . import aio

    def version():
        """The library's."""
        return _lib.quick.version().decode()

__all__ = ["aio", "Client", "Codec", "Error", "File", "LibraryMissing",
           "Reader", "Stream", "connect", "current", "errors", "method",
           "missing", "serve", "version"]
