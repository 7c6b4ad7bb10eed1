"""Plays a round: draws a job and a plan, disturbs the job until it ends, checks its results."""

import random
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fmnist.storage.open import open_storage
from tests.chaos import checks
from tests.chaos.faults import Fault, Hands, Plan, draw
from tests.chaos.jobs import Job, all_jobs, copy, make_data, results
from tests.chaos.world import World

LONGEST = 240  # seconds after which a life counts as hanging, or five times the twin's


@dataclass(kw_only=True)
class Round:
    """A round that was played: its job, its faults, and the problems that it found."""

    seed: int
    job: Job
    plan: Plan
    longest: float
    faults: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(kw_only=True)
class Twin:
    """An undisturbed job: its duration, the storage before it, and its results."""

    seconds: float
    before: str
    results: dict[str, Any]


class Torturer:
    """Plays rounds in a world, and runs each undisturbed twin once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._data = world.folder / "data"
        self._data.mkdir()
        self._twins: dict[Job, Twin] = {}
        world.start()
        make_data(self._data)

    def play(self, seed: int, jobs: tuple[Job, ...] | None = None) -> Round:
        """Plays the round of this seed."""
        chance = random.Random(seed)
        drawn = jobs or all_jobs()
        kind = chance.choice(sorted({job.kind for job in drawn}))
        job = chance.choice([job for job in drawn if job.kind == kind])
        self._world.start()
        twin = self._twin(job)
        longest = max(LONGEST, 5 * twin.seconds)
        round = Round(seed=seed, job=job, plan=draw(chance, twin.seconds), longest=longest)
        begin = time.monotonic()
        uri = self._world.root(round.plan.storage)
        storage = open_storage(uri)
        copy(open_storage(twin.before), storage)
        command = job.command(self._data, uri)
        for faults in round.plan.lives:
            self._live(round, command, faults)
            self._restore()
        self._live(round, command, [])
        if round.codes[-1] != 0 or " finished" not in round.logs[-1]:
            round.problems.append(f"left alone it ended with exit code {round.codes[-1]}")
        else:
            try:
                round.problems += checks.differences(results(storage), twin.results)
                round.problems += checks.leftovers(storage) + checks.untold(storage, round.logs)
            except Exception as error:  # a damaged result must not hide the round's seed
                round.problems.append(f"what it left can't be read: {error!r}")
        round.problems += self._world.wait_until_calm()
        if round.plan.storage == "folder":
            if not any("kill" in fault for fault in round.faults):  # a killed process leaves drafts
                round.problems += checks.drafts(Path(uri))
            shutil.rmtree(uri, ignore_errors=True)
        if round.problems:
            self._world.stop()  # so that this round does not disturb the next one
        round.seconds = time.monotonic() - begin
        return round

    def _twin(self, job: Job) -> Twin:
        if job not in self._twins:
            before, after = self._world.folder / f"before {job.name}", self._world.root("s3")
            copy(open_storage(str(self._data / "model")), open_storage(str(before)))
            if first := job.first_night(self._data, str(before)):
                self._run(first)
            copy(open_storage(str(before)), open_storage(after))
            begin = time.monotonic()
            self._run(job.command(self._data, after))
            seconds = time.monotonic() - begin
            found = results(open_storage(after))
            self._twins[job] = Twin(seconds=seconds, before=str(before), results=found)
        return self._twins[job]

    def _run(self, command: list[str]) -> None:
        """Runs a job that nothing disturbs."""
        log = self._world.folder / "undisturbed.log"
        with log.open("w") as output:
            code = self._world.submit(command, output).wait(2 * LONGEST)
        assert code == 0, f"undisturbed it ended with exit code {code}: {log.read_text()}"

    def _live(self, round: Round, command: list[str], faults: list[Fault]) -> None:
        """Runs one life of the job, and of any other job that is started beside it."""
        drivers: list[subprocess.Popen[str]] = []
        logs: list[Path] = []

        def start() -> None:
            number = len(round.logs) + len(logs)
            logs.append(self._world.folder / f"round-{round.seed}-{number}.log")
            with logs[-1].open("w") as output:
                drivers.append(self._world.submit(command, output))

        start()
        hands = Hands(self._world, drivers[0], start)
        begin, waiting = time.monotonic(), list(faults)
        while any(driver.poll() is None for driver in drivers):
            now = time.monotonic() - begin
            if drivers[0].poll() is not None:
                waiting.clear()
            while waiting and waiting[0].at <= now:
                hands.act(waiting.pop(0), now)
            hands.tick(now)
            if now > round.longest:
                round.problems.append(f"a life did not end within {round.longest:.0f} s")
                break
            time.sleep(0.05)
        hands.finish()
        for driver in drivers:
            driver.kill()
            driver.wait()
        round.faults += hands.done
        for driver, log in zip(drivers, logs, strict=True):
            text = log.read_text()
            round.codes.append(driver.returncode)
            round.logs.append(text)
            round.problems += [f"{log.name}: {problem}" for problem in checks.noise(text)]

    def _restore(self) -> None:
        """Starts the nodes again that are missing."""
        if self._world.lost():
            self._world.stop()
        self._world.start()
