"""A job's flags as TOML: what is written is read again, for any text and number."""

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fmnist.job_config import JobConfig

TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # surrogates are in no file and no path
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = TEXT | NUMBERS | st.booleans() | st.lists(TEXT).map(tuple)


@given(st.dictionaries(st.from_regex("[a-z_]+", fullmatch=True), VALUES))
def test_what_is_written_is_read_again(values: dict[str, Any]) -> None:
    read = tomllib.loads(JobConfig(job="train", values=values).to_toml())
    read = {name: tuple(v) if isinstance(v, list) else v for name, v in read.items()}
    assert read == values
    assert {name: type(value) for name, value in read.items()} == {
        name: type(value) for name, value in values.items()
    }


def test_a_flag_without_a_value_is_left_out() -> None:
    config = JobConfig(job="train", values={"task": None, "epochs": 3})
    assert (
        config.to_toml() == "# This result again: fmnist train --config config.toml\nepochs = 3\n"
    )


def test_a_run_has_its_data_and_its_settings_and_nothing_else_of_the_job() -> None:
    values = {"task": "fashion", "data": "/images", "storage": "/a", "seeds": 5, "epochs": 3}
    run = JobConfig(job="compare", values=values).of_run({"epochs": 4, "seed": 2}, "s3://b/c")
    assert run.job == "train"
    assert run.values == {
        "task": "fashion", "data": "/images", "storage": "s3://b/c", "epochs": 4, "seed": 2,
    }  # fmt: skip
