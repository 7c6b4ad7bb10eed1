"""What jobs print at their end, and that quiet ones print nothing but a path and warnings."""

import json
import logging
import subprocess
import sys
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fmnist.pages.scores import SPLITS
from fmnist.run_settings import Training
from fmnist.runs.ids import run_folder
from fmnist.storage.manifest import Manifest, publish, read_manifest
from fmnist.storage.open import Storage, open_storage
from jobs.support import results
from jobs.support.launch import USER_ERROR, launch
from jobs.support.output import print_facts, print_path, print_table
from jobs.support.results import print_cells, print_predictions, print_retraining, print_run
from tests.support.paths import ROOT
from tests.support.scored_runs import publish_scored

WIDTH = 80  # of a small terminal; only paths may be longer


@dataclass(frozen=True)
class Flags:
    quiet: bool = False
    dry_run: bool = False


@pytest.fixture
def published(tmp_path: Path) -> tuple[Storage, Manifest]:
    storage = open_storage(str(tmp_path / "results"))
    run = publish_scored(storage, Training(), accuracy=0.9)
    manifest = read_manifest(storage, run_folder(run))
    assert manifest is not None
    return storage, manifest


def test_a_run_ends_with_a_table_its_files_and_one_path_to_open(
    published: tuple[Storage, Manifest], capsys: pytest.CaptureFixture[str]
) -> None:
    storage, manifest = published
    page = Path(print_run(storage, manifest))
    lines = capsys.readouterr().out.splitlines()
    scores = manifest.details["scores"]
    assert lines[0] == f"run {manifest.id} is finished"
    assert [line.split() for line in lines[1:5]] == [
        ["images", "number", "loss", "accuracy", "95%", "interval"],
        *(
            [name, "400", f"{scores[part]['loss']:.4f}", "90.00%", "86.67%–92.57%"]
            for part, name in SPLITS.items()
        ),
    ]
    assert len({len(line) for line in lines[1:5]}) == 1
    assert lines[5:] == [f"  files in {page.parent}:", "    metrics.json  report.html"]
    assert page.name == "report.html" and page.is_file()
    assert all(len(line) <= WIDTH for line in lines if storage.uri not in line)


def test_a_run_of_an_earlier_version_has_no_intervals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"test": {"examples": 10, "loss": 0.5, "accuracy": 0.9}}
    manifest = Manifest(kind="run", id="r1", files={}, details={"scores": scores})
    print_run(open_storage(str(tmp_path)), manifest)
    assert capsys.readouterr().out.splitlines()[2].split() == ["test", "10", "0.5000", "90.00%"]


def test_a_comparison_shows_its_best_cells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cell(name: str, *accuracies: float) -> dict[str, Any]:
        scores = [
            {part: {"accuracy": each} for part in ("train", "validation")} for each in accuracies
        ]
        return {"name": name, "runs": [{"scores": each} for each in scores]}

    cells = [cell("dense adam", 0.5, 0.7), cell("cnn adam", 0.9), cell("failed")]
    ranking = {"ranking": ["cnn adam", "dense adam", "failed"], "labels": {"cnn adam": "cnn"}}
    facts = json.dumps({"cells": cells, **ranking}).encode()
    print_cells(facts)
    assert capsys.readouterr().out.splitlines() == [
        "  cell        runs  validation  test",
        "  cnn            1      90.00%     –",
        "  dense adam     2      60.00%     –",
    ]
    monkeypatch.setattr(results, "MOST_ROWS", 1)
    print_cells(facts)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("  cell (best 1 of 2)")


def test_a_refused_night_is_a_warning(
    published: tuple[Storage, Manifest], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage, manifest = published
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "report.html").write_text("page")
    details = {
        "outcome": "drifted",
        "reason": "The labels differ.",
        "champion": {"before": None, "after": {"run": manifest.id, "counter": 3}},
        "predictions": None,
    }
    night = publish(
        storage, "retrainings/n1", tmp_path / "files", kind="retraining", id="n1", details=details
    )
    launch(lambda: Flags(quiet=True), lambda _: print_path(print_retraining(storage, night)))
    printed = capsys.readouterr()
    assert printed.err == "drifted: The labels differ.\n"
    assert printed.out.splitlines() == [
        f"{storage.uri}/retrainings/n1/{night.files['report.html'].path}"
    ]


def test_a_quiet_job_prints_paths_alone_but_its_warnings(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def run(flags: Flags) -> None:
        print("on its way")
        Console().print("a line of progress")
        logging.getLogger("fmnist").warning("something is odd")
        print_table(("a", "b"), [("1", "2")])
        print_path("results/report.html")

    launch(lambda: Flags(quiet=True), run)
    assert capsys.readouterr().out == "results/report.html\n"
    assert caplog.messages == ["something is odd"]
    launch(lambda: Flags(), run)
    assert capsys.readouterr().out == (
        "on its way\na line of progress\n  a  b\n  1  2\nopen results/report.html\n"
    )
    launch(lambda: Flags(quiet=True, dry_run=True), lambda _: print("the plan"))
    assert capsys.readouterr().out == "the plan\n"


def test_predictions_say_where_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = open_storage(str(tmp_path))
    task = {"name": "pets", "classes": ["cat", "dog"]}
    details = {"images": 12_345, "run": "r1", "task": task, "class_counts": [12_000, 345]}
    manifest = Manifest(kind="predictions", id="p1", files={}, details=details)
    submission = print_predictions(storage, manifest, opened=False)
    assert submission == f"{storage.uri}/predictions/p1/submission.csv"
    assert capsys.readouterr().out.splitlines() == [
        "predictions p1 for 12,345 images are finished",
        "  class  images  share",
        "  cat    12,000  97.2%",
        "  dog       345   2.8%",
        "  model       r1",
        f"  labels      {storage.uri}/predictions/p1/labels/",
        f"  submission  {submission}",
    ]


def test_of_many_classes_those_with_most_images_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = [f"c{number}" for number in range(12)]
    details = {"images": 24, "run": "r1", "task": {"classes": classes}}
    details["class_counts"] = [1, 1, *[2] * 9, 4]
    manifest = Manifest(kind="predictions", id="p1", files={}, details=details)
    print_predictions(open_storage(str(tmp_path)), manifest)
    lines = capsys.readouterr().out.splitlines()[2:-2]
    assert [line.split()[0] for line in lines] == ["c11", *classes[2:11], "2"]
    assert lines[-1].split() == ["2", "others", "2", "8.3%"]


def test_columns_are_aligned_and_nothing_has_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "n"), [("a", "1,000"), ("longer", "2")])
    print_table(("name", "n"), [])
    print_facts([("x", "1"), ("yyy", "2")])
    print_facts([])
    assert capsys.readouterr().out == (
        "  name        n\n  a       1,000\n  longer      2\n  x    1\n  yyy  2\n"
    )


def test_all_jobs_but_runs_can_be_quiet() -> None:
    for name in ("train", "compare", "score", "retrain", "export"):
        assert "quiet" in {field.name for field in fields(import_module(f"jobs.{name}").Flags)}


def test_a_quiet_job_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-m", "jobs.export", "--quiet", "--data", str(tmp_path / "empty")]
    done = subprocess.run(
        [*command, "--to", str(tmp_path / "to")], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (USER_ERROR, "")
    assert done.stderr.startswith("error: ") and "found no data" in done.stderr
