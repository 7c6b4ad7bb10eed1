"""The images of a split, read from shards as if they were one array."""

import threading
from collections import OrderedDict

import numpy as np

from fmnist.data.streaming.cache import CachedShard, ShardCache
from fmnist.data.streaming.dataset import ShardedPart
from fmnist.errors import StorageError


class StreamedImages:
    """Those images of a part for which `chosen` (rows of the part,) is True, in their order.

    `images[positions]` reads uint8 (n, height, width, channels); it does not read the rest of the
    shards again, which stay open, at most `keep` of them. Several threads may use it.
    """

    def __init__(
        self, part: ShardedPart, chosen: np.ndarray, cache: ShardCache, *, keep: int
    ) -> None:
        self._part, self._chosen, self._cache, self._keep = part, chosen, cache, keep
        self.shape, self._pixels = part.task.shape, part.task.pixels
        self._rows_end = np.cumsum([shard.rows for shard in part.shards])
        self.sizes = shard_sizes(part, chosen)  # (shards,): images of the split in each shard
        self._ends = np.cumsum(self.sizes)
        self._files: OrderedDict[int, CachedShard] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, positions: np.ndarray) -> np.ndarray:
        found = np.empty((len(positions), self._pixels), np.uint8)
        shard_of = self._shards_of(positions)
        for number in np.unique(shard_of):
            here = shard_of == number
            first = self._ends[number] - self.sizes[number]
            rows = self._rows(number)[positions[here] - first]
            found[here] = self._read(int(number), rows)
        return found.reshape(-1, *self.shape)

    def open(self, positions: np.ndarray) -> None:
        """Brings the shards of these images to this node's disk, unless they are there."""
        for number in np.unique(self._shards_of(positions)):
            self._file(int(number))

    def _shards_of(self, positions: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._ends, positions, side="right")

    def _rows(self, number: int) -> np.ndarray:
        """The rows of a shard that belong to the split."""
        end = self._rows_end[number]
        return np.flatnonzero(self._chosen[end - self._part.shards[number].rows : end])

    def _read(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Reads rows of a shard, those that follow each other at once.

        Not mapped into memory, where an image that was read would count as this process's.
        """
        file = self._file(number)
        pixels = np.empty((len(rows), self._pixels), np.uint8)
        starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1).tolist()
        for start, stop in zip(starts, [*starts[1:], len(rows)], strict=True):
            piece = pixels[start:stop]
            if not file.read_into(piece.data, int(rows[start]) * self._pixels):
                raise StorageError(f"{self._cache.folder}: a file was cut off while it was in use")
        return pixels

    def _file(self, number: int) -> CachedShard:
        with self._lock:
            if number in self._files:
                self._files.move_to_end(number)
                return self._files[number]
        shard = self._part.shards[number]
        file = self._cache.open(
            shard.sha256,
            shard.rows * self._pixels,
            lambda sink: self._part.write_pixels(shard, sink, self._cache.folder),
        )
        with self._lock:
            self._files[number] = file
            while len(self._files) > self._keep:
                self._files.popitem(last=False)  # closed once nobody reads from it any more
        return file


def shard_sizes(part: ShardedPart, chosen: np.ndarray) -> np.ndarray:
    """(shards,) number of the chosen rows in each shard."""
    starts = np.cumsum([0, *(shard.rows for shard in part.shards[:-1])])
    return np.add.reduceat(chosen, starts, dtype=np.int64)
