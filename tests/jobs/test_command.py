"""The command `fmnist`: it starts the jobs, answers at once, and completes flags in a shell."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from fmnist.comparison.grid.cells import COMPARISONS, ComparisonName
from fmnist.recipes import RECIPES, RecipeName
from fmnist.tasks import TASKS, TaskName
from jobs.command import JOBS, main
from tests.support.paths import ROOT

HEAVY = ("ray", "tensorflow", "pyarrow", "pandas", "numpy", "boto3")
# Prints which modules that take time were imported when the process ended.
WATCHED = f"""
import sys
from jobs.command import main
sys.argv = ["fmnist", *sys.argv[1:]]
try:
    main()
finally:
    print("imported", sorted(set({HEAVY!r}) & set(sys.modules)))
"""


def watched(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WATCHED, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def says(monkeypatch, capsys, *arguments: str, code: int) -> str:
    """Returns what the command prints before it ends with that code."""
    monkeypatch.setattr(sys, "argv", ["fmnist", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert (end.value.code or 0) == code
    return "".join(capsys.readouterr())


@pytest.mark.parametrize("job", JOBS)
def test_help_imports_nothing_that_takes_time(job: str) -> None:
    done = watched(job, "--help")
    assert done.returncode == 0 and done.stdout.endswith("imported []\n"), done.stdout
    assert f"usage: fmnist {job} " in done.stdout


def test_a_training_job_imports_neither_ray_data_nor_what_its_workers_import() -> None:
    """All that it imports before the first step, if its images are raw."""
    heavy = ("ray.data", "ray.train", "ray.tune", "pandas", "sklearn", "scipy", "tensorflow")
    script = (
        "import sys, jobs.support.images, jobs.support.ingest, jobs.support.results\n"
        "import fmnist.training.run\n"
        f"print(sorted(set({heavy!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_help_says_in_words_what_a_flag_takes() -> None:
    shown = watched("train", "--help").stdout
    for flag in (
        "--resume TEXT ",
        "--epochs N ",
        "--test NUMBER ",
        "--workers N | TEXT ",
        "--optimizer {adam | rmsprop | sgd | muon} ",
        "--task {fashion | competition} | TEXT ",
    ):
        assert f"│ {flag}" in shown, flag


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (("train", "--epochs", "0", "--size", "big"), "2 mistakes"),
        (("train", "--epoch", "1"), "--epochs"),
        (("train", "--epochs", "ten"), "--epochs: found 'ten', expected a whole number"),
        (("train", "--seed", "1.5"), "--seed: found '1.5', expected a whole number"),
        (("retrain", "--max-drift", "low"), "--max-drift: found 'low', expected a number"),
        (("train", "--recipe", "slow"), "unknown recipe"),
        (("train", "--recipe", "quik"), "did you mean quick?"),
        (("compare", "--architecture", "vgg"), "unknown architecture 'vgg'"),
        (("score",), "--run"),
        (("score", "--run", "r1", "--actors", "0", "--tta", "x"), "2 mistakes"),
        (("retrain", "--actors", "3:1"), "actors is 3:1"),
        (("retrain", "--margin", "2"), "margin is 2.0"),
        (("export", "--to", "x", "--task", "birds"), "unknown task 'birds'"),
        (("runs", "lst"), "list"),
        (("runs", "list", "--part", "all"), "--part"),
        (("runs", "list", "--sort", "date"), "--sort"),
        (("export", "--to", "x", "--format", "xml"), "unknown format 'xml'"),
    ],
)
def test_mistakes_are_told_before_anything_is_imported(
    mistake: tuple[str, ...], message: str
) -> None:
    done = watched(*mistake)
    assert done.returncode == 2 and done.stdout.endswith("imported []\n"), done.stdout
    assert message in done.stdout + done.stderr


def test_without_a_job_all_are_listed_within_80_columns(monkeypatch, capsys) -> None:
    for arguments in ((), ("--help",)):
        monkeypatch.setattr(sys, "argv", ["fmnist", *arguments])
        main()
        shown = capsys.readouterr().out
        assert all(f"\n  {job} " in shown for job in JOBS)
        assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("names", "known"),
    [(RecipeName, RECIPES), (TaskName, TASKS), (ComparisonName, COMPARISONS)],
    ids=["recipes", "tasks", "comparisons"],
)
def test_all_names_are_completed(names: Any, known: Mapping[str, object]) -> None:
    assert get_args(names) == tuple(known)


def test_every_job_is_a_command() -> None:
    jobs = [path.stem for path in (ROOT / "jobs").glob("*.py") if "def run(" in path.read_text()]
    assert sorted(jobs) == sorted(JOBS)


def test_it_tells_its_version(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["fmnist", "--version"])
    monkeypatch.setattr("jobs.command.version", {"fmnist": "1.2"}.__getitem__)
    main()
    assert capsys.readouterr().out == "fmnist 1.2\n"


def test_a_mistyped_command_names_the_nearest(monkeypatch, capsys) -> None:
    told = says(monkeypatch, capsys, "trian", code=2)
    assert "unknown command 'trian', did you mean train?" in told
    assert "Expected one of bash, zsh, fish" in says(
        monkeypatch, capsys, "completion", "csh", code=2
    )


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (("re",), "retrain"),
        (("train", "--opti"), "--optimizer"),
        (("train", "--augm"), "--augmentation"),
        (("export", "--form"), "--format"),
        (("train", "--optimizer", ""), "adam rmsprop sgd muon"),
        (("train", "--architecture", "resnet9"), "resnet9 resnet9-brightness"),
        (("train", "--recipe", "fashion-4"), "fashion-4min fashion-40min"),
        (("score", "--task", ""), "fashion competition"),
        (("compare", "--comparison", "a"), "architectures activations"),
        (("comp",), "compare completion"),
        (("score", "--prob"), "--probabilities"),
        (("runs", "ver"), "verify"),
        (("runs", "list", "--le"), "--least"),
    ],
)
def test_bash_completes_commands_flags_and_values(
    typed: tuple[str, ...], completed: str, monkeypatch, capsys, tmp_path: Path
) -> None:
    script = tmp_path / "completion.sh"
    script.write_text(says(monkeypatch, capsys, "completion", "bash", code=0))
    press_tab = (
        f'source {script}; COMP_WORDS=(fmnist "$@"); COMP_CWORD=$#; _tyro_fmnist; '
        "echo ${COMPREPLY[@]}"
    )
    command = ["bash", "-c", press_tab, "bash", *typed]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == completed
