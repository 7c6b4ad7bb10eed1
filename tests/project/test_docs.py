"""Checks that files, flags and commands named in README.md, CONTRIBUTING.md and docs/ exist.

Each check is a function that returns the problems of one document, so that the checks themselves
are tested with wrong documents.
"""

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from fmnist.data.load import load
from fmnist.tasks import find_task
from jobs.command import JOBS
from tests.support.paths import ROOT
from tests.support.readme import run_example

README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOREIGN = {"--set"}  # flags of other programs that stand alone in a code span: helm's

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
PATH = re.compile(
    r"(?<![\w/.~*-])((?:fmnist|jobs|tests|benchmarks|docs|\.ci)/[\w./-]*)(?:::(\w+))?"
)
MODULE = re.compile(r"python3? -m ((?:fmnist|jobs|tests|benchmarks)\.[\w.]+)")
COMMAND = re.compile(rf"(?:python -m jobs\.|(?<![\w./-])fmnist )({'|'.join(JOBS)})\b(.*)")
FLAG = re.compile(r"--[a-z][a-z-]*")
Check = Callable[[str, Path], list[str]]


def prose(text: str) -> str:
    """Returns the text without its code blocks."""
    return BLOCK.sub("", text)


def code(text: str) -> list[str]:
    """Returns the contents of all code blocks and code spans."""
    return [block for _, block in BLOCK.findall(text)] + SPAN.findall(prose(text))


def anchors(text: str) -> set[str]:
    """Returns the anchors that GitHub makes of a document's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(prose(text))
    }


def broken_links(text: str, document: Path) -> list[str]:
    """Returns relative links to a file or an anchor that does not exist."""
    problems = []
    for link in LINK.findall(prose(text)):
        name, _, anchor = link.partition("#")
        target = document.parent / name
        if "://" in link or (target.exists() and not anchor):
            continue
        if not target.exists() or anchor not in anchors(target.read_text() if name else text):
            problems.append(link)
    return problems


def missing_paths(text: str, document: Path) -> list[str]:
    """Returns named files, folders, tests and modules of the project that do not exist."""
    problems = []
    for path, test in PATH.findall(text):
        file = ROOT / path.rstrip(".")
        if not file.exists() or (test and f"def {test}(" not in file.read_text()):
            problems.append(f"{path}::{test}" if test else path)
    for module in MODULE.findall(text):
        file = ROOT / module.replace(".", "/")
        if not file.with_suffix(".py").exists() and not (file / "__main__.py").exists():
            problems.append(module)
    return problems


def refused_commands(text: str, document: Path) -> list[str]:
    """Returns command lines that their job does not accept; those with … are only examples."""
    problems = []
    for block in code(text):
        for line in block.replace("\\\n", " ").splitlines():
            command = COMMAND.search(line.partition(" >>")[0])
            if command is None or "…" in line:
                continue
            arguments = shlex.split(command[2], comments=True)
            if not accepts(f"jobs.{command[1]}", arguments):
                problems.append(line.strip())
    return problems


def accepts(module: str, arguments: list[str]) -> bool:
    """Returns True if the job's own parser takes these arguments; the job itself is not started."""
    before = sys.argv
    sys.argv = [module, *arguments]
    try:
        importlib.import_module(module).parse()
    except SystemExit as end:
        return end.code in (None, 0) or not arguments  # --help, or named without its arguments
    finally:
        sys.argv = before
    return True


def unknown_flags(text: str, document: Path) -> list[str]:
    """Returns code spans that begin with a flag that no job has."""
    named = {FLAG.match(span) for span in SPAN.findall(prose(text))}
    return sorted({flag.group() for flag in named if flag} - all_flags() - FOREIGN)


@cache
def all_flags() -> set[str]:
    """Returns the flags of all jobs, from their help."""
    found: set[str] = set()
    for name, *words in (*((job,) for job in JOBS), ("runs", "list"), ("runs", "rm")):
        command = [sys.executable, "-m", f"jobs.{name}", *words, "--help"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found |= set(FLAG.findall(run.stdout))
    return found


def unknown_targets(text: str, document: Path) -> list[str]:
    """Returns named targets of make that the Makefile does not have."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for each in code(text) for target in re.findall(r"\bmake ([a-z][\w-]*)", each)}
    return sorted(named - targets)


CHECKS = [broken_links, missing_paths, refused_commands, unknown_flags, unknown_targets]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_what_a_document_names_is_there(document: Path, check: Check) -> None:
    assert check(document.read_text(), document) == []


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (broken_links, "[a](docs/nothing.md)"),
        (broken_links, "[a](docs/gpu.md#nothing)"),
        (missing_paths, "`fmnist/nothing.py`"),
        (missing_paths, "`tests/project/test_docs.py::test_nothing`"),
        (missing_paths, "`python -m benchmarks.nothing`"),
        (refused_commands, "```sh\n.venv/bin/python -m jobs.train \\\n    --nothing 1\n```"),
        (refused_commands, "```sh\npython -m jobs.score --data auto\n```"),
        (refused_commands, "`fmnist train --nothing 1`"),
        (unknown_flags, "`--nothing`"),
        (unknown_targets, "```sh\nmake nothing\n```"),
    ],
)
def test_each_check_finds_what_it_is_for(check: Check, text: str) -> None:
    assert len(check(f"# A document\n\n{text}\n", README)) == 1


def test_the_readme_is_short_and_leads_to_every_document() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in LINK.findall(text)}
    assert set(DOCUMENTS) - {README} <= linked


def test_the_example_with_arrays_is_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_example(ROOT / "docs/data.md", tmp_path)
    monkeypatch.chdir(tmp_path)
    dataset = load(find_task("shapes.toml"), "shapes")
    assert dataset.train is not None and len(dataset.train) == 300
    assert dataset.test is not None and dataset.test.images.shape == (60, 12, 20, 3)


def test_every_dependency_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[=<>\[]", each)[0] for each in project["dependencies"]}
    section = (ROOT / "docs/design.md").read_text().partition("\n## Dependencies\n")[2]
    rows = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)[1:]
    listed = {name for row in rows for name in re.sub(r"\[.*\]", "", row).split(", ")}
    assert listed == names
