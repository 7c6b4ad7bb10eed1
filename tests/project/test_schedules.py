"""Checks the documented schedules: jobs accept their commands, policies name one bucket."""

import json
import re
import shlex
from typing import Any

import pytest
import yaml
from ray.dashboard.modules.job.cli import submit

from jobs import retrain
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PINS = DOCS.parent / "requirements.txt"
RETRAIN = ["python", "-m", "jobs.retrain"]


def blocks(language: str) -> list[str]:
    """Returns the code blocks of a language in schedules.md."""
    text = (DOCS / "schedules.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def cron_job() -> dict[str, Any]:
    return yaml.safe_load((DOCS / "kubernetes/raycronjob.yaml").read_text())


@pytest.fixture
def crontab() -> tuple[dict[str, str], str, list[str]]:
    """Returns the variables, the five fields of the time, and the command."""
    (text,) = blocks("crontab")
    *settings, line = text.splitlines()
    fields = line.split(maxsplit=5)
    assert "%" not in line  # cron takes an unescaped % for the end of the line
    variables = dict(setting.split("=", 1) for setting in settings)
    return variables, " ".join(fields[:5]), shlex.split(fields[5])


def check_retrain(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the job's own parser check these arguments."""
    monkeypatch.setattr("sys.argv", ["retrain", *arguments])
    flags = retrain.parse()
    assert (flags.task, flags.storage) == ("fashion", "s3://BUCKET/fmnist")


def test_kuberay_starts_what_the_job_understands(
    cron_job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(cron_job["spec"]["jobTemplate"]["entrypoint"])
    assert words[:3] == RETRAIN
    check_retrain(words[3:], monkeypatch)


def test_cron_starts_what_ray_and_the_job_understand(
    crontab: tuple[dict[str, str], str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = crontab[2]
    start = command.index("submit")
    assert command[start - 2].endswith("/ray") and command[start - 1] == "job"
    arguments = command[start + 1 : command.index(">>")]
    given = submit.make_context("submit", arguments).params
    assert given["no_wait"] and given["working_dir"] == "."
    assert given["entrypoint"][:3] == tuple(RETRAIN)
    check_retrain(list(given["entrypoint"][3:]), monkeypatch)


def test_both_start_at_the_same_time(
    cron_job: dict[str, Any], crontab: tuple[dict[str, str], str, list[str]]
) -> None:
    variables, schedule, _ = crontab
    assert cron_job["spec"]["schedule"] == schedule
    assert cron_job["spec"]["timeZone"] == variables["CRON_TZ"]


def test_kuberay_runs_the_ray_of_the_pins(cron_job: dict[str, Any]) -> None:
    cluster = cron_job["spec"]["jobTemplate"]["rayClusterSpec"]
    assert f"\nray=={cluster['rayVersion']} " in PINS.read_text()


def test_the_job_server_wants_a_token(
    cron_job: dict[str, Any], crontab: tuple[dict[str, str], str, list[str]]
) -> None:
    cluster = cron_job["spec"]["jobTemplate"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert crontab[0]["RAY_AUTH_MODE"] == "token"


def test_the_nodes_may_use_one_prefix_of_one_bucket() -> None:
    listing, objects = json.loads(blocks("json")[0])["Statement"]
    assert listing["Action"] == "s3:ListBucket"
    assert listing["Condition"]["StringLike"]["s3:prefix"] == ["fmnist", "fmnist/*"]
    assert set(objects["Action"]) == {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
    assert objects["Resource"] == "arn:aws:s3:::BUCKET/fmnist/*"


def test_the_head_may_start_what_cluster_yaml_has_and_nothing_wider() -> None:
    config = yaml.safe_load((DOCS.parent / "cluster.yaml").read_text())
    workers = [kind for name, kind in config["available_node_types"].items() if name != "head"]
    statements = json.loads(blocks("json")[1])["Statement"]
    conditions = [each.get("Condition", {}).get("StringEquals", {}) for each in statements]
    (types,) = [each["ec2:InstanceType"] for each in conditions if "ec2:InstanceType" in each]
    assert set(types) == {kind["node_config"]["InstanceType"] for kind in workers}
    names = {value for each in conditions for key, value in each.items() if "Tag/" in key}
    assert names == {config["cluster_name"]}
    wide = [each for each in statements if each["Resource"] == "*"]
    assert all(action.startswith("ec2:Describe") for each in wide for action in each["Action"])


def test_the_network_policy_lets_only_the_pods_of_the_schedule_in(cron_job: dict[str, Any]) -> None:
    """Pods of the schedule reach all ports, others only the job server, with its token."""
    policy = yaml.safe_load((DOCS / "kubernetes/networkpolicy.yaml").read_text())
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    cluster = cron_job["spec"]["jobTemplate"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    ours = policy["spec"]["podSelector"]
    assert all(group["template"]["metadata"]["labels"] == ours["matchLabels"] for group in groups)
    within, others = policy["spec"]["ingress"]
    assert within == {"from": [{"podSelector": ours}]}
    assert others["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert cluster["authOptions"] == {"mode": "token"}
    assert policy["spec"]["policyTypes"] == ["Ingress"]
