"""Small data sets in shards for tests, and their images in memory."""

from pathlib import Path

import pytest

from fmnist.data.dataset import Dataset
from fmnist.data.export import export_parquet
from fmnist.data.formats import parquet
from fmnist.data.locations import locate
from fmnist.data.streaming.cache import ShardCache
from fmnist.data.streaming.dataset import ShardedDataset, ShardedPart, open_shards
from tests.support.samples import dataset

ROWS = 7  # in a shard


def write_shards(target: str, data: Dataset, rows: int = ROWS) -> ShardedDataset:
    """Writes the data set to a folder or to s3://, so many images a file, and opens it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "ROWS_PER_FILE", rows)
        export_parquet(data, target)
    return open_shards(locate(target), data.task)


class Sharded:
    """Eighty images in twelve shards, and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.data = dataset(train=80)
        self.folder = folder / "shards"
        self.dataset = write_shards(str(self.folder), self.data)
        self.cache = ShardCache(folder / "cache", most=1 << 20)

    @property
    def part(self) -> ShardedPart:
        """The training part."""
        assert self.dataset.train is not None
        return self.dataset.train
