"""The flags of a job: read into typed dataclasses, and what several jobs' flags share."""

import argparse
import re
import shlex
import sys
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar, get_args

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fmnist.errors import UserError, unknown
from fmnist.recipes import RECIPES
from fmnist.tasks import MOST_SIDE
from jobs.support.config import KINDS, flag_types, kinds_of, read_config, with_values

ON_FINISH = "--on-finish"
HIDDEN = "…"
NONE = "none"  # the value of a flag that has none
WORDS: dict[type, str] = {int: "N", float: "NUMBER", str: "TEXT"}  # for values, in the help
DEFAULT_RECIPE = "quick"
DEFAULT_TASK = "fashion"  # where the data don't say what they are
SIZE = re.compile(r"([1-9]\d{0,3})x([1-9]\d{0,3})")

Flags = TypeVar("Flags")


@dataclass(frozen=True, kw_only=True)
class JobFlags:
    """What every job takes that makes results."""

    config: str | None = None
    """TOML file of flags, local or s3://…; flags that are given here win."""
    quiet: bool = False
    """Print nothing but warnings, errors and where the result is."""


@dataclass(frozen=True, kw_only=True)
class FinishFlags(JobFlags):
    """What the jobs take, too, that run for hours or on a schedule."""

    on_finish: str | None = None
    """Shell command that is called when the job has ended, also if it has failed."""


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """Image files (PNG, JPEG, WebP, BMP, GIF; in folders or in Parquet) as a data set."""

    size: str | None = None
    """HEIGHTxWIDTH that all images are scaled to; without it, they must be of one size."""
    test: float = 0.0
    """Share of each class that is held out for testing, where a folder has no test part."""
    max_bad_rows: int = 0
    """Images that can't be used and are left out; with more of them the job ends."""


def check_images(flags: ImageFlags) -> None:
    """Raises UserError that lists the settings with a value that they cannot have."""
    problems = []
    sides = SIZE.fullmatch(flags.size) if flags.size else None
    if flags.size and not (sides and max(map(int, sides.groups())) <= MOST_SIDE):
        problems.append(
            f"size is {flags.size!r}, expected HEIGHTxWIDTH such as 64x64, up to {MOST_SIDE}"
        )
    if not 0 <= flags.test < 1:
        problems.append(f"test is {flags.test}, expected 0 up to below 1")
    if flags.max_bad_rows < 0:
        problems.append(f"max bad rows is {flags.max_bad_rows}, expected at least 0")
    UserError.raise_if(problems)


def _value(info: PrimitiveTypeInfo, *, strict: bool) -> PrimitiveConstructorSpec[Any] | None:
    """Reads numbers, text and the names of a Literal, and shows in the help what a flag takes.

    tyro ends the process at the first wrong name. So where it is not `strict`, any text is a name,
    and the job lists all mistakes. `none` takes a value of a file away.
    """
    kinds = kinds_of(info.type)
    names = [kind for kind in kinds if isinstance(kind, str)]
    types = [kind for kind in kinds if isinstance(kind, type)]
    if not {*types} <= WORDS.keys():
        return None
    choices = ["{" + " | ".join(names) + "}"] if names else []

    def read(words: list[str]) -> int | float | str | None:
        if words[0].lower() == NONE and type(None) in get_args(info.type):
            return None
        for kind in (int, float):
            if kind in types:
                with suppress(ValueError):
                    return kind(words[0])
        if names or str in types:
            return words[0]
        raise ValueError(f"found {words[0]!r}, expected {KINDS[types[0]]}")

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=" | ".join([*choices, *(WORDS[kind] for kind in types)]),
        instance_from_str=read,
        is_instance=lambda value: value is None or isinstance(value, int | float | str),
        str_from_instance=lambda value: [NONE if value is None else str(value)],
        choices=tuple(names) if strict and names else None,
    )


def flag_registry(*, strict: bool = False) -> ConstructorRegistry:
    """Returns tyro's rules for values.

    By `strict` ones, as for a shell's script, a flag that knows names takes these alone.
    """
    registry = ConstructorRegistry()
    registry.primitive_rule(partial(_value, strict=strict))
    return registry


def parse_flags(flags: type[Flags], description: str | None) -> Flags:
    """Reads the flags of this process; what is not given comes from `--config`, then the recipe.

    Raises UserError for an unknown recipe and a wrong file; tyro ends the process with exit code 2
    for flags that do not fit.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe")
    early.add_argument("--config")
    given = early.parse_known_args()[0]
    values = read_config(given.config, flags) if given.config else {}
    required = {
        field.name: tyro.MISSING
        for field in fields(flags)  # type: ignore[arg-type]  # any dataclass
        if field.default is field.default_factory is MISSING
    }
    default = flags(**required)
    if "recipe" in flag_types(flags):
        names = (given.recipe, values.get("recipe"), default.recipe)  # type: ignore[attr-defined]
        default = _with_recipe(default, str(next(name for name in names if name is not None)))
    words = [word.partition("=")[0].replace("-", "_") for word in sys.argv[1:]]
    for name in [name for name, value in values.items() if isinstance(value, tuple)]:
        if f"__{name}" in words:  # tyro would add what is given to what the file has
            del values[name]
    found: Flags = tyro.cli(
        flags,
        prog=_program(),
        description=description,
        registry=flag_registry(),
        default=with_values(default, values),
    )
    return found


def _with_recipe(flags: Flags, name: str) -> Flags:
    """Returns the flags with the settings of that recipe in their dataclasses."""
    if name not in RECIPES:
        raise UserError(unknown("recipe", name, RECIPES))
    settings = asdict(RECIPES[name])
    del settings["ingest"]  # this is no recipe's, but the job's
    changes = {
        field.name: with_values(getattr(flags, field.name), settings)
        for field in fields(flags)  # type: ignore[arg-type]  # any dataclass
        if is_dataclass(getattr(flags, field.name))
    }
    return replace(flags, **changes)  # type: ignore[type-var]


def parse_command(commands: type[Flags], description: str | None) -> Flags:
    """Reads one of several commands and its flags."""
    return tyro.cli(
        commands, prog=_program(), description=description, registry=flag_registry(strict=True)
    )


def command() -> str:
    """The command line of this process, as a user would type it.

    Without the value of `--on-finish`: results have this line, and it may contain a secret.
    """
    words, hide = [], False
    for word in sys.argv[1:]:
        flag, given, _ = word.partition("=")
        named = flag.replace("_", "-") == ON_FINISH
        words.append(HIDDEN if hide else f"{flag}={HIDDEN}" if named and given else word)
        hide = named and not given and not hide
    return f"{_program()} {shlex.join(words)}".strip()


def _program() -> str:
    module = sys.modules["__main__"].__spec__
    return f"python -m {module.name}" if module else sys.argv[0]
