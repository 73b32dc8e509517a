# SPDX-License-Identifier: BSD-3-Clause
"""Settings: gate-rpc's names, and what the library is told of them."""
import copy
import os
from importlib import import_module
from logging.config import dictConfig
from pathlib import Path

from .utils import LazyAttribute, TypeValidator, empty, ensure_mkdir


def _folder(name):
    """BASE_PATH/name unless it was set; made when it is asked for."""
    return LazyAttribute(
        render=lambda s, p: ensure_mkdir(s.BASE_PATH / name if p is empty
                                         else p),
        process=lambda s, p: TypeValidator(Path)(p))


def _or(make):
    return LazyAttribute(render=lambda s, p: make(s) if p is empty else p)


class GlobalSettings:
    DEBUG = LazyAttribute(0, process=lambda s, p: TypeValidator(int)(p))
    ENVIRONMENT = LazyAttribute({}, process=lambda s, p: TypeValidator(dict)(p))
    BASE_PATH = LazyAttribute(Path("/tmp/gate-rpc/"),
                              render=lambda s, p: ensure_mkdir(p),
                              process=lambda s, p: TypeValidator(Path)(p))
    RUN_PATH, LOG_PATH = _folder("run"), _folder("log")
    HEARTBEAT = 5000  # ms
    TIMEOUT = 30.0  # s
    WINDOWS_MAX_WORKERS = 61
    WORKER_ADDR = "ipc:///tmp/gate-rpc/w1"
    USER_SETTINGS = LazyAttribute(
        render=lambda s, p: import_module(p) if isinstance(p, str)
        else (None if p is empty else p))
    SECURE = True
    ZMQ_CONTEXT, ZMQ_SOCK = {}, {}
    ZAP_VERSION, ZAP_DEFAULT_DOMAIN = b"1.0", "gate"
    ZAP_MECHANISM_NULL, ZAP_MECHANISM_PLAIN = b"NULL", b"PLAIN"
    ZAP_MECHANISM_CURVE, ZAP_MECHANISM_GSSAPI = b"CURVE", b"GSSAPI"
    ZAP_PLAIN_DEFAULT_USER = "\u5821\u5792"
    ZAP_PLAIN_DEFAULT_PASSWORD = "\u54d4" * 5
    ZAP_ADDR = _or(lambda s: "ipc://%s" % (s.RUN_PATH / "gate.zap"))
    ZAP_REPLY_TIMEOUT = 5.0
    MDP_HEARTBEAT_INTERVAL = _or(lambda s: s.HEARTBEAT)
    MDP_HEARTBEAT_LIVENESS = 3
    MDP_INTERNAL_SERVICE, MDP_VERSION = "Gate", "01"
    MDP_CLIENT = _or(lambda s: b"MDPC" + s.MDP_VERSION.encode())
    MDP_WORKER = _or(lambda s: b"MDPW" + s.MDP_VERSION.encode())
    MDP_COMMAND_READY, MDP_COMMAND_REQUEST = b"\x01", b"\x02"
    MDP_COMMAND_REPLY, MDP_COMMAND_HEARTBEAT = b"\x03", b"\x04"
    MDP_COMMAND_DISCONNECT = b"\x05"
    MDP_DESCRIPTION_SEP = ":"
    MESSAGE_MAX = 5000
    STREAM_REPLY_MAXSIZE = 1024
    STREAM_GENERATOR_TAG = b"GateStreamGenerator"
    STREAM_EXCEPT_TAG = b"GateStreamException"
    STREAM_END_TAG = b"GateStreamEnd"
    STREAM_HUGE_DATA_TAG = b"GateStreamHugData"
    HUGE_DATA_SIZEOF = 1000
    HUGE_DATA_COMPRESS_MODULE, HUGE_DATA_COMPRESS_LEVEL = "gzip", 1
    HUGE_DATA_END_TAG = b"HugeDataEND"
    HUGE_DATA_EXCEPT_TAG = b"HugeDataException"
    SERVICE_DEFAULT_NAME = "GateRPC"
    REPLY_TIMEOUT = _or(lambda s: 2 * s.TIMEOUT)
    GATE_CLUSTER_NAME = "GateCluster"
    GATE_CLUSTER_DESCRIPTION = "GateRPC cluster service"
    GATE_VERSION, GATE_MEMBER = "01", b"GATE01"
    GATE_CURVE_PUBKEY = GATE_CURVE_KEY = b""
    GATE_IP_VERSION = 4
    GATE_MULTICAST_GROUP, GATE_MULTICAST_PORT = "224.0.7.7", 9777
    GATE_MULTICAST_TTL, GATE_MULTICAST_HOP_LIMIT = 2, 255
    LOGGING = LazyAttribute(process=lambda s, p: TypeValidator(dict)(p))

    def configure(self, name, value):
        if isinstance(value, LazyAttribute):
            value.__set_name__(GlobalSettings, name)
            setattr(GlobalSettings, name, value)
        else:
            setattr(self, name, value)

    def setup(self, **options):
        user = self.USER_SETTINGS
        for name in dir(user) if user else ():
            if name.isupper() and not name.startswith("_"):
                self.configure(name, getattr(user, name))
        for name, value in options.items():
            self.configure(name, value)
        for folder in (self.BASE_PATH, self.RUN_PATH, self.LOG_PATH):
            folder.mkdir(parents=True, exist_ok=True)
        os.environ.update({k: str(v) for k, v in self.ENVIRONMENT.items()})
        if self.LOGGING:
            dictConfig(self._logging(copy.deepcopy(self.LOGGING)))

    def _logging(self, config):
        """Its handlers are ours; files without a name lie in LOG_PATH."""
        for name, handler in config.get("handlers", {}).items():
            if isinstance(handler.get("filename"), type(empty)):
                handler["filename"] = str(self.LOG_PATH / (name + ".log"))

        def ours(node):
            if isinstance(node, dict):
                return {k: ours(v) for k, v in node.items()}
            if isinstance(node, str) and node.startswith("gaterpc.utils."):
                return "gate.compat.utils." + node[len("gaterpc.utils."):]
            return node
        return ours(config)

    def library(self, **more):
        """As the library's settings."""
        told = {
            "mdp_heartbeat_interval": self.MDP_HEARTBEAT_INTERVAL,
            "mdp_heartbeat_liveness": self.MDP_HEARTBEAT_LIVENESS,
            "message_max": self.MESSAGE_MAX,
            "service_default_name": self.SERVICE_DEFAULT_NAME,
            "reply_timeout": self.REPLY_TIMEOUT,
            "zap_reply_timeout": self.ZAP_REPLY_TIMEOUT,
            "huge_data_compress_module": self.HUGE_DATA_COMPRESS_MODULE,
            "huge_data_compress_level": self.HUGE_DATA_COMPRESS_LEVEL,
        }
        told.update(more)
        return told


Settings = GlobalSettings()
