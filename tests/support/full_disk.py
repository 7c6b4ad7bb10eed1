"""Fills a disk while a job may write to it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

TRIES = 10


def fill(filling: Path, *, leave: int = 0) -> None:
    """Takes all free space of a disk, but for so many bytes, with this file."""
    with filling.open("wb") as file:
        for _ in range(TRIES):
            # A job that writes meanwhile takes some of it, and then nothing is allocated.
            with suppress(OSError):
                end, free = file.seek(0, os.SEEK_END), shutil.disk_usage(filling).free
                if free <= leave:
                    return
                os.posix_fallocate(file.fileno(), end, free - leave)
