"""Networks of a user's own, with the commands that docs/own-networks.md prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.readme import BLOCK, run_example
from tests.support.servers.head import Done, environment

DOCUMENT = (ROOT / "docs/own-networks.md").read_text()
LINES = re.findall(r"^\.venv/bin/(python -m jobs\.\w+ --architecture nets.*)$", DOCUMENT, re.M)
WRONG = "def net(layers, images, activation):\n    return layers.Conv2D(2, 3)(images)\n"


def run(command: str, folder: Path) -> Done:
    """Runs a command of the document in that folder."""
    words = [sys.executable, *shlex.split(command)[1:]]
    env = environment() | {"PYTHONPATH": f"{ROOT}:{environment().get('PYTHONPATH', '')}"}
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.timeout(900)  # three jobs, each with a Ray of its own
def test_the_example_trains_and_compares_as_printed(tmp_path: Path) -> None:
    run_example(ROOT / "README.md", tmp_path)
    (text,) = BLOCK.findall(DOCUMENT)
    (tmp_path / "nets.py").write_text(text)
    train, compare = LINES
    trained = run(train, tmp_path)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    found = re.search(r"^run (photos-my_net\.\w{12}-\w+) is finished", trained.stdout, re.M)
    assert found, trained.stdout
    compared = run(compare, tmp_path)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "is finished: 3 of 3 runs" in compared.stdout
    networks = [
        path.name.split("-")[1].split(".")[0] for path in (tmp_path / "results/runs").iterdir()
    ]
    assert sorted(networks) == ["dense", "my_net", "my_net", "my_wide_net"]

    folder = tmp_path / "results/runs" / found[1]
    (config,) = folder.glob("*/config.toml")
    use = config.read_text().splitlines()[0].partition(": fmnist ")[2]
    again = run(f"python -m jobs.{use}", config.parent)
    assert again.returncode == 0 and f"run {found[1]} is finished" in again.stdout, again.stderr
    assert "epoch" not in again.stdout


def test_what_is_wrong_with_a_network_is_one_error_and_nothing_is_written(
    tmp_path: Path, real_images: str
) -> None:
    (tmp_path / "nets.py").write_text(WRONG)
    command = f"python -m jobs.train --architecture nets.py:net --data {real_images} --batch 8"
    done = run(command, tmp_path)
    assert done.returncode == 2
    expected = r"error: network nets.py:net: returns \(None, 26, 26, 2\), .*: flatten or pool it\n"
    assert re.fullmatch(expected, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["nets.py"]
