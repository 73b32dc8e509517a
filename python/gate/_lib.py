# SPDX-License-Identifier: BSD-3-Clause
"""libgaterpc by ctypes: found, declared, nothing more.

quick: functions that never wait, called with the interpreter's lock held (no
thread of the library ever wants it). slow: those that may wait."""
import ctypes as C
import ctypes.util
import glob
import os

from . import errors
from .errors import LibraryMissing

_HERE = os.path.dirname(os.path.abspath(__file__))


def _places():
    """Where it may lie, the best guess first."""
    named = os.environ.get("GATE_LIBRARY")
    if named:
        yield named
        return
    tree = os.path.dirname(os.path.dirname(_HERE))
    if os.path.exists(os.path.join(tree, "CMakePresets.json")):  # not installed
        for build in ("release", "debug"):
            yield os.path.join(tree, "build", build, "libgaterpc.so")
    up = _HERE
    while len(up) > 1 and os.path.basename(up) != "lib":
        up = os.path.dirname(up)
    for pattern in ("libgaterpc.so*", "*/libgaterpc.so*"):  # the same prefix
        yield from sorted(glob.glob(os.path.join(up, pattern)))
    found = ctypes.util.find_library("gaterpc")
    if found:
        yield found


def _find():
    tried = []
    for place in _places():
        if os.path.sep in place and not os.path.exists(place):
            tried.append("%s: not there" % place)
            continue
        try:
            return place, C.CDLL(place)
        except OSError as e:
            tried.append(str(e))
    raise LibraryMissing(
        "libgaterpc.so is not to be found: install libgaterpc, or name it by "
        "GATE_LIBRARY (tried: %s)" % ("; ".join(tried) or "the system's paths"))


class Bytes(C.Structure):
    _fields_ = [("data", C.c_void_p), ("size", C.c_size_t)]

    def copy(self):
        return C.string_at(self.data, self.size) if self.size else b""


class _Value(C.Union):
    _fields_ = [("b", C.c_bool), ("i", C.c_int64), ("u", C.c_uint64),
                ("d", C.c_double), ("p", C.c_void_p)]


class Arg(C.Structure):
    _fields_ = [("type", C.c_int), ("kw", C.c_char_p), ("n", C.c_size_t),
                ("value", _Value)]


class Error(C.Structure):
    _fields_ = [("code", C.c_int), ("cls", C.c_char_p), ("text", C.c_char_p),
                ("traceback", C.c_char_p)]


class HugeOptions(C.Structure):
    _fields_ = [("codec", C.c_char_p), ("level", C.c_int), ("kind", C.c_int),
                ("size", C.c_uint64)]


class Progress(C.Structure):
    _fields_ = [("kind", C.c_int), ("content", C.c_bool), ("done", C.c_uint64),
                ("total", C.c_uint64), ("wire", C.c_uint64)]


P, S, N, I64, INT = C.c_void_p, C.c_char_p, C.c_size_t, C.c_int64, C.c_int
_CALL = [P, S, S, N, S, N, I64, P, N]
_VOID = None
# name: (result, arguments)
_QUICK = {
    "gate_version": (S, []),
    "gate_error": (C.POINTER(Error), []),
    "gate_settings_new": (P, []),
    "gate_settings_parse": (_VOID, [P, S, S]),
    "gate_settings_check": (INT, [P]),
    "gate_settings_destroy": (_VOID, [P]),
    "gate_runtime_new": (P, [P]),
    "gate_client_new": (P, [P]),
    "gate_client_plain": (_VOID, [P, S, S]),
    "gate_client_curve": (_VOID, [P, S, S]),
    "gate_client_identity": (_VOID, [P, S]),
    "gate_caller_new": (P, [P]),
    "gate_caller_fd": (INT, [P]),
    "gate_caller_start": (P, _CALL),
    "gate_caller_cancel": (_VOID, [P, P]),
    "gate_caller_take": (N, [P, I64, P]),
    "gate_caller_open": (INT, _CALL + [P]),
    "gate_stream_fd": (INT, [P]),
    "gate_stream_single": (C.c_bool, [P]),
    "gate_stream_progress": (_VOID, [P, P]),
    "gate_stream_error": (C.POINTER(Error), [P]),
    "gate_stream_destroy": (_VOID, [P]),
    "gate_raw": (Arg, [S, N]),
    "gate_kw_": (Arg, [S, Arg]),
    "gate_meta": (Arg, [S, S]),
    "gate_retry": (Arg, [INT]),
    "gate_huge_arg": (Arg, [P]),
    "gate_huge_destroy": (_VOID, [P]),
    "gate_value_bytes": (Bytes, [P]),
    "gate_value_destroy": (_VOID, [P]),
    "gate_service_new": (P, [P, S]),
    "gate_service_describe": (_VOID, [P, S]),
    "gate_service_limit": (_VOID, [P, INT]),
    "gate_service_plain": (_VOID, [P, S, S]),
    "gate_service_curve": (_VOID, [P, S, S]),
    "gate_service_identity": (_VOID, [P, S]),
    "gate_answerer_new": (P, []),
    "gate_answerer_method": (INT, [P, P, S, S, S]),
    "gate_answerer_fd": (INT, [P]),
    "gate_answerer_take": (N, [P, P]),
    "gate_answerer_return": (_VOID, [P, P, S, N]),
    "gate_answerer_raise": (_VOID, [P, P, S, S, S]),
    "gate_answerer_yield": (INT, [P, P, S, N]),
    "gate_answerer_end": (_VOID, [P, P]),
    "gate_call_raw_args": (P, [P]),
    "gate_call_raw_kwargs": (P, [P]),
    "gate_call_client": (Bytes, [P]),
    "gate_return_": (INT, [P, Arg]),
    "gate_raise": (INT, [P, S, S, S]),
    "gate_obj": (Arg, [P]),
    "gate_value_new_": (P, [Arg]),
    "gate_broker_methods": (_VOID, [P, P, P]),
    "gate_broker_new": (P, [P]),
    "gate_broker_bind": (_VOID, [P, S]),
    "gate_broker_bind_backend": (_VOID, [P, S]),
    "gate_broker_use_zap": (_VOID, [P, S, S]),
    "gate_broker_curve": (_VOID, [P, S, S]),
    "gate_broker_frontend": (S, [P, N]),
    "gate_broker_backend": (S, [P, N]),
    "gate_zap_new": (P, [P, S]),
    "gate_zap_plain": (_VOID, [P, S, S, S]),
    "gate_zap_allow": (_VOID, [P, S]),
    "gate_zap_deny": (_VOID, [P, S]),
    "gate_zap_endpoint": (S, [P]),
}
_SLOW = {
    "gate_runtime_start": (INT, [P]),
    "gate_runtime_reload": (INT, [P]),
    "gate_runtime_destroy": (_VOID, [P]),
    "gate_client_connect": (INT, [P, S]),
    "gate_client_ready": (INT, [P, I64]),
    "gate_client_services": (INT, [P, P]),
    "gate_client_stats": (P, [P]),
    "gate_client_destroy": (_VOID, [P]),
    "gate_caller_destroy": (_VOID, [P]),
    "gate_caller_call": (INT, _CALL + [P]),
    "gate_caller_items": (INT, [P, P, C.c_bool, N, P]),
    "gate_stream_read": (INT, [P, P, P]),
    "gate_huge_arg_data": (P, [P, N, P, P]),
    "gate_huge_arg_fd": (P, [INT, P]),
    "gate_service_start": (INT, [P, S]),
    "gate_service_ready": (INT, [P, I64]),
    "gate_service_drain": (INT, [P, I64]),
    "gate_service_stats": (P, [P]),
    "gate_service_destroy": (_VOID, [P]),
    "gate_answerer_destroy": (_VOID, [P]),
    "gate_broker_start": (INT, [P]),
    "gate_broker_stats": (P, [P]),
    "gate_broker_drain": (INT, [P, I64]),
    "gate_broker_destroy": (_VOID, [P]),
    "gate_zap_start": (INT, [P]),
    "gate_zap_destroy": (_VOID, [P]),
    "gate_curve_keygen": (INT, [S, S]),
}


class _Functions:
    """By their names without gate_ and a last underscore."""

    def __init__(self, library, table):
        for name, (result, arguments) in table.items():
            try:
                function = getattr(library, name)
            except AttributeError:
                raise LibraryMissing(
                    "%s has no %s: it is of another version than this package"
                    % (library._name, name)) from None
            function.restype, function.argtypes = result, arguments
            setattr(self, name[len("gate_"):].rstrip("_"), function)


path, _library = _find()
slow = _Functions(_library, _SLOW)
quick = _Functions(C.PyDLL(path), _QUICK)

OK, BUSY, EOS, CANCELLED = (errors.CODES.index(c)
                            for c in ("OK", "BUSY", "EOS", "CANCELLED"))
TIMEOUT = errors.CODES.index("TIMEOUT")


def text(s):
    return s.encode() if isinstance(s, str) else s


def failure(told=None):
    """This thread's last failure, or another one, as an exception."""
    e = (told or quick.error()).contents
    return errors.make(e.code, *(x.decode("utf-8", "replace")
                                 for x in (e.cls, e.text, e.traceback)))


def check(code):
    if code:
        raise failure()


def made(pointer):
    if not pointer:
        raise failure()
    return pointer


def destroy(function, pointer):
    """The library's destroy functions take a pointer's address."""
    if pointer:
        function(C.byref(C.c_void_p(pointer)))


def ms(seconds):
    """Seconds as the library's milliseconds; None: what the settings say."""
    if seconds is None:
        return -1
    if seconds < 0:
        raise ValueError("timeout=%r: seconds, 0 or more" % (seconds,))
    return min(int(seconds * 1000 + 0.999), 2 ** 62)


def left_ms(seconds):
    """For functions that wait; None: for ever."""
    return -1 if seconds is None else ms(seconds)


# ---- fork -------------------------------------------------------------------
generation = [0]


def _in_child():
    generation[0] += 1


os.register_at_fork(after_in_child=_in_child)


def same_process(born):
    if born != generation[0]:
        raise errors.of("RuntimeError")(
            "made before fork(): its threads are in the parent alone; connect "
            "in the child", "", "CLOSED")
