"""Reads arrays from NumPy's .npz files that are not trusted.

No objects are loaded, since they could run code, and no more memory is taken than the file has.
"""

import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fmnist.errors import UserError

# Exceptions that Python's zipfile and NumPy raise for damaged files.
DAMAGE_ERRORS = (
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
            _check_claimed_sizes(archive, path.stat().st_size)
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in sorted(arrays.files)]
    except DAMAGE_ERRORS as error:
        raise UserError(f"{where}: found no arrays ({error}), expected NumPy's .npz") from error


def _check_claimed_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Raises ValueError if a header claims more bytes than the file has.

    NumPy would allocate memory for the claim.
    """
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
