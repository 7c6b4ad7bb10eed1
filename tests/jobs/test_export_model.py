"""The command that exports a run's model, and its mistakes."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.catalog.verify import verify
from fmnist.data.export import export_parquet
from fmnist.storage.open import open_storage
from jobs import export
from tests.support.models import dense, publish_run
from tests.support.samples import SHAPES, dataset
from tests.support.servers.head import run


def test_a_model_is_exported_once_and_its_digests_are_verified(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "results"))
    publish_run(storage, tmp_path / "model", dense(SHAPES), SHAPES)
    export_parquet(dataset(), str(tmp_path / "data"))
    where = ("--data", str(tmp_path / "data"), "--storage", storage.uri)
    command = (sys.executable, "-m", "jobs.export", "--run", "r1", "--format", "litert", *where)
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, "")
    told = re.sub(r"(?m)^.* …\n", "", done.stdout)
    assert re.search("^export r1-litert-[0-9a-f]{12} is finished$", told, re.MULTILINE)
    assert "15, all with the labels that Keras gives" in told and " of a probability" in told
    (folder,) = re.findall(r"^  files in (/\S+):$", told, re.MULTILINE)
    assert Path(folder, "model.tflite").is_file()
    found = verify(storage)
    assert (found.results, found.damaged) == (2, [])

    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*"))
    again = run(*command)
    assert again.stdout.endswith(told[told.index("export r1-") :])
    assert sorted(p.stat().st_mtime_ns for p in (tmp_path / "results").rglob("*")) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--run", "r1"), "--run exports a model: expected --format onnx or"),
        (
            ("--run", "r1", "--format", "csv"),
            "expected --format onnx or saved_model or litert, not csv",
        ),
        (("--run", "r1", "--format", "onnx", "--to", "x"), "found --to, which is for data"),
        (("--to", "x", "--format", "litert"), "--format litert is for a model: found no --run"),
        (("--run", "r1", "--format", "saved_model"), "expected the folder of a finished run"),
    ],
)
def test_flags_for_data_and_for_a_model_are_not_mixed(
    fails: Callable[..., str], tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    (tmp_path / "results").mkdir()
    assert message in fails(export, *flags)
