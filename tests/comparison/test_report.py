"""The tables of a report."""

from __future__ import annotations

from implicitkit.comparison.report import table

CELL = {"mean": 1.0, "low": 0.81, "high": 1.24, "p_holm": 0.01}


def differences(cell: dict[str, float] | None) -> str:
    """The row of b."""
    evaluation = {
        "units": {"psnr_hole": "dB"},
        "differences": {"a": {"b": {"4": {"psnr_hole": cell} if cell else {}}, "c": {"4": {"psnr_hole": CELL}}}},
        "costs": {name: {"macs": macs, "seconds": 0.5} for name, macs in (("a", 200), ("b", 500), ("c", None))},
    }
    lines = table("differences", evaluation, "a", "psnr_hole").splitlines()
    assert lines[:2] == ["| PSNR of the hole, dB, minus a | ×4 | MACs | time |", "| --- | --- | --- | --- |"]
    assert lines[3] == "| c | **+1.00 [+0.81, +1.24]** | – | ×1 |" and len(lines) == 4
    return lines[2]


def test_a_gain_stands_beside_what_it_costs_and_is_bold_where_chance_is_excluded() -> None:
    assert differences(CELL) == "| b | **+1.00 [+0.81, +1.24]** | ×2.5 | ×1 |"
    assert differences({**CELL, "p_holm": 0.2}) == "| b | +1.00 [+0.81, +1.24] | ×2.5 | ×1 |"
    assert differences({**CELL, "low": -0.1}) == "| b | +1.00 [-0.10, +1.24] | ×2.5 | ×1 |"
    old = {key: value for key, value in CELL.items() if key != "p_holm"}  # of a report before the correction
    assert differences(old) == "| b | **+1.00 [+0.81, +1.24]** | ×2.5 | ×1 |"
    assert differences(None) == "| b | – | ×2.5 | ×1 |"


def test_scores_with_their_spread() -> None:
    cells = {
        "A": {"mean": 27.314, "spread": 0.051},
        "B": {"mean": 26.0, "spread": None},
        "C": {"mean": None, "spread": None},
    }
    evaluation = {
        "units": {"psnr": "dB"},
        "summary": {name: {"20-40": {"psnr": cell}} for name, cell in cells.items()},
    }
    assert table("scores", evaluation, "psnr").splitlines() == [
        "| PSNR, dB | 20–40 % |",
        "| --- | --- |",
        "| A | 27.31 ± 0.05 |",
        "| B | 26.00 |",
        "| C | – |",
    ]


def test_runs_that_ended_early_are_counted_by_the_steps_that_they_took() -> None:
    evaluation = {"costs": {"A": {"total": 9, "trainable": 9, "macs": 1.0, "seconds": 1.0}}}
    runs = [{"steps": steps, "seconds": 1.0, "first": None} for steps in (2000, 150, 1999)]
    assert "| 150 to 2,000 |" in table("costs", {"A": {"runs": runs}}, evaluation)


def test_costs_of_stages_and_of_weights_from_elsewhere() -> None:
    cost = {"total": 66131, "trainable": 203, "macs": 1.7e9, "seconds": 0.01234}
    evaluation = {"costs": {"mean": {"macs": None, "seconds": None}, "A": cost, "given": cost}}
    first = {"steps": 500, "label": "begin", "seconds": 10.0}
    runs = [{"steps": 1500, "seconds": s, "first": {**first}} for s in (100.0, 120.0)]
    lines = table("costs", {"A": {"runs": runs}, "given": {"weights": "x"}}, evaluation).splitlines()
    assert lines[2:] == [
        "| mean | – | – | – | – | – | – |",
        "| A | 66,131 | 203 | 1.7 G | 0.0123 | 1,500 after 500 of begin | 120 |",
        "| given | 66,131 | 203 | 1.7 G | 0.0123 | – | – |",
    ]
