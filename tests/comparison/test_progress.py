"""What a user sees of a sweep: on a terminal a table of what trains, in a log a few lines."""

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from fmnist.comparison import progress
from fmnist.comparison.progress import SweepProgress
from fmnist.training.monitor import RunUpdate

NAMES = {"r1": "cnn seed 0", "r2": "dense seed 0", "r3": "resnet seed 0"}


def row(epoch: int, *, validation: bool = True):
    scores = {"val_loss": 0.3, "val_accuracy": 0.9} if validation else {}
    return {"epoch": epoch, "loss": 0.25, "accuracy": 0.92, "seconds": 10.0, **scores}


@pytest.fixture
def sweep(request, monkeypatch):
    """A sweep of three runs of ten epochs; `say` tells it what they report."""
    output, updates = io.StringIO(), {}
    monkeypatch.setattr(progress, "ray", SimpleNamespace(get=lambda read: read))
    monkeypatch.setattr(
        progress,
        "Console",
        lambda **options: Console(
            file=output, force_terminal=request.param, width=80, height=9, **options
        ),
    )
    shown = SweepProgress(NAMES, dict.fromkeys(NAMES, 10))

    def read():
        found = dict(updates)
        updates.clear()
        return found

    def trial(run, **result):
        return SimpleNamespace(config={"run": run}, last_result=result)

    def say(run, *rows, notes=(), warnings=()):
        updates[run] = RunUpdate(
            fraction=0.0, rows=list(rows), notes=list(notes), warnings=list(warnings), stage=""
        )
        shown._show_updates()

    shown.follow(SimpleNamespace(read=SimpleNamespace(remote=read)))
    shown.setup()
    return SimpleNamespace(
        start=lambda run: shown.on_trial_start(0, [], trial(run)),
        done=lambda run: shown.on_trial_complete(0, [], trial(run)),
        failed=lambda run: shown.on_trial_complete(0, [], trial(run, failure="no memory")),
        died=lambda run: shown.on_trial_error(0, [], trial(run)),
        say=say,
        close=shown.close,
        text=lambda: re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output.getvalue()),
    )


@pytest.mark.parametrize("sweep", [False, True], indirect=True)
def test_a_warning_of_a_worker_is_logged_and_names_its_run(sweep, caplog) -> None:
    sweep.start("r1")
    sweep.say("r1", warnings=["checkpoint 00003 is damaged and not used"])
    assert caplog.messages == ["cnn seed 0: checkpoint 00003 is damaged and not used"]
    assert "damaged" not in sweep.text()


@pytest.mark.parametrize("sweep", [False], indirect=True)
def test_a_log_has_a_line_of_each_change(sweep) -> None:
    sweep.start("r1")
    sweep.say("r1", row(1), row(2), notes=["going on after epoch 1, step 0"])
    sweep.done("r1")
    sweep.close()
    assert sweep.text().splitlines() == [
        "cnn seed 0: running",
        "cnn seed 0: going on after epoch 1, step 0",
        "cnn seed 0: epoch 2/10  loss 0.2500  accuracy 92.00%  validation 0.3000 90.00%  10.0 s",
        "cnn seed 0: done",
    ]


@pytest.mark.parametrize("sweep", [True], indirect=True)
def test_a_terminal_shows_what_trains_and_keeps_what_ended(sweep) -> None:
    def last():
        """The newest frame, and what was printed above it."""
        text = sweep.text()
        return text[text.rindex("runs ended") - len("0 of 3 ") :]

    assert "0 of 3 runs ended, starting" in sweep.text()
    sweep.start("r1")
    sweep.start("r2")
    assert "2 training" in last() and last().count("starting") == 2
    sweep.say("r1", row(4))
    sweep.say("r2", row(5, validation=False))
    # 6 + 5 epochs of these two and 10 of the third, two at once
    assert "about 0:01:45 left" in last()
    assert "4/10" in last() and "validation accuracy 90.00%" in last()
    assert "training accuracy 92.00%" in last()
    sweep.done("r1")
    assert "cnn seed 0: done, validation accuracy 90.00%\n" in sweep.text()
    sweep.failed("r2")
    assert "2 of 3 runs ended (1 failed)" in last()
    assert "dense" not in last() and "cnn" not in last()
    sweep.died("r3")
    assert "3 of 3 runs ended (2 failed)" in last()
    sweep.close()


@pytest.mark.parametrize("sweep", [True], indirect=True)
def test_the_table_fits_the_terminal(sweep, monkeypatch) -> None:
    names = {f"r{number}": f"cell {number}" for number in range(40)}
    shown = SweepProgress(names, dict.fromkeys(names, 10))
    shown._console, shown._training = Console(width=80, height=9), dict.fromkeys(names)
    assert shown._table().row_count == 5
