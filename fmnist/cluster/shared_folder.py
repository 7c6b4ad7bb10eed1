"""Finds out whether a folder that is used as storage is the same on every node.

Where it is not, each node has a folder of that name on a disk of its own: a worker on another node
would write there, and at the end of the job the driver would find nothing.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray.util import get_node_ip_address

from fmnist.errors import UserError
from fmnist.storage.atomic import draft, fsync, os_errors
from fmnist.storage.folder import LocalStorage
from fmnist.storage.open import Storage


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A file that the driver has put into the folder; its name is random, so it is in no other."""

    file: Path
    node: str  # of the driver

    def problem(self) -> str | None:
        """What a user should know if this process does not see the file."""
        if os.access(self.file, os.F_OK):
            return None
        return (
            f"storage {self.file.parent} is not the same folder on all nodes: what {self.node} has "
            f"written there, {_this_node()} does not find; expected a folder that all nodes share, "
            "or s3://bucket/prefix"
        )

    def check(self) -> None:
        """Raises UserError if this process does not see the file."""
        if problem := self.problem():
            raise UserError(problem)


@contextmanager
def marked(storage: Storage) -> Iterator[Mark | None]:
    """Marks the folder until the block ends; yields None for S3, which is one for all nodes.

    The mark has the name of a draft, so it is no key of the storage, as with what a killed process
    leaves of a file that it was writing.
    """
    if not isinstance(storage, LocalStorage):
        yield None
        return
    with ExitStack() as stack:
        with os_errors(f"write to {storage.root}"):
            file = stack.enter_context(draft(storage.root / "mark"))
            fsync(file)
        yield Mark(file=Path(file.name), node=_this_node())


def _this_node() -> str:
    return f"{socket.gethostname()} ({get_node_ip_address()})"
