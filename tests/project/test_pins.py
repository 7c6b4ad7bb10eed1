"""The pinned packages, and the image that is made of them."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT

FILES = [
    ROOT / f"requirements{suffix}.txt" for suffix in ("", "-gpu", "-mlflow", "-export", "-test")
]
PLAIN = FILES[0]


def pins(file: Path) -> dict[str, list[str]]:
    """Returns the versions of each package for all platforms; all must have hashes."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\S)", file.read_text().strip()):
        name, version, hashes = re.fullmatch(
            r"([\w.\-\[\],]+)==([^\\]+) \\\n((?:    --hash=sha256:\w{64}(?: \\\n)?)+)", block
        ).groups()  # type: ignore[union-attr]
        assert hashes
        found.setdefault(name, []).append(version.partition(" ;")[0])
    return found


@pytest.mark.parametrize("file", FILES[1:], ids=lambda file: file.stem)
def test_all_have_the_same_versions_of_what_they_share(file: Path) -> None:
    plain, other = pins(PLAIN), pins(file)
    assert {name: other.get(name) for name in plain} == plain


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_they_name_no_index(file: Path) -> None:
    assert "://" not in file.read_text() and "--index" not in file.read_text()


def test_what_gpus_need_more_are_cudas_libraries() -> None:
    more = set(pins(FILES[1])) - set(pins(PLAIN))
    assert {"nvidia-cudnn-cu12", "nvidia-nccl-cu12", "nvidia-cublas-cu12"} <= more
    assert all(name.startswith("nvidia-") for name in more)


@pytest.mark.parametrize(
    ("file", "package"),
    [(FILES[2], "mlflow-skinny"), (FILES[3], "tf2onnx"), (FILES[3], "onnxruntime")],
)
def test_the_tests_have_what_is_pinned_for_jobs(file: Path, package: str) -> None:
    extra, test = pins(file), pins(FILES[-1])
    assert package in extra and {name: test.get(name) for name in extra} == extra


def test_the_image_is_made_of_files_that_are_there_and_not_ignored() -> None:
    text = (ROOT / "Dockerfile").read_text()
    kept = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    choices = re.findall(r"REQUIREMENTS=(\S+)", text)
    copied = [name for name in re.findall(r"^COPY (\S+) ", text, re.MULTILINE) if "$" not in name]
    assert set(choices) == {file.name for file in FILES[:3]}
    assert sorted(kept) == sorted([*set(choices), *copied])
    assert all((ROOT / name).exists() for name in kept)


def test_the_image_installs_by_hash_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"pip install .*", text) == [
        "pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt"
    ]
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["ray"]


def test_the_schedule_finds_the_code_where_the_image_has_it() -> None:
    job = yaml.safe_load((ROOT / "docs/kubernetes/raycronjob.yaml").read_text())["spec"][
        "jobTemplate"
    ]
    path = yaml.safe_load(job["runtimeEnvYAML"])["env_vars"]["PYTHONPATH"]
    assert f"COPY jobs {path}/jobs" in (ROOT / "Dockerfile").read_text()
