"""Whether a job holds its images in memory or streams them from shards."""

from typing import NamedTuple

from fmnist.data.dataset import Dataset
from fmnist.data.load import find_format
from fmnist.data.locations import Location
from fmnist.data.streaming.dataset import ShardedDataset, count_images, open_shards
from fmnist.errors import UserError
from fmnist.machine import memory
from fmnist.run_settings import Ingest
from fmnist.stages import stage
from jobs.support.images import Data

COPIES = 3  # of the images in memory: as they are loaded, as they are split, and in Ray's store
SHARE = 2  # an n-th of the memory is for them; the rest is for the workers


class Choice(NamedTuple):
    """`memory` or `stream`, and why."""

    ingest: Ingest
    reason: str


def load_or_stream(data: Data, wanted: Ingest) -> Dataset | ShardedDataset:
    """Opens a data set as is asked for, or as suits its size; prints what it chose, and why.

    Raises UserError where images that are no Parquet files are to be streamed.
    """
    location = _shards(data)
    choice = choose(data, location, wanted)
    if location is not None:
        print(f"ingest {choice.ingest}: {choice.reason}")
    if choice.ingest == "memory" or location is None:
        return data.load()
    with stage("reading ids and labels of the shards"):
        return open_shards(location, data.task, source=data.source)


def choose(data: Data, location: Location | None, wanted: Ingest) -> Choice:
    """Chooses for `auto` by the size of the images and the memory of this machine or container."""
    if location is None:
        if wanted == "stream":
            raise UserError(
                f"{data}: can't be streamed, expected image files or Parquet files, as "
                "jobs.export writes them"
            )
        return Choice("memory", "only image files and Parquet files can be streamed")
    if wanted != "auto":
        return Choice(wanted, "as asked for")
    size = count_images(location, data.task) * data.task.pixels * COPIES
    room = memory() // SHARE
    fits = "fit" if size <= room else "do not fit"
    return Choice(
        "memory" if size <= room else "stream",
        f"{COPIES} copies of the images {fits} into half of the memory, "
        f"{size / 1e9:,.1f} of {room / 1e9:,.1f} GB",
    )


def _shards(data: Data) -> Location | None:
    """Where the Parquet files are; None for another format."""
    if isinstance(data.place, Location) and find_format(data.place) == "parquet":
        return data.place
    return None
