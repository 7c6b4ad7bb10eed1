"""Arrays read from NumPy's .npz without trust: no objects, and no more memory than the file has."""

import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fmnist.errors import UserError

# What Python's zipfile and NumPy raise for damaged files.
DAMAGES = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


def read_arrays(path: Path, *, where: str) -> list[np.ndarray]:
    """The arrays of an uncompressed archive, in the order of their names; UserError for any other.

    `where` names the file in the message.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_claims(archive, path.stat().st_size)
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in sorted(arrays.files)]
    except DAMAGES as error:
        raise UserError(f"{where}: found no arrays ({error}), expected NumPy's .npz") from error


def _check_claims(archive: zipfile.ZipFile, size: int) -> None:
    """Raises ValueError where a header promises more than is there; NumPy would make room."""
    entries = archive.infolist()
    if sum(max(entry.file_size, entry.compress_size) for entry in entries) > size:
        raise ValueError("compressed or cut off")
    for entry in entries:
        with archive.open(entry) as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{entry.filename} has an unknown header")
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
        if math.prod(shape) * kind.itemsize > entry.file_size:
            raise ValueError(f"{entry.filename} promises more than it holds")
