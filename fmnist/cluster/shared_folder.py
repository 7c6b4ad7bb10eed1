"""Checks that a folder that is used as storage is the same folder on every node.

Without this check, a worker on another node could write to a folder of the same name on its own
disk, and at the end of the job the driver would find nothing.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray.util import get_node_ip_address

from fmnist.errors import UserError
from fmnist.storage.atomic import fsync, unfinished_file
from fmnist.storage.errors import os_errors
from fmnist.storage.folder import LocalStorage
from fmnist.storage.open import Storage


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A file that the driver has put into the folder; no other folder has a file of this name."""

    file: Path
    node: str  # the driver's

    def find_problem(self) -> str | None:
        """Returns a message for the user if this process does not see the file."""
        if os.access(self.file, os.F_OK):
            return None
        return (
            f"storage {self.file.parent} is not the same folder on all nodes: what {self.node} has "
            f"written there, {_this_node()} does not find; expected a folder that all nodes share, "
            "or s3://bucket/prefix"
        )

    def check(self) -> None:
        """Raises UserError if this process does not see the file."""
        if problem := self.find_problem():
            raise UserError(problem)


@contextmanager
def mark_storage(storage: Storage) -> Iterator[Mark | None]:
    """Puts a mark into the storage's folder until the block ends; yields None for S3.

    The mark is named like a file that is being written, so the storage does not list it.
    """
    if not isinstance(storage, LocalStorage):
        yield None
        return
    with ExitStack() as stack:
        with os_errors(f"write to {storage.root}"):
            file = stack.enter_context(unfinished_file(storage.root / "mark"))
            fsync(file)
        yield Mark(file=Path(file.name), node=_this_node())


def _this_node() -> str:
    return f"{socket.gethostname()} ({get_node_ip_address()})"
