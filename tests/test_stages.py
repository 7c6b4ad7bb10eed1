import time

import pytest

from fmnist import stages
from fmnist.stages import StageLog, stage


def test_a_log_has_a_line_for_a_long_stage_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stages, "SHOW_AFTER", 60.0)
    with stage("reading the data"):
        pass
    monkeypatch.setattr(stages, "SHOW_AFTER", 0.05)
    with stage("starting Ray"):
        time.sleep(0.2)
    assert capsys.readouterr().out == "starting Ray …\n"


def test_a_stage_of_another_process_is_shown_once_it_has_lasted() -> None:
    times: list[float] = [0.0]
    log = StageLog(clock=lambda: times[-1])
    shown = []
    for seconds, current in (
        (1.0, "starting"), (2.0, "starting"), (3.5, "starting"), (9.0, "starting"),
        (10.0, ""), (20.0, ""),
        (21.0, "evaluating"), (22.0, "evaluating"), (23.5, "evaluating"),
    ):  # fmt: skip
        times.append(seconds)
        shown.append(log.look(current))
    quiet = [None, None]
    assert shown == [*quiet, "starting …", None, *quiet, *quiet, "evaluating …"]
