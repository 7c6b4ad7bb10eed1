"""Fingerprints of sets of images: the same for the same images in any order, files and format."""

import hashlib

import numpy as np

from fmnist.data.dataset import Examples

SUM_BITS = 256


def row_digests(examples: Examples) -> list[bytes]:
    """The SHA-256 of each id with its image."""
    ids = examples.ids.astype("<i8")
    return [
        hashlib.sha256(ids[row].tobytes() + examples.images[row].tobytes()).digest()
        for row in range(len(ids))
    ]


def sum_of_hashes(digests: list[bytes]) -> int:
    """Sum of the hashes of rows with unique ids, which does not depend on the order of the rows."""
    return sum(map(int.from_bytes, digests))


def fingerprint_of(total: int) -> str:
    """A sum of hashes as 64 hexadecimal digits."""
    return f"{total % (1 << SUM_BITS):064x}"


def short_hashes(digests: list[bytes]) -> np.ndarray:
    """The first 8 bytes of each hash as (n,) uint64; all 32 bytes would take much memory."""
    return np.frombuffer(b"".join(digest[:8] for digest in digests), np.uint64)
