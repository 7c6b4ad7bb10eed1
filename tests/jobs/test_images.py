"""Users' own image files, from a folder to predictions, with the commands that they type."""

import csv
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fmnist.data.export import export_parquet
from fmnist.tasks import SIDES
from jobs import score, train
from tests.ingest.pictures import write_pictures
from tests.support.paths import ROOT
from tests.support.readme import run_example
from tests.support.samples import SHAPES, dataset
from tests.support.servers.head import run

SMALL = ("--batch", "8", "--epochs", "20", "--cpus-per-worker", "1", "--architecture", "dense")


def write_photos(folder: Path, count: int) -> None:
    """Writes photos of different sizes, bright on the left or on the right: easy to distinguish."""
    random = np.random.default_rng(0)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = random.integers(20, 40, 2)
            pixels = random.integers(0, 100, (height, width, 3), np.uint8)
            side = pixels[:, : width // 2] if name == "left" else pixels[:, width // 2 :]
            side += 150
            Image.fromarray(pixels).save(folder / name / f"photo {number:02}.jpg")


def test_a_folder_of_photos_trains_and_another_is_scored_by_names(
    tmp_path: Path, on_cluster: dict[str, str]
) -> None:
    write_photos(tmp_path / "photos", 20)
    (tmp_path / "photos" / "left" / "broken.png").write_text("no image")
    storage = ("--storage", str(tmp_path / "results"))
    images = ("--size", "12x12", "--test", "0.2", "--max-bad-rows", "1")
    trained = run(
        sys.executable, "-m", "jobs.train", "--data", str(tmp_path / "photos"), *images, *storage,
        "--score", "--ingest", "stream",
        "--learning-rate", "2e-3", *SMALL,
        env=on_cluster,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "12 × 12 pixels, colour; 2 classes: left, right; 1 of them left out" in trained.stdout
    assert "ingest stream: as asked for" in trained.stdout
    found = re.search(r"^run (photos-dense-\w+) is finished", trained.stdout, re.MULTILINE)
    assert found, trained.stdout
    assert "INFO" not in trained.stdout + trained.stderr
    (submission,) = tmp_path.rglob("submission.csv")
    # A fifth of 41 files, of which one is broken.
    assert submission.read_text().count("/photo ") == 9
    shutil.rmtree(tmp_path / "results" / "predictions")

    write_photos(tmp_path / "new", 3)
    scored = run(
        sys.executable, "-m", "jobs.score", "--run", found[1], "--data", str(tmp_path / "new"),
        *storage,
        env=on_cluster,
    )  # fmt: skip
    assert scored.returncode == 0, scored.stdout + scored.stderr
    (submission,) = tmp_path.rglob("submission.csv")
    rows = list(csv.reader(submission.read_text().splitlines()))
    assert rows[0] == ["Id", "Label"]
    names = [f"{name}/photo {number:02}.jpg" for name in ("left", "right") for number in range(3)]
    assert rows[1:] == [[name, "0" if "left" in name else "1"] for name in names]
    table = pads.dataset(submission.parent / "labels", format="parquet").to_table()
    assert sorted(table["name"].to_pylist()) == names


def test_every_job_takes_photos(tmp_path: Path, on_cluster: dict[str, str]) -> None:
    """They are decoded once, by the first job; a dry run needs them decoded, since it writes."""
    run_example(ROOT / "README.md", tmp_path)  # real photographs in colour, with a test part
    images = (
        "--data", str(tmp_path / "photos"), "--size", "32x32",
        "--storage", str(tmp_path / "results"),
    )  # fmt: skip

    def job(name: str, *flags: str) -> str:
        done = run(sys.executable, "-m", f"jobs.{name}", *images, *flags, env=on_cluster)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stdout + done.stderr
        return done.stdout

    refused = run(sys.executable, "-m", "jobs.retrain", *images, "--batch", "8", "--dry-run")
    assert refused.returncode == 2 and "not decoded yet" in refused.stderr
    assert not (tmp_path / "results").exists()

    assert "320 to train on and 80 to test\n  32 × 32 pixels, colour" in job(
        "export", "--to", str(tmp_path / "copy")
    )
    (decoded,) = (tmp_path / "results" / "datasets").iterdir()
    for part in ("train", "test"):
        name = f"{part}/part-00000.parquet"
        assert (tmp_path / "copy" / name).read_bytes() == (decoded / name).read_bytes()

    small = ("--batch", "32", "--epochs", "8", "--learning-rate", "1e-3", "--cpus-per-worker", "1")
    assert "photos-dense" in job("retrain", *small, "--architecture", "dense")
    (submission,) = tmp_path.rglob("submission.csv")
    rows = list(csv.reader(submission.read_text().splitlines()))[1:]
    right = [int(label) == ("flower", "temple").index(name.split("/")[0]) for name, label in rows]
    assert len(right) == 80 and sum(right) >= 60
    assert "comparison" in job("compare", *small[:4], "--architecture", "dense")
    assert list((tmp_path / "results" / "datasets").iterdir()) == [decoded]


@pytest.mark.parametrize("ingest", ["memory", "stream"])
def test_that_there_is_nothing_to_score_is_told_before_training(
    fails: Callable[..., str], tmp_path: Path, ingest: str
) -> None:
    export_parquet(replace(dataset(), test=None), str(tmp_path / "data"))
    task = {"name": SHAPES.name, "classes": list(SHAPES.classes)}
    sides = dict(zip(SIDES, SHAPES.shape, strict=True))
    lines = [f"{name} = {value!r}" for name, value in (task | sides).items()]
    (tmp_path / "shapes.toml").write_text("\n".join(lines))
    flags = ("--task", "shapes.toml", "--data", "data", "--ingest", ingest, *SMALL)
    assert "has no test part, expected one to score" in fails(train, *flags, "--score")


def test_mistakes_in_flags_are_all_in_one_message(fails: Callable[..., str]) -> None:
    message = fails(
        train,
        "--data",
        "p",
        "--size",
        "64",
        "--test",
        "1.5",
        "--max-bad-rows",
        "-1",
        "--epochs",
        "0",
    )
    for part in ("size is '64'", "test is 1.5", "max bad rows is -1", "epochs is 0"):
        assert part in message


@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        (["cat/a.png", "cat/A.png"], (), "differ in case only"),
        (["cat/a.png", "b.png"], (), "b.png lies beside folders of classes"),
        (
            ["train/cat/a.png", "test/cat/b.png"],
            ("--test", "0.5"),
            "found train and test, expected",
        ),
        (["cat/a.png", "dog/b.png"], ("--test", "0.5"), "can't be split by --test 0.5"),
    ],
)
def test_a_wrong_folder_is_one_message(
    fails: Callable[..., str],
    tmp_path: Path,
    names: list[str],
    flags: tuple[str, ...],
    message: str,
) -> None:
    write_pictures(tmp_path / "p", names)
    assert message in fails(train, "--data", "p", *flags)


def test_flags_for_images_need_images(fails: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    assert "found no image files, for which --size" in fails(train, "--data", "p", "--size", "8x8")


def test_raw_images_with_names_are_not_scaled(fails: Callable[..., str], tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "image": [bytes(784)]}), tmp_path / "p.parquet")
    message = fails(train, "--data", "p.parquet", "--size", "8x8")
    assert "p.parquet: its images are raw, found --size, which is for image files" in message


def test_scoring_has_no_flag_for_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [score.__name__, "--run", "r", "--size", "8x8"])
    with pytest.raises(SystemExit, match="2"):
        score.parse()
