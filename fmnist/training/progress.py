"""What a user sees while a run trains: a bar on a terminal, one line an epoch in a job's log."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fmnist.cluster.actors import start_lasting_actor

POLL = 0.5  # seconds
PATIENCE = 20.0  # seconds for an answer, also of a monitor that has to be started again


class RunMonitor:
    """Rank 0 of a run writes here, and its driver reads; an actor, since they are two processes."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._notes: list[str] = []
        self._fraction = 0.0
        self._failure: str | None = None
        self._stopping = self._pausing = False
        self._last: float | None = None  # when a worker was heard of last
        if ray.get_runtime_context().was_current_actor_reconstructed:
            self.note("the process that keeps the progress died and was replaced")

    def started(self, epoch: int, step: int, spans: dict[str, float]) -> None:
        """New workers have made their first step, after so many epochs and steps.

        `spans` are the seconds that it took them, by what they were spent on.
        """
        if self._last is not None:
            seconds = time.monotonic() - self._last
            parts = {"until Ray started new workers": seconds - sum(spans.values()), **spans}
            self.note(
                f"training again after epoch {epoch}, step {step}; {seconds:.1f} s were lost: "
                + ", ".join(f"{value:.1f} s {name}" for name, value in parts.items())
            )
        elif epoch or step:
            self.note(f"going on after epoch {epoch}, step {step}")
        self._last = time.monotonic()

    def step(self, fraction: float) -> bool:
        """`fraction` of all the run's steps are done; the answer is whether to end now."""
        self._fraction, self._last = fraction, time.monotonic()
        return self._stopping or self._pausing

    def stop(self) -> None:
        """The run shall save its state and end."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether `stop` has been called."""
        return self._stopping

    def pause(self) -> None:
        """The workers shall save their state and end; the run goes on later."""
        self._pausing = True

    def go_on(self) -> None:
        """New workers need not pause."""
        self._pausing = False

    def epoch(self, row: dict[str, float], fraction: float) -> None:
        """An epoch is over; `row` is its line of the history."""
        self._rows.append(row)
        self._fraction, self._last = fraction, time.monotonic()

    def note(self, text: str) -> None:
        """Something that the user should know, such as a damaged checkpoint."""
        self._notes.append(text)

    def fail(self, mistake: str) -> None:
        """The worker ends for a reason that the user can mend."""
        self._failure = mistake

    def failure(self) -> str | None:
        """The last such reason."""
        return self._failure

    def read(self) -> tuple[float, list[dict[str, float]], list[str]]:
        """The fraction done, and the rows and notes since the last call."""
        rows, self._rows = self._rows, []
        notes, self._notes = self._notes, []
        return self._fraction, rows, notes


class Notes(logging.Handler):
    """Passes a worker's warnings on to the monitor."""

    def __init__(self, monitor: Any) -> None:
        super().__init__(logging.WARNING)
        self._board = monitor

    def emit(self, record: logging.LogRecord) -> None:
        self._board.note.remote(record.getMessage())


def start_monitor() -> Any:
    """The actor handle of a monitor beside the process that asks for it.

    Ray starts the actor again if its process dies, and makes the calls again that it has not
    answered. What it held is lost: so the driver shows what it is told at once, and repeats that a
    run shall stop.
    """
    return start_lasting_actor(RunMonitor)


@contextmanager
def shown(epochs: int) -> Iterator[Any]:
    """Shows a run of `epochs` epochs until the block ends; yields the monitor's actor handle."""
    monitor = start_monitor()
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(monitor, epochs, over), daemon=True)
    thread.start()
    try:
        yield monitor
    finally:
        over.set()
        thread.join()
        ray.kill(monitor)


def _show(monitor: Any, epochs: int, over: threading.Event) -> None:
    console = Console(soft_wrap=True)
    bar = Progress(
        TextColumn("training"), BarColumn(), TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("training", total=1.0)
        last = False
        while not last:
            last = over.wait(POLL)
            try:
                fraction, rows, notes = ray.get(monitor.read.remote(), timeout=PATIENCE)
            except ray.exceptions.RayError:  # what died is told by whoever waits for the run
                continue
            bar.update(task, completed=fraction)
            for note in notes:
                console.print(note, markup=False, highlight=False)
            for row in rows:
                console.print(line(row, epochs), markup=False, highlight=False)


def line(row: dict[str, float], epochs: int) -> str:
    """One epoch in words; `time left` is at the pace of this epoch."""
    left = row["seconds"] * (epochs - row["epoch"])
    pace = f"{row['seconds']:.1f} s  {row['images_per_second']:.0f} images/s"
    return f"{scores(row, epochs)}  {pace}  {_duration(left)} left"


def scores(row: dict[str, float], epochs: int) -> str:
    """An epoch's number, losses and accuracies in words."""
    text = f"epoch {row['epoch']:.0f}/{epochs}  loss {row['loss']:.4f}"
    text += f"  accuracy {row['accuracy']:.4f}"
    if "val_loss" in row:
        text += f"  validation {row['val_loss']:.4f} {row['val_accuracy']:.4f}"
    return text


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
