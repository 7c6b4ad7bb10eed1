"""Shows a run to its user: a bar on a terminal, and one line for each epoch in a job's log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fmnist.cluster.actors import ending
from fmnist.cluster.polling import polling
from fmnist.cluster.progress_bar import POLL_INTERVAL, format_duration
from fmnist.runs.history import EpochRow
from fmnist.stages import StageLog
from fmnist.training.monitor import MonitorHandle, RunUpdate, start_run_monitor

log = logging.getLogger(__name__)

READ_TIMEOUT = 20.0  # seconds; enough for a monitor that Ray has to start again


@contextmanager
def show_progress(run: str, epochs: int) -> Iterator[MonitorHandle]:
    """Shows a run of `epochs` epochs until the block ends; yields the handle of its monitor."""
    monitor = start_run_monitor(run)
    console = Console(soft_wrap=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    task, stages, has_header = bar.add_task("starting", total=1.0, start=False), StageLog(), False

    def show() -> None:
        nonlocal has_header
        try:
            update: RunUpdate = ray.get(monitor.read.remote(), timeout=READ_TIMEOUT)
        except ray.exceptions.RayError:  # whoever waits for the run gets the error
            return
        if not update.stage:
            bar.start_task(task)
        elif bar.tasks[0].started:  # it pulses again, since nothing is counted
            bar.reset(task, start=False, completed=update.fraction)  # type: ignore[arg-type]
        bar.update(task, completed=update.fraction, description=update.stage or "training")
        if (line := stages.look(update.stage)) and not console.is_terminal:
            console.print(line, markup=False, highlight=False)
        for warning in update.warnings:
            log.warning("%s", warning)
        for note in update.notes:
            console.print(note, markup=False, highlight=False)
        for row in update.rows:
            if not has_header:
                console.print(epoch_header(row), markup=False, highlight=False)
                has_header = True
            console.print(describe_epoch(row, epochs), markup=False, highlight=False)

    with ending(monitor), bar, polling(show, every=POLL_INTERVAL):
        yield monitor


def epoch_header(row: EpochRow) -> str:
    """Two lines above the lines of `describe_epoch`, for rows like this one."""
    validation = "val_loss" in row
    return (
        f"{'':<15}{'training':<18}{'validation' if validation else ''}".rstrip()
        + f"\n{'':<15}{'loss    accuracy':<18}{'loss    accuracy  ' if validation else ''}"
        + "images/s  time left"
    )


def describe_epoch(row: EpochRow, epochs: int) -> str:
    """Describes an epoch in one line; the time left is estimated from this epoch's time."""
    text = f"epoch {row['epoch']}/{epochs}".ljust(15)
    text += f"{row['loss']:<8.4f}{row['accuracy']:<10.2%}"
    if "val_loss" in row:
        text += f"{row['val_loss']:<8.4f}{row['val_accuracy']:<10.2%}"
    left = row["seconds"] * (epochs - row["epoch"])
    return f"{text}{row['images_per_second']:<10,.0f}{format_duration(left)}"
