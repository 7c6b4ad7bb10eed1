"""`pip install .` gives the command `fmnist`, with all that it needs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

PARTS = ("fmnist", "jobs", "pyproject.toml", "README.md")


def test_pip_installs_the_command_and_its_files(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for part in PARTS:  # a copy, since setuptools builds in the folder
        path = ROOT / part
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / part)
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", *install, "--target", str(target), str(source)]
    subprocess.run(command, check=True)

    found = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    wanted = {
        path.relative_to(ROOT)
        for part in ("fmnist", "jobs")
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= found
    done = subprocess.run(
        [target / "bin" / "fmnist", "train", "--help"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "usage: fmnist train" in done.stdout, done.stderr
