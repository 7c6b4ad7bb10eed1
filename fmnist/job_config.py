"""The flags of a job as a TOML file: it is published with a result, and gives that result again."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

CONFIG = "config.toml"
HEAD = "# This result again: fmnist"  # how the file begins; the job's name follows
NETWORK = "network.py"  # beside it, if the run's network is the user's own
Value = str | int | float | bool | tuple[str, ...] | None
# The flags of every job that say which data a run was trained on. All others are its settings.
DATA_FLAGS = ("task", "data", "size", "test", "max_bad_rows")


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """The values of a job's flags by their names; None is a flag that is not given.

    Of a word in a value that `written` has, that is written; `flag` must be given again.
    """

    job: str
    values: Mapping[str, Value]
    written: Mapping[str, str] = field(default_factory=dict)
    flag: str = ""

    def with_values(self, values: Mapping[str, Value]) -> "JobConfig":
        """Returns the configuration with these values in place of its own."""
        return replace(self, values={**self.values, **values})

    def with_written(self, written: Mapping[str, str], flag: str) -> "JobConfig":
        """Returns the configuration that writes words so, and asks for this flag."""
        return replace(self, written=written, flag=flag)

    def of_run(self, settings: Mapping[str, Value], storage: str) -> "JobConfig":
        """Returns the flags of `train` for one of the runs that this job trains."""
        data = {name: self.values[name] for name in DATA_FLAGS if name in self.values}
        name = str(settings.get("architecture"))
        flag = f"--architecture {NETWORK}:{name.partition('.')[0]}" if "." in name else ""
        values = {**data, "storage": storage, **settings}
        return replace(self, job="train", values=values, flag=flag)

    def to_toml(self) -> str:
        """Returns the file's text. Values are written in TOML as in JSON."""
        lines = [
            f"{name} = {_to_toml(self._written(value))}"
            for name, value in self.values.items()
            if value is not None
        ]
        use = f"{HEAD} {self.job} --config {CONFIG} {self.flag}".rstrip()
        return "\n".join([use, *lines, ""])

    def _written(self, value: Value) -> Value:
        """Returns the value as it is written; a list of words has commas between them."""
        if isinstance(value, tuple):  # of axes such as NAME=WORD,WORD
            parts = (entry.partition("=") for entry in value)
            return tuple(f"{name}{equals}{self._written(words)}" for name, equals, words in parts)
        if not self.written or not isinstance(value, str):
            return value
        words = [word.strip() for word in value.split(",")]
        if not self.written.keys() & set(words):
            return value
        return ",".join(self.written.get(word, word) for word in words)


def _to_toml(value: Value) -> str:
    # TOML wants DEL escaped, which JSON does not.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
