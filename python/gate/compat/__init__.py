# SPDX-License-Identifier: BSD-3-Clause
"""The names of gate-rpc 0.2.12 over this library: a program that was written for
it runs with its imports changed, `from gaterpc.core import Worker` to `from
gate.compat.core import Worker`. Both sides speak the same wire, so each process
can be changed when one likes. What is not here (Gate, the cluster) says so."""
from .core import (AMajordomo, AsyncZAPService, Client, Context, Gate, Service,
                   SimpleClient, Worker)
from .exceptions import (BusyGateError, BusyWorkerError, GateUnAvailableError,
                         HugeDataException, RemoteException,
                         ServiceUnAvailableError)
from .global_settings import Settings
from .utils import (HugeData, LazyAttribute, StreamReply, TypeValidator,
                    check_socket_addr, empty, ensure_mkdir, interface,
                    message_pack, msg_pack, msg_unpack, run_in_executor,
                    to_bytes)

__all__ = ["AMajordomo", "AsyncZAPService", "BusyGateError", "BusyWorkerError",
           "Client", "Context", "Gate", "GateUnAvailableError", "HugeData",
           "HugeDataException", "LazyAttribute", "RemoteException", "Service",
           "ServiceUnAvailableError", "Settings", "SimpleClient", "StreamReply",
           "TypeValidator", "Worker", "check_socket_addr", "empty",
           "ensure_mkdir", "interface", "message_pack", "msg_pack",
           "msg_unpack", "run_in_executor", "to_bytes"]
