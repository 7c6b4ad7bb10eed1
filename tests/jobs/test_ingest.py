"""Whether a job streams: as asked for, by the size of the data, or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.locations import locate
from fmnist.data.streaming.dataset import ShardedDataset
from fmnist.errors import UserError
from fmnist.run_settings import Ingest, parse_cache_size
from jobs import retrain, train
from jobs.support import ingest
from jobs.support.images import Data
from tests.support.samples import SHAPES, dataset
from tests.support.sharded import write_shards


@pytest.fixture
def data(tmp_path: Path) -> Data:
    write_shards(str(tmp_path / "shards"), dataset())
    return Data(task=SHAPES, place=locate(str(tmp_path / "shards")))


SIZE = 3 * (40 + 15) * 720  # of three copies of all images


@pytest.mark.parametrize(
    ("wanted", "memory", "kind", "line"),
    [
        (
            "auto",
            2 * SIZE,
            Dataset,
            "ingest memory: 3 copies of the images fit into half of the memory, 0.0 of",
        ),
        (
            "auto",
            2 * SIZE - 1,
            ShardedDataset,
            "ingest stream: 3 copies of the images do not fit into half of the memory, 0.0 of",
        ),
        ("memory", 2 * SIZE - 1, Dataset, "ingest memory: as asked for"),
        ("stream", 2 * SIZE, ShardedDataset, "ingest stream: as asked for"),
    ],
)
def test_the_choice_is_told_in_one_line(
    data: Data,
    wanted: Ingest,
    memory: int,
    kind: type,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ingest, "memory", lambda: memory)
    found = ingest.load_or_stream(data, wanted)
    assert isinstance(found, kind)
    assert found.count_labelled() == 40
    (told,) = capsys.readouterr().out.splitlines()
    assert told.startswith(line)


def test_other_formats_are_in_memory(capsys: pytest.CaptureFixture[str]) -> None:
    data = Data(task=SHAPES, place="auto")
    assert ingest.choose(data, None, "auto").ingest == "memory"
    with pytest.raises(UserError, match="auto: can't be streamed, expected image files or Parquet"):
        ingest.choose(data, None, "stream")


def test_what_is_wrong_is_told_at_once(fails: Callable[..., str]) -> None:
    message = fails(train, "--ingest", "sometimes", "--cache-size", "much")
    assert "unknown ingest 'sometimes': expected one of memory, stream, auto" in message
    assert "cache size is 'much', expected bytes with a unit, such as 500MB" in message
    assert "can't be streamed" in fails(train, "--ingest", "stream")
    assert "only jobs.train streams images" in fails(retrain, "--ingest", "stream")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("1000", 1000), ("5B", 5), ("500MB", 500_000_000), ("1.5 GB", 1_500_000_000),
        ("2KiB", 2048), ("2k", 2000), ("1TiB", 1 << 40),
    ],
)  # fmt: skip
def test_sizes_have_units(text: str, size: int) -> None:
    assert parse_cache_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1XB", "1iB", "1 G B", "1e9", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected bytes with a unit"):
        parse_cache_size(text)
