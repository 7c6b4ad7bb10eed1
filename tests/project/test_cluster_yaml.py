"""cluster.yaml is valid for Ray's launcher, and has none of the dangerous settings."""

import re
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from fmnist.recipes import RECIPES
from fmnist.run_settings import Cluster
from tests.support.paths import ROOT

FILE = ROOT / "cluster.yaml"
ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b")


@pytest.fixture
def config() -> dict[str, Any]:
    """The configuration as Ray's launcher reads it: the file, and Ray's defaults for the rest."""
    return prepare_config(yaml.safe_load(FILE.read_text()))


@pytest.fixture
def kinds(config: dict[str, Any]) -> dict[str, Any]:
    return config["available_node_types"]


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    validate_config(config)


def test_a_wrong_field_would_be_seen(config: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="idle_minutes"):
        validate_config(config | {"idle_minutes": 10})


def test_the_head_only_schedules(config: dict[str, Any], kinds: dict[str, Any]) -> None:
    head = kinds[config["head_node_type"]]
    assert head["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]


def test_a_gpu_node_holds_a_training_worker(kinds: dict[str, Any]) -> None:
    needed = Cluster(gpu=True)
    there = kinds["gpu"]["resources"]
    assert there["GPU"] >= needed.gpus_per_worker
    assert there["CPU"] >= (needed.cpus_per_worker or 1)


def test_gpu_nodes_hold_the_workers_of_every_recipe(kinds: dict[str, Any]) -> None:
    most = kinds["gpu"]["max_workers"] * kinds["gpu"]["resources"]["GPU"]
    assert all(recipe.workers <= most for recipe in RECIPES.values())


def test_a_cpu_node_holds_a_scoring_actor(kinds: dict[str, Any]) -> None:
    assert kinds["cpu"]["resources"]["CPU"] >= 1
    assert "GPU" not in kinds["cpu"]["resources"]


def test_workers_come_and_go(config: dict[str, Any], kinds: dict[str, Any]) -> None:
    workers = [kind for name, kind in kinds.items() if name != config["head_node_type"]]
    assert all(kind["min_workers"] == 0 < kind["max_workers"] for kind in workers)
    assert config["max_workers"] == sum(kind["max_workers"] for kind in workers)
    assert kinds["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}


def test_no_node_has_a_public_address(config: dict[str, Any], kinds: dict[str, Any]) -> None:
    assert config["provider"]["use_internal_ips"] is True
    for kind in kinds.values():
        (interface,) = kind["node_config"]["NetworkInterfaces"]
        assert interface["AssociatePublicIpAddress"] is False


def test_the_dashboard_answers_on_the_head_alone(config: dict[str, Any]) -> None:
    (start,) = [line for line in config["head_start_ray_commands"] if "ray start" in line]
    assert "--dashboard-host=127.0.0.1" in start
    assert set(each.group() for each in ADDRESS.finditer(str(config))) <= {"127.0.0.1"}


def test_every_ray_wants_a_token(config: dict[str, Any]) -> None:
    for part in ("head", "worker"):
        (start,) = [each for each in config[f"{part}_start_ray_commands"] if "ray start" in each]
        assert "RAY_AUTH_MODE=token" in start
    assert "~/.ray/auth_token" in config["file_mounts"]


def test_every_node_installs_its_pins_with_their_hashes(
    config: dict[str, Any], kinds: dict[str, Any]
) -> None:
    """Ray adds no installation of its own."""
    commands = {
        "": [config["head_setup_commands"], config["worker_setup_commands"]],
        "-gpu": [kinds["gpu"]["worker_setup_commands"]],
    }
    for suffix, lists in commands.items():
        for each in lists:
            (install,) = [line for line in each if "pip install" in line]
            assert install.endswith(f"--require-hashes -r ~/requirements{suffix}.txt")


def test_nothing_of_the_checkout_travels_but_the_pins(config: dict[str, Any]) -> None:
    ours = [path for path in config["file_mounts"].values() if not path.startswith("~/.ray/")]
    assert ours == ["requirements.txt", "requirements-gpu.txt"]
    assert ".git" in config["rsync_exclude"]
    assert not config["cluster_synced_files"]


def test_it_names_no_account() -> None:
    assert not re.search(r"\b\d{12}\b|\b(ami|subnet|sg|vpc)-[0-9a-f]{8,}|AKIA", FILE.read_text())
