# SPDX-License-Identifier: BSD-3-Clause
"""What a call can fail with. Each class is called as the remote one is; where
Python has one of that name, it is that too: `except ValueError` catches the
ValueError of a handler, `except gate.Error` whatever went wrong."""
import builtins
import threading

#: The library's codes, by name: errors.def.
CODES = ("OK", "RAISED", "TIMEOUT", "NOSERVICE", "NOMETHOD", "BUSY", "LOST",
         "WORKERLOST", "REFUSED", "BADARG", "BADDATA", "TOOBIG", "CANCELLED",
         "CLOSED", "WOULDBLOCK", "NOMEM", "SYSTEM", "EOS", "KEPT", "NOTIMPL")
_NAMES_MAX = 1000  # classes made for names that peers send


class Error(Exception):
    """text: what is wrong; traceback: the remote side's, "" when there is none;
    code: the library's name for the kind, "RAISED", "TIMEOUT", ..."""

    def __init__(self, text="", traceback="", code="RAISED"):
        BaseException.__init__(self, text)
        self.text, self.traceback, self.code = text, traceback, code

    def __str__(self):
        return self.text + ("\n  remote traceback:\n" + self.traceback.rstrip()
                            if self.traceback else "")

    def __reduce__(self):
        return _again, (type(self).__name__, self.text, self.traceback,
                        self.code)


class LibraryMissing(ImportError):
    """libgaterpc is not to be found, or is of another version."""


# Of these Python makes something else of its own on the way up.
_NOT_THESE = (StopIteration, StopAsyncIteration)
_classes = {"Error": Error}
_lock = threading.Lock()


def of(name):
    """The class for a remote one of that name."""
    found = _classes.get(name)
    return found or _make(name)


def _make(name):
    with _lock:
        if name in _classes:
            return _classes[name]
        if len(_classes) >= _NAMES_MAX or not name.isidentifier():
            return Error
        known = getattr(builtins, name, None)
        bases = (Error,)
        if isinstance(known, type) and issubclass(known, Exception) and (
                known not in (Exception, *_NOT_THESE)):
            bases = (Error, known)
        made = type(name, bases, {"__module__": __name__})
        _classes[name] = made
        return made


def _again(name, text, traceback, code):
    return of(name)(text, traceback, code)


def make(code, cls, text, traceback):
    """An exception of what the library told; code is its number."""
    name = CODES[code] if 0 <= code < len(CODES) else "RAISED"
    return of(cls)(text, traceback, name)


TimeoutError = of("TimeoutError")
ServiceUnAvailableError = of("ServiceUnAvailableError")
BusyWorkerError = of("BusyWorkerError")
ConnectionLostError = of("ConnectionLostError")
WorkerLostError = of("WorkerLostError")
AccessDeniedError = of("AccessDeniedError")
CancelledError = of("CancelledError")
