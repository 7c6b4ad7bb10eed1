"""Storage works on Ceph's gateway, which treats conditions and uploads differently from Amazon."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from fmnist.registry.champion import read_champion
from fmnist.storage.open import S3Storage, open_storage
from tests.support.paths import ROOT

NIGHTS = """
import json, sys
import ray
from fmnist.retraining.gate import Gate
from fmnist.scoring.inputs import find_inputs
from fmnist.data.formats.parquet import write_part
from fmnist.run_settings import Cluster
from fmnist.registry.retention_settings import Retention
from fmnist.retraining.result import retrainings_folder
from fmnist.retraining.run import retrain
from fmnist.retraining.plan import make_plan
from fmnist.storage.open import open_storage
from tests.support.challengers import RECIPE, readable
from tests.support.samples import SHAPES
storage = open_storage(sys.argv[1])
write_part(readable(99).test, *storage.arrow("data/test"))
ray.init(
    "local", num_cpus=2, object_store_memory=2**27, include_dashboard=False, log_to_driver=False
)
for seed in (1, 2):
    night = retrain(
        make_plan(readable(seed), RECIPE, storage),
        find_inputs(SHAPES, f"{storage.uri}/data"),
        Cluster(cpus_per_worker=1),
        storage,
        gate=Gate(margin=1.0, confidence=0.0),
        retention=Retention(),
        command="a test",
        actors=1,
    )
    path = f"{retrainings_folder(night.id)}/{night.files['summary.json'].path}"
    summary = json.loads(storage.read(path))
    lines = storage.read(summary["predictions"]["submission"].removeprefix(f"{storage.uri}/"))
    print(summary["outcome"], lines.count(b"\\n") - 1)
"""


def test_two_nights_train_score_and_move_the_champion(ceph_uri: str) -> None:
    command = [sys.executable, "-c", NIGHTS, ceph_uri]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "promoted 60"
    storage = open_storage(ceph_uri)
    champion = read_champion(storage, "shapes")
    assert champion is not None and champion.counter == 2
    assert not [key for key in storage.keys("runs") if key.endswith("lease.json")]


def test_the_form_of_conditions_is_found_without_a_trace_and_kept(ceph_uri: str) -> None:
    storage = open_storage(ceph_uri)
    assert isinstance(storage, S3Storage) and not storage.quoted_etags
    sent = pickle.loads(pickle.dumps(storage))
    version = sent.replace("key", b"one", version=None)
    assert sent.replace("key", b"two", version=version) and sent.read("key") == b"two"
    assert sent.replace("key", b"three", version=version) is None
    listed = storage._client.list_objects_v2(Bucket=storage.bucket)["Contents"]
    assert [each["Key"] for each in listed] == ["results/key"]


def test_arrow_uploads_large_and_small_files(ceph_uri: str, tmp_path: Path) -> None:
    storage = open_storage(ceph_uri)
    for name, size in (("empty", 0), ("small", 10), ("large", 20 << 20)):
        system, path = storage.arrow(name)
        with system.open_output_stream(path) as file:
            file.write(bytes(size))
        assert storage.digest(name).size == size
    (tmp_path / "file").write_bytes(bytes(20 << 20))
    assert storage.upload(tmp_path / "file", "uploaded") == storage.digest("large")


def test_what_the_user_has_set_for_checksums_stays(
    ceph_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    system, path = open_storage(ceph_uri).arrow("key")
    with pytest.raises(OSError, match="411"), system.open_output_stream(path) as file:
        file.write(b"content")
