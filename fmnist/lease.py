"""One job does a piece of work, and another that wants the same waits for it.

A lease saves work; nothing rests on it: whatever is published is published whole, once, also if two
jobs should do the same at once.
"""

import json
import logging
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
from fmnist.storage import Storage

log = logging.getLogger(__name__)

LEASE = "lease.json"  # in the folder of what is worked on
BEAT = 5.0  # seconds between two signs of life
EXPIRY = 20.0  # seconds without one, after which a holder counts as dead
POLL = 1.0  # seconds


@contextmanager
def held(storage: Storage, key: str, *, tell: Callable[[str], Any]) -> Iterator[None]:
    """Holds the lease at `key` while the block runs, after waiting for whoever has it.

    Whoever has it and is dead loses it: at once if that can be seen from here, since it was a
    process of this machine, else after `EXPIRY`. `tell` is told once if there is something to wait
    for.
    """
    lease = _Lease(storage, key)
    lease.take(tell)
    over = threading.Event()
    beats = threading.Thread(target=lease.beat, args=(over,), daemon=True)
    beats.start()
    try:
        yield
    finally:
        over.set()
        beats.join()
        lease.leave()


class _Lease:
    def __init__(self, storage: Storage, key: str) -> None:
        self._storage, self._key = storage, key
        self._me = {"token": secrets.token_hex(8), "host": socket.gethostname(), **_process()}
        self._version: str | None = None  # of what we wrote last
        self._beats = 0

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

    def beat(self, over: threading.Event) -> None:
        while not over.wait(BEAT):
            with suppress(UserError):  # a storage that fails now may be back at the next beat
                if not self._write(self._version):
                    log.warning("%s has been taken over by another job", self._key)
                    return

    def leave(self) -> None:
        with suppress(UserError):
            found = self._storage.read_version(self._key)
            if found and found[1] == self._version:
                self._storage.delete(self._key)

    def _write(self, version: str | None) -> bool:
        self._beats += 1
        data = json.dumps(self._me | {"beats": self._beats}).encode()
        if not self._storage.replace(self._key, data, version=version):
            return False
        found = self._storage.read_version(self._key)
        self._version = found[1] if found and found[0] == data else None
        return self._version is not None


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
