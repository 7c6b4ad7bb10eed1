"""SIGTERM in a training worker: a notice that the process will end soon, as before its node leaves.

The handler only notes the signal. The training callback asks after each step, and then all ranks
save a checkpoint and end.
"""

import ctypes
import signal
import threading

_received = threading.Event()
_handler_address: int | None = None  # of the C function that Python has set for SIGTERM

_getsig, _setsig = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
_getsig.restype = _setsig.restype = ctypes.c_void_p
_setsig.argtypes = [ctypes.c_int, ctypes.c_void_p]


def install_handler() -> None:
    """Replaces Ray's handler, which ends the process at once; only the main thread may call it."""
    global _handler_address
    signal.signal(signal.SIGTERM, lambda *_: _received.set())
    _handler_address = _getsig(signal.SIGTERM)


def reinstall_handler() -> None:
    """Installs the handler again, from any thread, after TensorFlow has replaced it.

    TensorFlow replaces it when it joins a cluster, by a handler that only warns the other members.
    Python's `signal.signal` is not allowed outside of the main thread, where training runs.
    """
    if _handler_address is not None:
        _setsig(signal.SIGTERM, _handler_address)


def is_notified() -> bool:
    """Returns True once this process has received SIGTERM."""
    return _received.is_set()
