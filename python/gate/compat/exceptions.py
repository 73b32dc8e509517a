# SPDX-License-Identifier: BSD-3-Clause
"""The exceptions of gate-rpc, by their names."""


class ServiceUnAvailableError(Exception):
    def __init__(self, name):
        super().__init__("The %s Service unavailable." % name)


class GateUnAvailableError(ServiceUnAvailableError):
    def __init__(self):
        super().__init__("Gate")


class BusyWorkerError(Exception):
    def __init__(self):
        super().__init__("No idle worker.")


class BusyGateError(Exception):
    def __init__(self):
        super().__init__("No idle gate.")


class RemoteException(Exception):
    """What the other side raised: a text, or (class, repr, traceback)."""

    def __init__(self, except_info):
        if isinstance(except_info, str):
            text = except_info
        elif isinstance(except_info, (tuple, list)):
            cls, value, trace = except_info
            text = "\n  RemoteTraceback (%s):\n  %s\n  %s" % (cls, value, trace)
        else:
            raise TypeError("except_info must be str or tuple.")
        super().__init__(text)


class HugeDataException(OSError):
    pass


class BadGzip(OSError):
    pass


class DictFull(Exception):
    def __init__(self, maxsize):
        super().__init__("The number of keys in the dict reached the maximum "
                         "of %d." % maxsize)
