# SPDX-License-Identifier: BSD-3-Clause
"""The runtime that clients and services of this process share, and the order in
which everything is closed at exit."""
import atexit
import threading
import weakref

from . import _lib

_lock = threading.Lock()
_shared = [None]
_open = weakref.WeakSet()  # what has a close()


class Runtime:
    """settings: {"reply_timeout": 5, ...}, docs/settings.md. Without any, one
    is shared by all of the process."""

    def __init__(self, settings=None):
        self.born = _lib.generation[0]
        made = _lib.made(_lib.quick.settings_new())
        try:
            for name, value in (settings or {}).items():
                _lib.quick.settings_parse(made, _lib.text(name),
                                          _lib.text(_word(value)))
            _lib.check(_lib.quick.settings_check(made))
            self.c = _lib.made(_lib.quick.runtime_new(made))
        finally:
            _lib.destroy(_lib.quick.settings_destroy, made)
        _lib.check(_lib.slow.runtime_start(self.c))

    def __del__(self):
        if getattr(self, "c", None) and self.born == _lib.generation[0]:
            _lib.destroy(_lib.slow.runtime_destroy, self.c)


def _word(value):
    return ("true" if value else "false") if isinstance(value, bool) else str(
        value)


def runtime(settings=None):
    if settings:
        return Runtime(settings)
    with _lock:
        if _shared[0] is None or _shared[0].born != _lib.generation[0]:
            _shared[0] = Runtime()
        return _shared[0]


def opened(thing):
    _open.add(thing)


@atexit.register
def _close_all():
    for thing in list(_open):
        try:
            thing.close()
        except Exception:  # at exit there is nobody to tell
            pass
