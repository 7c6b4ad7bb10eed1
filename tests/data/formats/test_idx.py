import gzip
import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnist.data.formats.idx import inflated, read_images, read_labels
from fmnist.errors import UserError
from tests.support.samples import idx_bytes

SHAPE = (4, 5, 1)
IMAGES = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
GOOD = idx_bytes(IMAGES)
ZIPPED = gzip.compress(GOOD, mtime=0)


def _images(data: bytes, name: str = "images") -> np.ndarray:
    return read_images(inflated(io.BytesIO(data), name), SHAPE, name)


def test_images_and_labels_are_read() -> None:
    for found in (_images(GOOD), _images(ZIPPED, "images.gz")):
        assert (found.shape, found.dtype) == ((3, *SHAPE), np.uint8)
        assert np.array_equal(found[..., 0], IMAGES)
    labels = read_labels(io.BytesIO(idx_bytes(np.array([3, 0, 2]))), 4, "labels")
    assert labels.tolist() == [3, 0, 2]
    assert labels.dtype == np.int64


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        (b"", "images: is empty"),
        (GOOD[:2], "magic number 0x00000000, expected 0x00000803"),
        (GOOD[:15], "ends after 15 bytes, expected a header of 16"),
        (b"\0\0\x08\x01" + GOOD[4:], "magic number 0x00000801, expected 0x00000803"),
        (ZIPPED, "magic number 0x1f8b"),
        (GOOD[:-1], "its header says 3 images in 60 bytes, found 59"),
        (GOOD + b"\0", "its header says 3 images in 60 bytes, found more"),
        (idx_bytes(np.zeros((2, 5, 4))), "images of 5 × 4 × 1, expected 4 × 5 × 1"),
        (struct.pack(">4I", 0x803, 0, 4, 5), "its header says that it holds nothing"),
    ],
)
def test_malformed_images_are_refused(data: bytes, mistake: str) -> None:
    with pytest.raises(UserError, match=mistake):
        _images(data)


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        (ZIPPED[:-20], "images.gz: Compressed file ended before"),
        (ZIPPED[:-8] + b"\0" * 8, "images.gz: CRC check failed"),
        (GOOD, "images.gz: Not a gzipped file"),
        (ZIPPED[:10] + b"\xff" * 40, "images.gz: its gzip data are corrupt"),
        (gzip.compress(GOOD + b"more", mtime=0), "found more"),
    ],
)
def test_damaged_gzip_is_refused(data: bytes, mistake: str) -> None:
    with pytest.raises(UserError, match=mistake):
        _images(data, "images.gz")


def test_a_label_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match="labels: label 4 in row 1, expected 0 to 3"):
        read_labels(io.BytesIO(idx_bytes(np.array([3, 4]))), 4, "labels")


@pytest.mark.parametrize("zipped", [False, True])
def test_memory_is_bounded_by_what_is_there(zipped: bool) -> None:
    claim = struct.pack(">4I", 0x803, 2**31, 4, 5) + b"\0" * 1000
    data = gzip.compress(claim) if zipped else claim
    tracemalloc.start()
    with pytest.raises(
        UserError, match=r"2,147,483,648 images(, which would take| in) 42,949,672,960 b"
    ):
        _images(data, "images.gz" if zipped else "images")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_what_inflates_beyond_the_claim_is_not_inflated() -> None:
    bomb = gzip.compress(GOOD + b"\0" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(UserError, match="found more"):
        _images(bomb, "images.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@given(st.integers(0, 90), st.integers(0, 255))
def test_damaged_gzip_gives_images_or_an_error(at: int, value: int) -> None:
    data = bytearray(ZIPPED)
    data[at % len(data)] = value
    try:
        found = _images(bytes(data), "x.gz")
    except UserError:
        return
    assert np.array_equal(found[..., 0], IMAGES)
