"""`--on-finish`: a command of the user's that is told how a job has ended, whatever way it did."""

import logging
import os
import sys
from dataclasses import dataclass

log = logging.getLogger(__name__)

TIMEOUT = 60.0  # seconds for the command
WORDS = {130: "interrupted", 143: "terminated"}  # by exit code; all others are `failed`


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """What a job has published: its `outcome` in a word, and the path or URI of its `summary`."""

    outcome: str
    summary: str
    exit_code: int = 0


def call_on_finish(flags: object, result: JobResult | None, end: BaseException | None) -> None:
    """Calls the command that the flags name, if they do; a dry run calls none.

    `end` is what ended the job, if it was raised. A command that fails is told in one line.
    """
    command = getattr(flags, "on_finish", None)
    if not command or getattr(flags, "dry_run", False):
        return
    from fmnist.tracking.bounded import run_bounded  # here: help and mistakes need no subprocess

    code = _exit_code(end)
    told = {
        "FMNIST_OUTCOME": result.outcome if result else WORDS.get(code, "failed"),
        "FMNIST_SUMMARY": result.summary if result else "",
        "FMNIST_EXIT_CODE": str(code),
    }
    sys.stdout.flush()  # so that what the command prints comes after it
    try:
        problem = run_bounded(["sh", "-c", command], timeout=TIMEOUT, env=os.environ | told)
    except KeyboardInterrupt:
        problem = "was interrupted"
    if problem:
        log.warning("the command of --on-finish %s; the job has ended as it would without", problem)


def _exit_code(end: BaseException | None) -> int:
    if isinstance(end, SystemExit):
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return int(end is not None)
