"""Shows a run to its user: a bar on a terminal, and one line for each epoch in a job's log."""

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fmnist.cluster.polling import polling
from fmnist.cluster.progress_bar import POLL_INTERVAL, format_duration
from fmnist.runs.history import EpochRow
from fmnist.stages import StageLog
from fmnist.training.monitor import MonitorHandle, RunUpdate, start_run_monitor

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
    task, stages = bar.add_task("starting", total=1.0), StageLog()

    def show() -> None:
        try:
            update: RunUpdate = ray.get(monitor.read.remote(), timeout=READ_TIMEOUT)
        except ray.exceptions.RayError:  # whoever waits for the run gets the error
            return
        bar.update(task, completed=update.fraction, description=update.stage or "training")
        if (line := stages.look(update.stage)) and not console.is_terminal:
            console.print(line, markup=False, highlight=False)
        for note in update.notes:
            console.print(note, markup=False, highlight=False)
        for row in update.rows:
            console.print(describe_epoch(row, epochs), markup=False, highlight=False)

    try:
        with bar, polling(show, every=POLL_INTERVAL):
            yield monitor
    finally:
        ray.kill(monitor)


def describe_epoch(row: EpochRow, epochs: int) -> str:
    """Describes an epoch in one line; the time left is estimated from this epoch's time."""
    left = row["seconds"] * (epochs - row["epoch"])
    pace = f"{row['seconds']:.1f} s  {row['images_per_second']:.0f} images/s"
    return f"{describe_scores(row, epochs)}  {pace}  {format_duration(left)} left"


def describe_scores(row: EpochRow, epochs: int) -> str:
    """Describes an epoch's number, losses and accuracies."""
    text = f"epoch {row['epoch']:.0f}/{epochs}  loss {row['loss']:.4f}"
    text += f"  accuracy {row['accuracy']:.4f}"
    if "val_loss" in row:
        text += f"  validation {row['val_loss']:.4f} {row['val_accuracy']:.4f}"
    return text
