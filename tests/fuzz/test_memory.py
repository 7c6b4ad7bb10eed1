"""Files that claim or would inflate to more than fits into memory are refused before that."""

import gzip
import io
import json
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from fmnist.storage.open import LocalStorage
from tests.support.checkpoints import SAVED, checkpoint
from tests.support.fuzzing import parquet
from tests.support.paths import ROOT

MOST = 128 << 20  # bytes; each of the files claims or inflates to more
CLAIM, ONE = (struct.pack(">4I", 0x803, count, 28, 28) for count in (2**31, 1))


def claims_more_rows(data: bytes, rows: int, claimed: int) -> bytes:
    """Makes a Parquet file whose footer claims more rows (as Thrift's zigzag numbers)."""

    def zigzag(number: int) -> bytes:
        number, encoded = 2 * number, []
        while number > 127:
            encoded.append(number & 127 | 128)
            number >>= 7
        return bytes([*encoded, number])

    length = int.from_bytes(data[-8:-4], "little")
    body, footer = data[: -8 - length], data[-8 - length : -8]
    footer = footer.replace(zigzag(rows), zigzag(claimed))
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def repeats(image: bytes, times: int) -> bytes:
    """Makes a file of a few kilobytes that has a large image many times."""
    images = pa.DictionaryArray.from_arrays(pa.array(np.zeros(times, np.int32)), pa.array([image]))
    return parquet(pa.table({"id": range(times), "image": images}), compression="zstd")


def claims_a_large_array() -> bytes:
    """Makes an intact archive with an array whose header claims 8 GB."""
    header, stream = io.BytesIO(), io.BytesIO()
    fields = {"descr": "<f8", "fortran_order": False, "shape": (10**9,)}
    np.lib.format.write_array_header_1_0(header, fields)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    return stream.getvalue()


READER = """
import resource, sys
from pathlib import Path
from fmnist.training.checkpoints import Checkpoints
from fmnist.errors import UserError
from fmnist.scoring.predictions import CollectedLabels
from fmnist.data.load import load
from fmnist.storage.open import open_storage
from fmnist.tasks import FASHION
import numpy as np
folder, bound = Path(sys.argv[1]), int(sys.argv[2])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
storage, before = open_storage(str(folder)), peak()
for data in sorted(folder.glob("data/*")):
    try:
        load(FASHION, str(data))
    except UserError as error:
        print(data.name, error, (peak() - before) >> 20, "MiB")
    else:
        raise AssertionError(data)
ids = np.arange(10)
for name in ("more", "repeats"):
    unfit = CollectedLabels(ids=ids, classes=4).add_files(storage, "labels", [name])
    assert unfit == [name]
assert Checkpoints(storage=storage, run="runs/c", keep=1).newest() is None
assert peak() - before < bound, (peak() - before) >> 20
"""


def test_memory_is_bounded_by_what_a_file_holds(memory_folder: Path) -> None:
    """Each file is refused before its content takes memory."""
    root = LocalStorage(root=memory_folder / "bombs")
    labels = "train-labels-idx1-ubyte"
    images = "train-images-idx3-ubyte"
    some = {"id": range(12_345), "image": [b"\0" * 784] * 12_345}
    zeros = b"\0" * (256 << 20)
    idx = {
        "claim": {images: CLAIM + b"\0" * 1000, labels: b""},
        "claim.gz": {f"{images}.gz": gzip.compress(CLAIM + b"\0" * 1000), labels: b""},
        "bomb.gz": {f"{images}.gz": gzip.compress(ONE + zeros, 1), labels: b""},
    }
    for name, files in idx.items():
        for each, data in files.items():
            root.write(f"data/{name}/{each}", data)
    root.write("data/more.parquet", claims_more_rows(parquet(pa.table(some)), 12_345, 2**31))
    root.write("data/some.parquet", claims_more_rows(parquet(pa.table(some)), 12_345, 99_999))
    root.write("data/repeats.parquet", repeats(b"\0" * (1 << 20), 4_000))
    root.write("labels/more", claims_more_rows(parquet(pa.table(some)), 12_345, 2**31))
    root.write("labels/repeats", repeats(b"\0" * (1 << 20), 4_000))
    checkpoint(root, json.dumps(SAVED).encode(), claims_a_large_array())
    command = [sys.executable, "-c", READER, str(root.root), str(MOST)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
