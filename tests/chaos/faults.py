"""Draws a plan of faults from a seed, and injects these faults."""

import os
import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.full_disk import fill
from tests.support.servers import faulty

if TYPE_CHECKING:
    from tests.chaos.world import World

LEASE = 26.0  # seconds: longer than a lease lasts without a sign of life
STORAGE = {
    "503": faulty.UNAVAILABLE,
    "slow down": faulty.SLOW_DOWN,
    "429": faulty.TOO_MANY,
    "reset": faulty.reset,
    "lost answers": faulty.lose,
    "hanging": faulty.hang(2),
    "cut answers": faulty.cut,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`at` seconds after a driver was started; `pick` (0 to 1) chooses among what is there then."""

    at: float
    kind: str
    pick: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} at {self.at:.1f} s (pick {self.pick:.2f}, for {self.seconds:.1f} s)"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The faults of each life of a job; a life lasts from the start of a driver to its end."""

    storage: str
    lives: list[list[Fault]] = field(default_factory=list)


# Relative frequency of each kind of fault, by what the fault needs.
ALWAYS = {
    "kill a process": 8, "kill the driver": 3, "terminate the driver": 2, "interrupt the driver": 1,
    "terminate a process": 2, "pause a process": 2, "pause the job": 1, "kill a node": 1,
    "kill the head": 0.5, "start it twice": 2,
}  # fmt: skip
ON_S3 = {name: 1.0 for name in STORAGE} | {"no permission": 1}
ON_DISK = {"full disk": 3}


def draw(random: random.Random, seconds: float) -> Plan:
    """Draws a plan for a job that takes so many seconds if nothing disturbs it.

    Most faults fall into its middle: later ones would often come too late, since Ray's processes,
    which started with the undisturbed job, are there.
    """
    storage = random.choice(["folder", "s3"])
    weights = ALWAYS | (ON_S3 if storage == "s3" else ON_DISK)
    lives = []
    for _ in range(random.randint(1, 3)):
        faults = []
        for _ in range(random.choice([1, 2, 2, 3, 4])):
            (kind,) = random.choices([*weights], [*weights.values()])
            length = LEASE if kind == "pause the job" else random.uniform(0.5, 6)
            at = random.triangular(0, 0.8 * seconds, 0.45 * seconds)
            faults.append(Fault(at=at, kind=kind, pick=random.random(), seconds=length))
        lives.append(sorted(faults, key=lambda fault: fault.at))
    return Plan(storage=storage, lives=lives)


class Hands:
    """Injects the faults of one life of a job; `again` starts a second process of the same job."""

    def __init__(
        self, world: "World", driver: subprocess.Popen[str], again: Callable[[], None]
    ) -> None:
        self._world, self._driver, self._again = world, driver, again
        self._undo: list[tuple[float, Callable[[], Any]]] = []
        self.done: list[str] = []

    def act(self, fault: Fault, now: float) -> None:
        """Injects a fault. `tick` ends it if it lasts for a limited time."""
        what = fault.kind
        if fault.kind == "kill the driver":
            self._driver.kill()
        elif fault.kind == "terminate the driver":
            self._driver.terminate()
        elif fault.kind == "interrupt the driver":
            self._driver.send_signal(signal.SIGINT)
        elif fault.kind == "kill a node":
            self._world.kill_node()
            self._later(now + fault.seconds, self._world.start)
        elif fault.kind == "kill the head":
            self._world.kill_head()
        elif fault.kind == "start it twice":
            self._again()
        elif fault.kind == "full disk":
            self._fill(now + fault.seconds)
        elif fault.kind == "no permission":
            self._world.proxy.fail(faulty.DENIED, methods=faulty.WRITES)
            self._later(now + fault.seconds, self._world.proxy.heal)
        elif fault.kind in STORAGE:
            self._world.proxy.fail(STORAGE[fault.kind], times=1 + int(8 * fault.pick))
        else:
            what = self._signal(fault, now)
        self.done.append(what)

    def tick(self, now: float) -> None:
        """Ends the faults whose time is over."""
        due = [each for each in self._undo if each[0] <= now]
        self._undo = [each for each in self._undo if each[0] > now]
        for _, undo in due:
            undo()

    def finish(self) -> None:
        """Ends all faults."""
        self.tick(float("inf"))
        self._world.proxy.heal()

    def _later(self, when: float, undo: Callable[[], Any]) -> None:
        self._undo.append((when, undo))

    def _signal(self, fault: Fault, now: float) -> str:
        workers = self._world.workers()
        if fault.kind == "pause the job":
            for process in [self._driver.pid, *workers]:
                self._stop(process, now + fault.seconds)
            self._again()
            return fault.kind
        titles = sorted(set(workers.values()))
        if not titles:
            return f"{fault.kind}: none was there"
        title = titles[int(fault.pick * len(titles))]
        process = min(pid for pid, name in workers.items() if name == title)
        if fault.kind == "pause a process":
            self._stop(process, now + fault.seconds)
        else:
            killed = fault.kind == "kill a process"
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if killed else signal.SIGTERM)
        return f"{fault.kind}: {title[:40]}"

    def _stop(self, process: int, until: float) -> None:
        def go_on() -> None:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGSTOP)
            self._later(until, go_on)

    def _fill(self, until: float) -> None:
        filling = self._world.disk / "filling"
        fill(filling)
        self._later(until, lambda: filling.unlink(missing_ok=True))
