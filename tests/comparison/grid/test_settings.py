"""What can be ablated, and what `docs/comparing.md` says of it."""

from fmnist.comparison.grid.settings import AXES, NOT_AXES, WITHOUT, cell_labels
from fmnist.run_settings import Training
from tests.support.paths import ROOT


def test_the_documentation_says_what_without_means() -> None:
    text = (ROOT / "docs" / "comparing.md").read_text()
    rows = [f"| `{name}` | {meaning} |" for name, meaning in WITHOUT.items()]
    assert "\n".join(["|---|---|", *rows]) in text


def test_every_setting_is_an_axis_or_has_a_reason_why_not() -> None:
    assert sorted([*AXES, *NOT_AXES]) == sorted(vars(Training()))


def test_labels_have_only_what_differs() -> None:
    cells = [{"batch": 1, "schedule": name, "select": "last"} for name in ("constant", "one-cycle")]
    assert cell_labels(cells) == ["constant", "one-cycle"]
    assert cell_labels(cells, ["schedule"]) == ["without schedule", "base"]
    assert cell_labels(cells[:1]) == ["batch 1 · constant · select last"]
