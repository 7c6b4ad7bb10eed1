"""Files of flags: read for `--config`, and made of a job's flags for its result."""

import math
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fmnist.errors import UserError
from fmnist.job_config import HEAD, JobConfig, Value

NAME = "config"  # of the flag
# Flags that say how a job was started, and not what came of it; a recipe is in the other values.
NOT_SAVED = (NAME, "recipe", "resume", "dry_run", "quiet", "on_finish")
# No file can name another one, nor what to run: whoever may write to the storage could do so.
FLAGS_ONLY = (NAME, "on_finish")
CODE = ".py:"  # in an architecture
PLACES = ("run", "task", "data", "score_data", "storage", "initial_weights")  # that may be paths
IN_RAY_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # set by Ray for the entry point of a submitted job
KINDS: dict[type, str] = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    tuple: "a list of texts in quotes",
}

# The types and words that a flag's value may have.
Kinds = tuple[type | str, ...]

Flags = TypeVar("Flags")


def read_config(place: str, flags: type) -> dict[str, Value]:
    """Reads a TOML file, local or in S3, whose keys are names of these flags.

    Raises UserError that lists all unknown keys, each with the nearest name, and all wrong types.
    """
    content = read_file(NAME, place)
    try:
        text = content.decode()
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML
        raise UserError(f"{NAME} {place}: {error or 'is nested too deeply'}") from error
    kinds = flag_types(flags)
    problems = {name: _problem(name, value, kinds) for name, value in found.items()}
    unknown = found.keys() - kinds.keys() - set(FLAGS_ONLY)
    if unknown and text.startswith(f"{HEAD} "):
        job = text.removeprefix(HEAD).split()[0]
        raise UserError(
            f"{NAME} {place}: was written by fmnist {job}, and has keys that this job has not: "
            f"{', '.join(sorted(unknown))}"
        )
    UserError.raise_if([f"{NAME} {place}: {problem}" for problem in problems.values() if problem])
    return {name: _converted(value, kinds[name]) for name, value in found.items()}


def flag_types(flags: type) -> dict[str, Kinds]:
    """Returns the names that a file can have for these flags, each with what its value can be."""
    found: dict[str, Kinds] = {}
    for name, hint in get_type_hints(flags).items():
        if is_dataclass(hint):
            assert isinstance(hint, type)
            found |= flag_types(hint)
        elif name not in FLAGS_ONLY:
            found[name] = kinds_of(hint)
    return found


def with_values(flags: Flags, values: Mapping[str, Value]) -> Flags:
    """Returns the flags, and those in their dataclasses, with these values."""
    changes: dict[str, Any] = {}
    for field in fields(flags):  # type: ignore[arg-type]  # any dataclass
        value = getattr(flags, field.name)
        if is_dataclass(value):
            changes[field.name] = with_values(value, values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return replace(flags, **changes)  # type: ignore[type-var]


def job_config(job: str, flags: object) -> JobConfig:
    """Returns the configuration that gives a job's result again, also from another folder."""
    values = {name: value for name, value in _flat(flags).items() if name not in NOT_SAVED}
    values |= {name: _absolute(name, values[name]) for name in PLACES if name in values}
    return JobConfig(job=job, values=values)


def read_file(what: str, place: str) -> bytes:
    """Returns a file's content; raises UserError, which calls it `what`, if it can't be read."""
    if "://" in place:
        from fmnist.storage.open import open_storage  # here: files of this machine need no boto3

        folder, _, name = place.rpartition("/")
        found = open_storage(folder, writable=False).read_version(name)
        if found is None:
            raise UserError(f"{what} {place}: there is no such file")
        return found[0]
    try:
        return Path(place).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: ~nobody
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{what} {place!r}: {reason}") from error


def _problem(name: str, value: Any, kinds: Mapping[str, Kinds]) -> str | None:
    if name in FLAGS_ONLY:
        return f"{name} can't be in a file, expected it as a flag"
    if name in ("architecture", "axis") and CODE in str(value):
        return f"{name} is {value!r}, but no file can name code to run, expected it as a flag"
    if name not in kinds:
        close = get_close_matches(name.replace("-", "_"), kinds, n=1, cutoff=0)
        return f"unknown key {name!r}, expected {close[0]!r} or another flag's name"
    expected = kinds[name]
    fits = type(_converted(value, expected)) in expected
    if value in expected or (fits and not (isinstance(value, float) and not math.isfinite(value))):
        return None
    if str in expected:  # whatever names there are
        expected = tuple(kind for kind in expected if isinstance(kind, type))
    wanted = " or ".join(kind if isinstance(kind, str) else KINDS[kind] for kind in expected)
    return f"{name} is {_shown(value)}, expected {wanted}"


def _converted(value: Any, expected: Kinds) -> Any:
    """Returns a value of a file as the flag has it."""
    if type(value) is int and int not in expected and float in expected:
        with suppress(OverflowError):
            return float(value)
    is_texts = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    return tuple(value) if is_texts else value


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)


def kinds_of(hint: Any) -> Kinds:
    """Returns what the value of a flag of this type can be, but for None."""
    if isinstance(hint, UnionType) or get_origin(hint) is Union:  # that of a Literal is the latter
        found = [kind for kind in get_args(hint) if kind is not type(None)]
        return tuple(kind for each in found for kind in kinds_of(each))
    return get_args(hint) if get_origin(hint) is Literal else (get_origin(hint) or hint,)


def _flat(flags: object) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for field in fields(flags):  # type: ignore[arg-type]  # any dataclass
        value = getattr(flags, field.name)
        values |= _flat(value) if is_dataclass(value) else {field.name: value}
    return values


def absolute_place(text: str) -> str:
    """Returns a path as an absolute one, but in a submitted job; URIs stay."""
    from fmnist.storage.uri import FolderUri, parse_uri

    if IN_RAY_JOB in os.environ:  # where paths are relative to what was submitted
        return text
    place = parse_uri(text, http=True)
    return str(place.path) if isinstance(place, FolderUri) else text


def _absolute(name: str, value: Value) -> Value:
    """Returns a path as an absolute one; names of tasks and runs stay."""
    named = {"run": "/" not in str(value), "task": not str(value).endswith(".toml")}
    if not isinstance(value, str) or value == "auto" or named.get(name):
        return value
    return absolute_place(value)
