"""What `ray job submit --working-dir .` sends to the cluster."""

import shutil
import zipfile
from pathlib import Path

from ray._private.runtime_env.packaging import create_package

from tests.support.paths import ROOT

SENT = (
    "fmnist/a.py", "fmnist/deep/b.py", "jobs/c.py", "benchmarks/d.py", "pyproject.toml",
    "pets.toml", "nets.py", "model.keras", "tell.sh",
)  # fmt: skip
KEPT = (
    "results/runs/a.py", "photos/1.png", ".git/config", ".env", "secret", "fmnist/__pycache__/a.pyc"
)  # fmt: skip


def test_code_and_the_users_own_files_beside_it_are_sent_and_nothing_that_grew(
    tmp_path: Path,
) -> None:
    folder, package = tmp_path / "checkout", tmp_path / "package.zip"
    for name in (*SENT, *KEPT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    shutil.copy(ROOT / ".rayignore", folder)
    create_package(str(folder), package, include_gitignore=True)
    with zipfile.ZipFile(package) as found:
        files = {name for name in found.namelist() if not name.endswith("/")}
    assert files == set(SENT)
