"""A network of the user's own: a function in a Python file, whose text is sent to the workers.

Only that text is sent, so it may import what is installed, and no other file of the user. What can
be told without running it is checked at once; `training.worker.network_check` runs it.
"""

import ast
import hashlib
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fmnist.errors import UserError
from fmnist.run_settings import OWN_PLACE

FORM = "(layers, images, activation)"  # the arguments of every network
KERAS_CAUSE = re.compile(r"\x1b\[1m(.*?)\x1b\[0m", re.DOTALL)  # in the error of a layer's call
DIGITS = 12  # of the source's SHA-256 in the network's name
LOCAL = "fmnist"  # the only package that need not be where packages are installed


@dataclass(frozen=True, kw_only=True)
class OwnNetwork:
    """A network function; `given` is FILE.py:FUNCTION as the user wrote it."""

    given: str
    source: str = field(repr=False)

    @property
    def function(self) -> str:
        """Name of the function in the file."""
        return self.given.rpartition(":")[2]

    @property
    def file(self) -> str:
        """The file as the user named it."""
        return self.given.rpartition(":")[0]

    @property
    def name(self) -> str:
        """The network's name in settings and ids: the function's, and the digest of the source."""
        return f"{self.function}.{hashlib.sha256(self.source.encode()).hexdigest()[:DIGITS]}"

    def load(self) -> Callable[[Any, Any, str], Any]:
        """Runs the file; returns the function. Raises UserError where either can't be had."""
        names: dict[str, Any] = {"__name__": Path(self.file).stem}
        with self.errors():
            exec(compile(self.source, self.file, "exec", dont_inherit=True), names)
        found = names.get(self.function)
        if not callable(found):
            raise self.error(f"{self.function} is {found!r}, expected a function {FORM}")
        network: Callable[[Any, Any, str], Any] = found
        return network

    def features(self, layers: Any, images: Any, activation: str) -> Any:
        """Calls the function; raises UserError unless it returns features (None, n) of floats."""
        import keras

        network = self.load()
        with self.errors():
            features = network(layers, images, activation)
        expected = "expected the output (None, features) of a layer, which a classifier follows"
        if not isinstance(features, keras.KerasTensor):
            raise self.error(f"returns {type(features).__name__}, {expected}")
        match features.shape:
            case None, int():
                pass
            case shape:
                raise self.error(f"returns {shape}, {expected}: flatten or pool it")
        if not keras.backend.is_float_dtype(features.dtype):
            raise self.error(f"returns {features.dtype}, expected floating-point numbers")
        return features

    def error(self, problem: str) -> UserError:
        """Makes the error that says which network has the problem."""
        return UserError(f"network {self.given}: {problem}")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises UserError, with the line in the file, for whatever is raised in the block."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines = [frame.lineno for frame in frames if frame.filename == self.file]
            where = f"line {lines[-1]}: " if lines else ""
            found = KERAS_CAUSE.search(str(error))
            told = next(iter((found[1] if found else str(error)).strip().splitlines()), "")
            raise self.error(f"{where}{type(error).__name__}: {told}") from error


def parse_network(given: str, data: bytes) -> OwnNetwork:
    """Makes the network of a file's bytes, without running them.

    Raises UserError with all mistakes that its text shows: no Python, no such function, another
    form, imports of other files.
    """
    match = OWN_PLACE.fullmatch(given)
    assert match, "the flags were checked"
    try:
        source = data.decode().replace("\r\n", "\n")
        tree = ast.parse(source)
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        raise UserError(f"network {given}: {where}{error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # no UTF-8, NUL, nested too deeply
        raise UserError(f"network {given}: is no Python text: {error}") from error
    network = OwnNetwork(given=given, source=source)
    problems = [*_function_problems(tree, match["function"]), *_import_problems(tree)]
    UserError.raise_if([str(network.error(problem)) for problem in problems])
    return network


def _function_problems(tree: ast.Module, name: str) -> list[str]:
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if name in functions:
        found = ast.unparse(functions[name].args)
        if _takes_three(functions[name].args):
            return []
        return [f"line {functions[name].lineno}: found {name}({found}), expected {name}{FORM}"]
    assigned = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    if name in assigned:  # what it is, is found out when it is run
        return []
    return [f"found no function {name}, expected one of {', '.join(functions) or 'some'}"]


def _takes_three(arguments: ast.arguments) -> bool:
    places = len(arguments.posonlyargs) + len(arguments.args)
    needed = places - len(arguments.defaults)
    left_out = any(default is None for default in arguments.kw_defaults)
    return needed <= 3 and (places >= 3 or arguments.vararg is not None) and not left_out


def _import_problems(tree: ast.Module) -> list[str]:
    """Finds imports of the user's other files, which no worker has."""
    problems = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = ["." * node.level + (node.module or "")]
        else:
            continue
        problems += [
            f"line {node.lineno}: imports {name}, expected installed packages only: this one file "
            "is sent to the workers"
            for name in names
            if not _is_installed(name.partition(".")[0])
        ]
    return problems


def _is_installed(package: str) -> bool:
    if package in sys.stdlib_module_names or package == LOCAL:
        return True
    try:
        spec = find_spec(package)
    except ValueError:  # no name, as of a relative import; __main__
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    installed = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    return any(Path(place).is_relative_to(folder) for place in places for folder in installed)
