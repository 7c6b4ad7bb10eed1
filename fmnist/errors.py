"""Errors that the user can correct, as opposed to bugs."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import TypeVar

Result = TypeVar("Result")


class UserError(ValueError):
    """Bad input, configuration or storage: its message says what was found and what was expected.

    A job prints the message and ends with exit code 2. Any other exception is a bug.
    """

    @classmethod
    def of(cls, problems: list[str]) -> "UserError":
        """One error for several mistakes, so that the user can correct all of them at once."""
        if len(problems) == 1:
            return cls(problems[0])
        error = cls(f"{len(problems)} mistakes:" + "".join(f"\n  - {each}" for each in problems))
        error.problems = problems
        return error

    @classmethod
    def raise_if(cls, problems: list[str]) -> None:
        """Raises one error for several mistakes, if there are any."""
        if problems:
            raise cls.of(problems)

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problems = [message]


def unknown(
    what: str, value: str, known: Iterable[str], *, more: str = "", cutoff: float = 0.6
) -> str:
    """Says which values are known, and `more` that is possible, and which one may be meant.

    One may be meant that is at least as similar as `cutoff`, of 1.
    """
    known = list(known)
    close = get_close_matches(value, known, n=1, cutoff=cutoff)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"unknown {what} {value!r}: expected one of {', '.join(known)}{more}{meant}"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's class if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class StorageError(UserError):
    """Storage, or a disk, refused or failed; the data there may be sound."""


def together(*calls: Callable[[], Result]) -> list[Result]:
    """Makes all the calls; returns what they return.

    Raises one UserError with the messages of all those that fail, each message once.
    """
    results: list[Result] = []
    problems: list[str] = []
    for call in calls:
        try:
            results.append(call())
        except UserError as error:
            problems += error.problems
    UserError.raise_if(list(dict.fromkeys(problems)))
    return results
