"""The table of the benchmarks says what was measured."""

from benchmarks.paired import Paired, in_turn, markdown


def test_a_row_has_the_median_of_the_rounds_ratios_not_the_ratio_of_the_medians() -> None:
    row = Paired(name="x", unit="s", ours=[1, 2, 9], baseline=[2, 2, 3], target="≤ 1", of_peak=0.5)
    assert markdown([row]).splitlines()[-1] == (
        "| x | 2.0 | 2.0 | s | 1.00 | 0.50–3.00 | ≤ 1 | 50% |"
    )


def test_ways_are_measured_in_turn() -> None:
    calls: list[str] = []

    def measure(name: str) -> float:
        calls.append(name)
        return len(calls)

    found = in_turn({"a": lambda: measure("a"), "b": lambda: measure("b")}, 2)
    assert calls == ["a", "b", "a", "b"] and found == {"a": [1, 3], "b": [2, 4]}
