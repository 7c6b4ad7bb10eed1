"""The flags of a job: read into typed dataclasses, and what several jobs' flags share."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from fmnist.errors import UserError
from fmnist.recipes import RECIPES
from fmnist.settings import Training

DEFAULT_RECIPE = "quick"

Flags = TypeVar("Flags")

_registry = ConstructorRegistry()


@_registry.primitive_rule
def _choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[str] | None:
    """Shows the choices of a Literal in the help, but takes any text.

    tyro would end the process at the first wrong choice; `settings.check` lists all mistakes.
    """
    if get_origin(info.type) is not Literal:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + "|".join(get_args(info.type)) + "}",
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    )


def parse_flags(flags: type[Flags], description: str | None, default: Flags | None = None) -> Flags:
    """Reads the flags of this process; tyro ends it with exit code 2 if they do not fit."""
    preset: dict[str, Any] = {} if default is None else {"default": default}
    found: Flags = tyro.cli(
        flags, prog=_program(), description=description, registry=_registry, **preset
    )
    return found


def named_recipe() -> Training:
    """Returns the recipe that `--recipe` names: the defaults of all flags that are not given."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", default=DEFAULT_RECIPE)
    recipe = first.parse_known_args()[0].recipe
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe {recipe!r}: expected one of {', '.join(RECIPES)}")
    return RECIPES[recipe]


def command() -> str:
    """The command line of this process, as a user would type it."""
    return f"{_program()} {shlex.join(sys.argv[1:])}".strip()


def _program() -> str:
    module = sys.modules["__main__"].__spec__
    return f"python -m {module.name if module else Path(sys.argv[0]).stem}"
