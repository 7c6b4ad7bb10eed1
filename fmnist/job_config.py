"""The flags of a job as a TOML file: it is published with a result, and gives that result again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

CONFIG = "config.toml"
Value = str | int | float | bool | tuple[str, ...] | None
# The flags of every job that say which data a run was trained on. All others are its settings.
DATA_FLAGS = ("task", "data", "size", "test", "max_bad_rows")


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """The values of a job's flags by their names; None is a flag that is not given."""

    job: str
    values: Mapping[str, Value]

    def with_values(self, values: Mapping[str, Value]) -> "JobConfig":
        """Returns the configuration with these values in place of its own."""
        return replace(self, values={**self.values, **values})

    def of_run(self, settings: Mapping[str, Value], storage: str) -> "JobConfig":
        """Returns the flags of `train` for one of the runs that this job trains."""
        data = {name: self.values[name] for name in DATA_FLAGS if name in self.values}
        return JobConfig(job="train", values={**data, "storage": storage, **settings})

    def to_toml(self) -> str:
        """Returns the file's text. Values are written in TOML as in JSON."""
        lines = [
            f"{name} = {_to_toml(value)}"
            for name, value in self.values.items()
            if value is not None
        ]
        use = f"# This result again: fmnist {self.job} --config {CONFIG}"
        return "\n".join([use, *lines, ""])


def _to_toml(value: Value) -> str:
    # TOML wants DEL escaped, which JSON does not.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
