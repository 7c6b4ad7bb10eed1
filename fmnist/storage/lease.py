"""Leases: one job does a piece of work, and another one that is to do the same waits for it.

A lease only saves work. Results stay right without it: each is published whole and once, even if
two jobs make it at the same time. Two do if the holder was silent for too long (its machine was
paused, or its network was down): it works on beside the job that took over until it notices.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fmnist.errors import UserError
from fmnist.storage.open import Storage

LEASE = "lease.json"  # in the folder of the result
HEARTBEAT = 5.0  # seconds between two signs of life of a holder
EXPIRY = 20.0  # seconds without a heartbeat, after which a holder counts as dead
POLL = 1.0  # seconds between two looks at a lease that another job holds


class LeaseLost(Exception):  # noqa: N818 - an expected outcome, not an error
    """Another job has taken over the work."""


@contextmanager
def hold_lease(
    storage: Storage,
    key: str,
    *,
    notify: Callable[[str], Any],
    on_loss: Callable[[], Any] = lambda: None,
) -> Iterator["Lease"]:
    """Holds the lease at `key` while the block runs, after waiting for its present holder.

    A dead holder loses the lease: at once if it was a process of this machine, else after `EXPIRY`.
    `notify` gets a message for the user when the wait begins, and when the lease is lost; then
    `on_loss` is called too, in another thread. The block should end soon after that.
    """
    lease = Lease(storage, key)
    lease.acquire(notify)
    ended = threading.Event()
    heartbeat = threading.Thread(target=lease.keep, args=(ended, notify, on_loss), daemon=True)
    heartbeat.start()
    try:
        yield lease
    finally:
        ended.set()
        heartbeat.join()
        lease.release()


def is_held(storage: Storage, key: str) -> bool:
    """True if a job has shown within `EXPIRY` that it lives, if this clock is the storage's."""
    written = storage.modification_times(key).get(key)
    return written is not None and datetime.now(UTC) - written < timedelta(seconds=EXPIRY)


class Lease:
    """A lease as one of its holders sees it."""

    def __init__(self, storage: Storage, key: str) -> None:
        self._storage, self._key = storage, key
        self._me = {"token": secrets.token_hex(8), "host": socket.gethostname(), **_process()}
        self._version: str | None = None  # of this holder's last write, as far as it knows
        self._beats = 0
        self._lost = threading.Event()

    def check(self) -> None:
        """Raises LeaseLost once another job has taken over."""
        if self._lost.is_set():
            raise LeaseLost

    def acquire(self, notify: Callable[[str], Any]) -> None:
        """Waits until the lease is free, or its holder dead, and takes it."""
        seen, since, notified = None, time.monotonic(), False
        while True:
            data, version = self._storage.read_version(self._key) or (b"", None)
            if version != seen:
                seen, since = version, time.monotonic()
            holder = _holder(data)
            if version is None or _is_dead(holder) or time.monotonic() - since > EXPIRY:
                if self._write(version):
                    return
            else:
                if not notified:
                    who = f"process {holder.get('pid')} on {holder.get('host')}"
                    notify(f"waiting for another job that does the same ({who})")
                notified = True
                time.sleep(POLL)

    def keep(
        self, ended: threading.Event, notify: Callable[[str], Any], on_loss: Callable[[], Any]
    ) -> None:
        """Renews the lease at each heartbeat, until the work has ended or the lease is lost."""
        while not ended.wait(HEARTBEAT):
            with suppress(UserError):  # a storage that fails now may be back at the next heartbeat
                if not self._renew():
                    self._lost.set()
                    notify(f"another job took over, since this one was silent for {EXPIRY:.0f} s")
                    on_loss()
                    return

    def release(self) -> None:
        """Makes the lease free, if this holder still has it."""
        with suppress(UserError):
            if self._own_version():
                self._storage.delete(self._key)

    def _renew(self) -> bool:
        """Returns False if another job has the lease.

        Where only the answer to the last heartbeat was lost, the lease has a version that this
        holder does not know, although it wrote it.
        """
        return self._write(self._version) or self._write_over_own()

    def _write_over_own(self) -> bool:
        version = self._own_version()
        return version is not None and self._write(version)

    def _own_version(self) -> str | None:
        """The version of the lease if this holder wrote it, else None."""
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
    """Names this process so that others on the same machine find it; only its id outside Linux."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()  # a container has process ids of its own
        return {"machine": f"{boot} {space}", "pid": os.getpid(), "started": _started(os.getpid())}
    return {"pid": os.getpid()}


def _started(pid: int) -> str | None:
    """Start of a process of this machine, in ticks since boot; None if it is not alive.

    Not psutil's `create_time`, which changes when the clock is set: a holder would seem dead.
    """
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
