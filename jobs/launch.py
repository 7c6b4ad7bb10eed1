"""What every job does around its work: flags, Ray, one clear error, exit codes."""

import logging
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ray
import tyro

from fmnist.errors import UserError
from fmnist.manifest import Manifest
from fmnist.storage import Storage, open_storage

USER_ERROR = 2  # exit codes
INTERRUPTED = 130
TERMINATED = 143
IN_RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for the entry point of a submitted job

Flags = TypeVar("Flags")


# This process received SIGTERM, as from `ray job stop`. It is noted here, since where Ray waits it
# raises a KeyboardInterrupt of its own in place of whatever a signal's handler has raised.
terminated = threading.Event()


def launch(parse: Callable[[], Flags], run: Callable[[Flags], None]) -> None:
    """Runs a job and ends the process; a UserError becomes one message and exit code 2."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        run(parse())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(TERMINATED if terminated.is_set() else INTERRUPTED)


def parse_flags(flags: type[Flags], description: str | None, default: Flags | None = None) -> Flags:
    """The typed flags of this process; tyro ends it with exit code 2 if they do not fit."""
    preset: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(flags, prog=_program(), description=description, **preset)


def start_ray() -> None:
    """Connects to the cluster at RAY_ADDRESS, which Ray sets for a submitted job, or starts one.

    Without an address Ray would look for what was last started on this machine, and wait for
    minutes if it is gone.
    """
    try:
        ray.init(
            address=os.environ.get("RAY_ADDRESS", "local"),
            include_dashboard=False,
            # What a user should see comes through the progress board; the rest is in Ray's logs.
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except ConnectionError as error:
        raise UserError(f"found no Ray cluster that answers: {error}") from error
    signal.signal(signal.SIGTERM, _terminate)  # not before, since Ray sets its own


def _terminate(*_: Any) -> None:
    terminated.set()
    raise KeyboardInterrupt


def job_storage(uri: str) -> Storage:
    """The storage root; UserError for a relative folder in a submitted job, which would be lost."""
    if IN_RAY_JOB in os.environ and "://" not in uri and not Path(uri).is_absolute():
        raise UserError(
            f"storage {uri!r} is relative to the working directory of a submitted job, which Ray "
            "deletes; expected an absolute path that all nodes share, or s3://bucket/prefix"
        )
    return open_storage(uri)


def tell_files(storage: Storage, folder: str, manifest: Manifest) -> None:
    """Prints where the files of a result in that folder of the storage root are."""
    for name, file in manifest.files.items():
        print(f"  {name:<16} {storage.uri}/{folder}/{file.path}")


def command() -> str:
    """The command line of this process, as a user would type it."""
    return f"{_program()} {shlex.join(sys.argv[1:])}".strip()


def _program() -> str:
    module = sys.modules["__main__"].__spec__
    return f"python -m {module.name if module else Path(sys.argv[0]).stem}"
