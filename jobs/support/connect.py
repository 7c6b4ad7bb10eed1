"""Connects a job to Ray, opens its storage, and says what failed in the cluster."""

import logging
import os
import signal
import socket
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import ray
from ray._private import services  # Ray has no settings for what it starts beside itself
from ray._private.node import Node

from fmnist.cluster.remote import bound_retries
from fmnist.errors import UserError
from fmnist.stages import stage
from fmnist.storage.open import Storage, open_storage
from jobs.support.config import IN_RAY_JOB
from jobs.support.sigterm import terminate

CONNECT_TIMEOUT = 10.0  # seconds
# Ray ends a process that was idle for a second where more run than there are CPUs, and starts one
# for the next task. On two CPUs, that is a fifth of the time in which a job scores.
KEEP_IDLE = {"idle_worker_killing_time_threshold_ms": 60_000}


def ensure_ray() -> None:
    """Starts Ray or connects to it, unless this process is connected already."""
    if not ray.is_initialized():
        with stage("starting Ray"):
            start_ray()


def start_ray() -> None:
    """Connects to the cluster at RAY_ADDRESS, which Ray sets for a submitted job, or starts one.

    Without an address Ray would look for what was last started on this machine, and wait for
    minutes if it is gone. Raises UserError for an address at which there is no cluster.
    """
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address not in ("local", "auto"):
        check_address(address)
    try:
        with _no_helpers():
            ray.init(
                address=address,
                include_dashboard=False,
                # The progress monitor prints all that users should see; the rest is in Ray's logs.
                log_to_driver=False,
                logging_level=logging.ERROR,
                _system_config=KEEP_IDLE if address == "local" else None,
            )
    except ConnectionError as error:
        raise UserError(f"found no Ray cluster that answers: {error}") from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        # Ray raises this very class if its processes start too slowly.
        raise ray.exceptions.RaySystemError(error) from error
    bound_retries()
    signal.signal(signal.SIGTERM, terminate)  # not before, since Ray sets its own


@contextmanager
def _no_helpers() -> Iterator[None]:
    """Keeps Ray from starting two processes that have nothing to do here: a third of its start.

    One serves the dashboard; without a dashboard, it only reports that Ray is used, and still
    `ray.init` waits for it. The other sends to drivers what workers print, which is not shown.
    """
    with (
        patch.object(services, "start_api_server", lambda *_, **__: ("", None)),
        patch.object(Node, "start_log_monitor", lambda _: None),
    ):
        yield


def check_address(address: str) -> None:
    """Raises UserError at once if nothing answers there: Ray would try for minutes."""
    expected = "expected host:port of the head's control store, as in 10.0.0.5:6379, or none at all"
    if "://" in address:  # not repeated, since it may hold a password
        scheme = address.partition("://")[0]
        raise UserError(
            f"RAY_ADDRESS begins with {scheme}://, {expected}; to run on a cluster from outside of "
            "it, use `ray job submit --address http://…` with RAY_ADDRESS unset"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise UserError(f"RAY_ADDRESS is {address!r}, {expected}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"found no Ray cluster that answers at RAY_ADDRESS {address} ({reason}), {expected}"
        ) from error


def failure(error: Exception) -> str | None:
    """Says in one line what failed in Ray; writes the details into a file, and names it.

    Returns None for an error that is not Ray's.
    """
    if not isinstance(error, ray.exceptions.RayError):
        return None
    with tempfile.NamedTemporaryFile("w", prefix="fmnist-", suffix=".log", delete=False) as file:
        file.writelines(traceback.format_exception(error))
    return f"{_last_words(error)}; the same command goes on from here (details: {file.name})"


def _last_words(error: BaseException) -> str:
    """Finds the line in Ray's long report that says what was raised, or what died."""
    if isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        return _last_words(error.cause)
    for reason in getattr(error, "worker_failures", {}).values():  # of Ray Train's report
        return f"training failed: {_last_words(reason)}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    report = "Traceback" in str(error)  # which ends with what was raised
    text = lines[-1 if report else 0] if lines else ""
    return f"{type(error).__name__}: {text.rstrip('.')}"


def job_storage(uri: str, *, dry_run: bool = False) -> Storage:
    """The storage root; UserError for a relative folder in a submitted job, which would be lost.

    A `dry_run` writes nothing, not even to find out whether it could.
    """
    if IN_RAY_JOB in os.environ and "://" not in uri and not Path(uri).is_absolute():
        raise UserError(
            f"storage {uri!r} is relative to the working directory of a submitted job, which Ray "
            "deletes; expected an absolute path that all nodes share, or s3://bucket/prefix"
        )
    return open_storage(uri, probe=not dry_run)
