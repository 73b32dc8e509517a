# SPDX-License-Identifier: BSD-3-Clause
"""gate -- gaterpc for Python: clients and services over libgaterpc.

    import gate
    with gate.connect("tcp://127.0.0.1:5555") as c:
        print(c.Math.add(2, 3, timeout=1))

asyncio: gate.aio.connect. Services: gate.method, gate.serve, gate.aio.Service.
Errors: gate.errors. The names of gate-rpc: gate.compat. docs/python.md has it all."""
from . import errors
from ._lib import LibraryMissing, quick as _quick
from ._pack import Codec
from .client import Client, File, Reader, Stream, connect
from .errors import Error
from .service import current, method, serve
from . import aio

__all__ = ["aio", "Client", "Codec", "Error", "File", "LibraryMissing",
           "Reader", "Stream", "connect", "current", "errors", "method", "serve",
           "version"]


def version():
    """The library's."""
    return _quick.version().decode()
