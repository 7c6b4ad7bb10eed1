import io
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from fmnist.cluster import progress_bar
from fmnist.cluster.progress_bar import Pace, format_duration, show_count


def test_the_pace_leaves_out_the_start() -> None:
    times: Iterator[float] = iter([0.0, 60.0, 70.0, 80.0])
    pace = Pace("images", 1_000, clock=lambda: next(times))
    assert pace.describe(0) == ""  # still starting
    assert pace.describe(100) == ""  # the time that the first block took is not known
    assert pace.describe(200) == "10 images/s  0:01:20 left"
    assert pace.describe(1_050) == "48 images/s  0:00:00 left"  # some were done twice


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00:00"), (59.6, "0:01:00"), (3_723, "1:02:03")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, last: int = 3_999) -> str:
    """Returns the output while a count goes 500, 1,000, 1,500 … up to `last` of 4,000 images."""
    output = io.StringIO()
    monkeypatch.setattr(progress_bar, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(progress_bar, "LOG_INTERVAL", 0.05)
    monkeypatch.setattr(
        progress_bar,
        "Console",
        lambda **options: Console(file=output, force_terminal=terminal, width=80, **options),
    )
    done = iter(range(500, 4_000, 500))
    with show_count("scoring", "images", 4_000, lambda: next(done, last)):
        time.sleep(0.3)
    return output.getvalue()


def test_a_log_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *lines = shown(monkeypatch, terminal=False).splitlines()
    assert first == "scoring 4,000 images …"
    assert 1 <= len(lines) <= 7
    assert all(line.startswith("scoring: ") and " of 4,000 images" in line for line in lines)


def test_a_terminal_has_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, terminal=True)
    assert "scoring" in text and "images/s" in text and "100%" in text
    assert text.endswith("\x1b[2K")  # the line is cleared
    assert "finishing" in shown(monkeypatch, terminal=True, last=4_000)
