"""`jobs.retrain` in a process that kills itself at a point.

python -m tests.recovery.support.dying FLAGS…

The process dies before or after the write of a key that contains DIE_BEFORE or DIE_AFTER.
"""

import os
import signal
from datetime import timedelta
from typing import Any

from fmnist.registry import prune
from fmnist.storage.folder import LocalStorage
from fmnist.storage.s3 import S3Storage
from jobs import retrain
from jobs.support.launch import launch


def mortal(kind: type[LocalStorage] | type[S3Storage]) -> None:
    """Makes this kind of storage kill the process before or after the write of such a key."""
    replace: Any = kind.replace

    def die(when: str, key: str) -> None:
        if (point := os.environ.get(when)) and point in key:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(self: Any, key: str, data: bytes, *, version: str | None) -> Any:
        die("DIE_BEFORE", key)
        done = replace(self, key, data, version=version)
        if done:
            die("DIE_AFTER", key)
        return done

    kind.replace = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    mortal(LocalStorage)
    mortal(S3Storage)
    prune.YOUNG = timedelta(0)  # so that there is something to prune
    launch(retrain.parse, retrain.run)
