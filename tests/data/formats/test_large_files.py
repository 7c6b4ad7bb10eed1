"""A file whose one row group is larger than what a process may take is read piece by piece."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from tests.support.paths import ROOT

ROWS = 120_000  # 94 MB of images, which can't be compressed
MOST = 40e6  # bytes that Arrow may hold
READ = """
import sys
import pyarrow as pa
from pyarrow import fs
from fmnist.data.locations import locate
from fmnist.ingest.plan import find_images
from fmnist.ingest.source import ParquetRows
from fmnist.scoring.file_summary import summarize_file
from fmnist.tasks import TASKS
path, rows, system = sys.argv[1], int(sys.argv[2]), fs.LocalFileSystem()
assert find_images(locate(path)) is None
assert len(summarize_file(system, path, TASKS["fashion"], None).ids) == rows
last = ParquetRows(filesystem=system, column="image", pieces=[(path, rows - 2, 2)])
assert [len(image) for image in last.read()] == [784, 784]
print(pa.default_memory_pool().max_memory())
"""


def test_a_large_row_group_is_never_held_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    pixels = pa.py_buffer(np.random.default_rng(0).bytes(784 * ROWS))
    images = pa.FixedSizeBinaryArray.from_buffers(pa.binary(784), ROWS, [None, pixels])
    table = pa.table({"id": np.arange(ROWS), "image": images.cast(pa.binary())})
    pq.write_table(table, path, row_group_size=ROWS, use_dictionary=False)
    command = [sys.executable, "-c", READ, str(path), str(ROWS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MOST
