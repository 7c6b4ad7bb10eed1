"""The command `runs`: its tables, its JSON, its exit codes, and that it asks before it removes."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fmnist.registry.champion import promote
from fmnist.run_settings import Training
from fmnist.storage.open import Storage, open_storage
from jobs import runs
from jobs.support.launch import launch
from tests.support.scored_runs import publish_scored

CNN = Training()
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def storage(storage_uri: str) -> Storage:
    return open_storage(storage_uri)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], storage: Storage
) -> Command:
    """Runs the command in this process; returns its exit code and all that it said."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["runs", *words, "--storage", storage.uri])
        code = 0
        try:
            launch(runs.parse, runs.run)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, "".join(capsys.readouterr())

    return run


def test_the_list_is_filtered_and_sorted(storage: Storage, command: Command) -> None:
    best = publish_scored(storage, CNN, accuracy=0.9)
    worst = publish_scored(storage, replace(CNN, seed=1), accuracy=0.5)
    dense = publish_scored(storage, replace(CNN, architecture="dense"), accuracy=0.7)
    storage.write("runs/shapes-cnn-0/begun.json", b"{}")

    def listed(*flags: str) -> list[str]:
        code, shown = command("list", *flags)
        assert code == 0
        return [line.split()[0] for line in shown.splitlines()[1:]]

    assert listed() == [best, dense, worst, "shapes-cnn-0"]
    assert listed("--sort", "id") == sorted([best, dense, worst, "shapes-cnn-0"])
    assert listed("--architecture", "dense") == [dense]
    assert listed("--least", "0.6", "--part", "test") == [best, dense]
    assert command("list", "--architecture", "x") == (0, f"{storage.uri}: found no such run\n")
    code, told = command("list", "--task", "fashion")
    assert code == 2 and "has no run of the task 'fashion', found shapes" in told
    code, told = command("list", "--least", "92")
    assert code == 2 and "least is 92, expected a share" in told
    found = json.loads(command("list", "--json")[1])
    assert [run["id"] for run in found] == [best, dense, worst, "shapes-cnn-0"]
    assert found[0]["details"]["scores"]["test"]["accuracy"] == 0.9
    assert command("best")[1].startswith(f"{best}: finished at 2026-01-31")


def test_one_run_and_two(storage: Storage, command: Command) -> None:
    a = publish_scored(storage, CNN, accuracy=0.9)
    b = publish_scored(storage, replace(CNN, epochs=3), accuracy=0.5)
    shown = command("show", a)[1]
    assert "90.00%" in shown
    (key,) = [key for key in storage.keys(f"runs/{a}") if key.endswith("report.html")]
    assert f"files in {storage.uri}/{key.removesuffix('/report.html')}\n" in shown
    assert json.loads(command("show", a, "--json")[1])["state"] == "finished"
    assert "-40.00 points" in command("diff", a, b)[1]
    found = json.loads(command("diff", a, b, "--json")[1])
    assert found["settings"] == {"epochs": [400, 3]}
    code, told = command("show", a[:-1])
    assert code == 2 and a in told
    code, told = command("best", "--architecture", "resnet")
    assert code == 2 and "no finished run" in told


def test_runs_of_two_tasks_are_not_compared(storage: Storage, command: Command) -> None:
    a = publish_scored(storage, CNN, accuracy=0.9)
    storage.write("runs/birds-cnn-0/begun.json", b"{}")
    code, told = command("diff", a, "birds-cnn-0")
    assert code == 2 and "runs of the tasks shapes and birds" in told
    code, told = command("best")
    assert code == 2 and "expected --task with one of birds, shapes" in told


def test_a_storage_with_brackets_in_its_name_is_a_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["runs", "list", "--storage", "/nowhere[/bold]"])
    with pytest.raises(SystemExit):
        launch(runs.parse, runs.run)
    assert "storage /nowhere[/bold]: there is no such folder" in capsys.readouterr().err


def test_a_damaged_run_is_shown_with_exit_code_1(storage: Storage, command: Command) -> None:
    storage.write("runs/shapes-cnn-0/manifest.json", b"half of it")
    for flags in ((), ("--json",)):
        code, told = command("show", "shapes-cnn-0", *flags)
        assert code == 1 and "found no JSON" in told


def test_verify_ends_with_1_and_names_what_is_damaged(storage: Storage, command: Command) -> None:
    run = publish_scored(storage, CNN, accuracy=0.9)
    assert command("verify") == (0, command("verify")[1])
    (key,) = [key for key in storage.keys(f"runs/{run}") if key.endswith("report.html")]
    storage.write(key, b"another page")
    code, told = command("verify")
    assert code == 1 and f"damaged: {storage.uri}/{key}: found 12 bytes" in told
    code, told = command("verify", "--json")
    assert code == 1 and len(json.loads(told)["damaged"]) == 1


def test_rm_asks_or_needs_yes(
    storage: Storage, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = publish_scored(storage, CNN, accuracy=0.9)
    assert "with --force" in command("rm", run, "--yes")[1]
    code, told = command("rm", run, "--force")
    assert code == 2 and "expected --yes" in told
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with monkeypatch.context() as at_end:  # Ctrl-D
        at_end.setattr("sys.stdin", io.StringIO())
        at_end.setattr("sys.stdin.isatty", lambda: True)
        code, told = command("rm", run, "--force")
        assert code == 0 and "nothing was removed" in told
    for answer, left in (("n", [run]), ("y", [])):
        monkeypatch.setattr("builtins.input", lambda said=answer: said)
        assert command("rm", run, "--force")[0] == 0
        assert storage.folders("runs") == left


def test_rm_refuses_the_champion(storage: Storage, command: Command) -> None:
    run = publish_scored(storage, CNN, accuracy=0.9)
    promote(storage, "shapes", run, expected=None, command="a test")
    assert "champion" in command("list")[1]
    code, told = command("rm", run, "--yes", "--force")
    assert code == 2 and "is the champion" in told
    assert storage.folders("runs") == [run]


def test_nothing_is_made_where_there_is_nothing(fails: Any, tmp_path: Path) -> None:
    assert "there is no such folder" in fails(runs, "list", "--storage", "nowhere")
