"""Files that flags name: what a job reads of them, and what its configuration calls them."""

from pathlib import Path

import pytest

from fmnist.errors import UserError
from fmnist.run_settings import Cluster, Training, check
from jobs.compare import Flags as CompareFlags
from jobs.support.config import job_config, read_config, with_values
from jobs.support.grid import find_grid
from jobs.support.networks import config_with_files, read_files, read_networks
from jobs.train import Flags
from tests.support.models import SEPARABLE, separable


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with networks and weights."""
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(SEPARABLE)
    Path("a.keras").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ("none.py:net", "network 'none.py': .*No such file"),
        ("nets.py:net", "network nets.py:net: found no function net, expected one of separable"),
        ("net.0123456789ab", r"unknown network 'net.0123456789ab': .* as in nets.py:net; beside"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_network_that_can_not_be_read(architecture: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_networks([Training(architecture=architecture)])


@pytest.mark.parametrize("architecture", ["nets.py", "nets.txt:net", "nets.py:my-net", "cnn.1"])
def test_other_names_are_unknown(architecture: str) -> None:
    with pytest.raises(
        UserError, match=r"unknown architecture '.*, or FILE\.py:FUNCTION(; did you mean \S+\?)?$"
    ):
        check(Training(architecture=architecture), Cluster())


def test_layers_can_be_frozen_only_with_initial_weights() -> None:
    with pytest.raises(UserError, match="freeze is 2 without initial weights, expected 0"):
        check(Training(freeze=2), Cluster())
    check(Training(freeze=2, initial_weights="a.keras"), Cluster())


@pytest.mark.usefixtures("folder")
def test_initial_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match=r"initial weights 'b.keras': .*No such file"):
        read_files([Training(initial_weights="b.keras")], [])


@pytest.mark.parametrize("flag", ["architecture", "axis"])
def test_several_networks_are_an_axis_beside_ours(folder: Path, flag: str) -> None:
    names = "nets.py:separable, cnn,nets.py:with_dropout"
    given = {"architecture": names, "axis": (f"architecture={names}", "batch=8,16")}
    flags = CompareFlags(**{flag: given[flag]})  # type: ignore[arg-type]
    cells = find_grid(flags, flags.cluster).cells
    files = read_files(cells, read_networks(cells))
    expected = [separable().name, "cnn", separable("with_dropout").name]
    assert list(dict.fromkeys(files.named(cell).architecture for cell in cells)) == expected
    text = config_with_files(job_config("compare", flags), files).to_toml()
    line = text.splitlines()[0]
    assert f" --architecture '{names}'" in line and "--axis" not in line
    (folder / "config.toml").write_text(text)
    values = read_config("config.toml", CompareFlags)
    assert values["architecture"] == ",".join(expected) and ".py" not in str(values)
    again = with_values(CompareFlags(), {**values, "architecture": names})
    assert find_grid(again, again.cluster).cells == cells


def test_a_configuration_names_weights_but_no_code(folder: Path) -> None:
    given = Training(architecture="nets.py:separable", initial_weights="a.keras", freeze=1)
    flags = Flags(training=given)
    files = read_files([given], read_networks([given]))
    config = config_with_files(job_config("train", flags), files)
    named = files.named(given)
    for each in (config, config.of_run(vars(named), "results")):
        (folder / "config.toml").write_text(each.to_toml())
        assert ".py:separable" in each.to_toml().splitlines()[0]
        values = read_config("config.toml", Flags)
        assert values["architecture"] == named.architecture
        assert values["initial_weights"] == str(folder / "a.keras")
    (folder / "config.toml").write_text('architecture = "nets.py:separable"\n')
    with pytest.raises(UserError, match="no file can name code to run, expected it as a flag"):
        read_config("config.toml", Flags)
    (folder / "config.toml").write_text('axis = ["architecture=nets.py:separable"]\n')
    with pytest.raises(UserError, match="no file can name code to run, expected it as a flag"):
        read_config("config.toml", CompareFlags)
