"""One job does a piece of work, and another that wants the same waits for it.

A lease saves work; nothing rests on it: whatever is published is published whole, once, also if two
jobs should do the same at once. That happens where a holder was silent for too long (its machine
was paused, its network was away) and works on beside the job that took over, until it is told.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fmnist.errors import UserError
from fmnist.storage.open import Storage

LEASE = "lease.json"  # in the folder of what is worked on
BEAT = 5.0  # seconds between two signs of life
EXPIRY = 20.0  # seconds without one, after which a holder counts as dead
POLL = 1.0  # seconds


class LeaseLost(Exception):  # noqa: N818 - it is an outcome
    """Another job has taken over the work."""


@contextmanager
def hold_lease(
    storage: Storage,
    key: str,
    *,
    tell: Callable[[str], Any],
    on_loss: Callable[[], Any] = lambda: None,
) -> Iterator["Lease"]:
    """Holds the lease at `key` while the block runs, after waiting for whoever has it.

    Whoever has it and is dead loses it: at once if that can be seen from here, since it was a
    process of this machine, else after `EXPIRY`. `tell` is told once if there is something to wait
    for, and if the lease is lost; then `on_loss` is called too, in another thread. The block should
    end soon after that, and may ask for the lease again.
    """
    lease = Lease(storage, key)
    lease.take(tell)
    over = threading.Event()
    beats = threading.Thread(target=lease.beat, args=(over, tell, on_loss), daemon=True)
    beats.start()
    try:
        yield lease
    finally:
        over.set()
        beats.join()
        lease.leave()


class Lease:
    """One holder's view of a lease: whether it still has it."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage, self._key = storage, key
        self._me = {"token": secrets.token_hex(8), "host": socket.gethostname(), **_process()}
        self._version: str | None = None  # of what we wrote last, as far as we know
        self._beats = 0
        self._lost = threading.Event()

    def check(self) -> None:
        """Raises LeaseLost once another job has taken over."""
        if self._lost.is_set():
            raise LeaseLost

    def take(self, tell: Callable[[str], Any]) -> None:
        seen, since, told = None, time.monotonic(), False
        while True:
            data, version = self._storage.read_version(self._key) or (b"", None)
            if version != seen:
                seen, since = version, time.monotonic()
            holder = _holder(data)
            if version is None or _is_dead(holder) or time.monotonic() - since > EXPIRY:
                if self._write(version):
                    return
            else:
                if not told:
                    who = f"process {holder.get('pid')} on {holder.get('host')}"
                    tell(f"waiting for another job that does the same ({who})")
                told = True
                time.sleep(POLL)

    def beat(
        self, over: threading.Event, tell: Callable[[str], Any], on_loss: Callable[[], Any]
    ) -> None:
        while not over.wait(BEAT):
            with suppress(UserError):  # a storage that fails now may be back at the next beat
                if not self._renew():
                    self._lost.set()
                    tell(f"another job took over, since this one was silent for {EXPIRY:.0f} s")
                    on_loss()
                    return

    def leave(self) -> None:
        with suppress(UserError):
            if self._own_version():
                self._storage.delete(self._key)

    def _renew(self) -> bool:
        """Returns False if somebody else has the lease.

        A beat may have been written although it failed, as where only the answer was lost: then
        what is in the way of the next one is our own.
        """
        return self._write(self._version) or self._write_over_own()

    def _write_over_own(self) -> bool:
        version = self._own_version()
        return version is not None and self._write(version)

    def _own_version(self) -> str | None:
        """The version of the lease if it is ours."""
        data, version = self._storage.read_version(self._key) or (b"", None)
        return version if _holder(data).get("token") == self._me["token"] else None

    def _write(self, version: str | None) -> bool:
        self._beats += 1
        data = json.dumps(self._me | {"beats": self._beats}, allow_nan=False).encode()
        written = self._storage.replace(self._key, data, version=version)
        self._version = written or self._version
        return written is not None


def _holder(data: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        holder = json.loads(data)
        if isinstance(holder, dict):
            return holder
    return {}


def _process() -> dict[str, Any]:
    """This process, as others on the same machine can find it; Linux only."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()  # a container has process ids of its own
        return {"machine": f"{boot} {space}", "pid": os.getpid(), "started": _started(os.getpid())}
    return {"pid": os.getpid()}


def _started(pid: int) -> str | None:
    """When a process of this machine started, in ticks since boot; None if it is not alive."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state[0] in "ZX" else state[19]


def _is_dead(holder: dict[str, Any]) -> bool:
    machine, pid = _process().get("machine"), holder.get("pid")
    if machine is None or holder.get("machine") != machine or not isinstance(pid, int):
        return False
    return _started(pid) != holder.get("started")
