"""What is computed of the benchmarks' samples."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.server.report import MEASURED, figure, lines, markdown, put_into
from benchmarks.server.results import Column, Goal, Result, Spread, spread_of


def result(samples: dict[str, list[dict[str, Any] | None]], **fields: Any) -> Result:
    return Result(
        name="case",
        title="A case",
        about="What it does.",
        metric="cost",
        unit="µs",
        better="lower",
        labels={"floor": "Floor", "omega": "OMEGA"},
        baselines={"floor": "floor", "omega": "floor"},
        samples=samples,
        **fields,
    )


def costs(*values: float) -> list[dict[str, Any] | None]:
    return [{"cost": value} for value in values]


def test_a_ratio_compares_runs_of_the_same_round_alone():
    """A machine that is three times slower in one round changes neither ratio nor spread."""
    found = result({"floor": costs(1, 3, 1), "omega": costs(2, 6, 2)}).ratio("omega")
    assert found == Spread(2, 2, 2)


def test_the_median_is_quoted_with_the_extremes():
    assert spread_of([5, 1, 2]) == Spread(2, 1, 5)
    assert spread_of([]) is None


def test_a_round_that_failed_on_one_side_gives_no_ratio():
    found = result(
        {"floor": [{"cost": 1.0}, None, {"cost": 2.0}], "omega": [None, {"cost": 9.0}, {"cost": 3.0}]}
    )
    assert found.ratio("omega") == Spread(1.5, 1.5, 1.5)


def test_without_any_common_round_there_is_no_ratio_and_no_verdict():
    found = result({"floor": [None], "omega": costs(1)}, goals=(Goal(1.25),))
    assert found.ratio("omega") is None
    assert found.verdicts() == []


@pytest.mark.parametrize(("cost", "reached"), [(1.25, True), (1.26, False)])
def test_a_goal_is_judged_by_the_median_ratio(cost, reached):
    found = result({"floor": costs(1, 1, 1), "omega": costs(cost, 0.1, 9)}, goals=(Goal(1.25),))
    assert [ok for _, _, ok in found.verdicts()] == [reached]


def test_a_goal_can_be_for_a_figure_and_from_below():
    found = result(
        {"floor": costs(1), "omega": costs(30)},
        goals=(Goal(30.0, "higher", of="cost"), Goal(29.0, of="cost")),
    )
    assert [ok for _, _, ok in found.verdicts()] == [True, False]


def test_what_was_not_measured_is_said_and_not_left_out():
    found = result({"floor": costs(1), "omega": [None]}, notes={"omega": "it ended"})
    (_, ours) = lines(found)
    assert ours[0] == "OMEGA"
    assert "it ended" in ours[1]


def test_the_report_names_the_machine_versions_skipped_rivals_and_the_verdict():
    found = result(
        {"floor": costs(1), "omega": [{"cost": 2.0, "late": 7.0}]},
        columns=(Column("late", "late µs", 0),),
        goals=(Goal(1.25),),
    )
    text = markdown(
        [found],
        {
            "machine": {"cpu": "a processor"},
            "versions": {"OMEGA": "1.2.3"},
            "skipped": {"Bun": "no binary"},
            "noise": "quiet",
            "command": "python -m benchmarks.server",
        },
    )
    for part in ("a processor", "1.2.3", "Bun: no binary", "quiet", "| OMEGA | 2.00 | 2.00 | 7 |", "MISSED"):
        assert part in text


def test_a_figure_shows_its_spread_unless_there_is_none():
    assert figure(Spread(2, 1, 3), 1) == "2.0 (1.0-3.0)"
    assert figure(Spread(2, 2, 2), 1) == "2.0"
    assert figure(None, 1) == "-"


def test_a_document_keeps_its_words_and_gets_new_tables():
    old = f"words\n{MEASURED}\n\nold tables\n"
    assert put_into(old, "new tables\n") == f"words\n{MEASURED}\n\nnew tables\n"


def test_a_document_without_the_mark_is_not_overwritten():
    with pytest.raises(ValueError, match="no line"):
        put_into("words alone", "tables")
