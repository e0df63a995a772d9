"""The chart of ``omega watch``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.cli.price_chart import KEPT_SECONDS, Trail, block_chart


def test_rising_prices_rise_from_the_floor_to_the_top() -> None:
    """One column a value, eight levels a line."""
    assert block_chart([1, 2, 3, 4, 5, 6, 7, 8], 1) == ["▁▂▃▄▅▆▇█"]
    assert block_chart([0.0, 15.0], 2) == [" █", "▁█"]
    assert block_chart([1.0, None, 2.0], 1) == ["▁ █"]


def test_what_does_not_move_stands_in_the_middle_and_nothing_is_blank() -> None:
    """A flat line is no low."""
    assert block_chart([5.0, 5.0], 2) == ["  ", "██"]
    assert block_chart([None, None], 2) == ["  ", "  "]


@given(st.lists(st.none() | st.floats(1, 1e7), min_size=1, max_size=50), st.integers(1, 12))
def test_the_box_has_the_size_that_was_asked_for(values: list[float | None], rows: int) -> None:
    """Whatever the values; each known one shows, no other does."""
    lines = block_chart(values, rows)
    assert [len(line) for line in lines] == [len(values)] * rows
    for at, value in enumerate(values):
        assert (lines[-1][at] != " ") == (value is not None)


def test_each_column_has_the_last_price_of_its_time() -> None:
    """And candles of before, once a minute, leave no holes."""
    trail = Trail()
    for second, price in ((100, 1.0), (109, 2.0), (115, 3.0), (120, 4.0)):
        trail.add(second, price)
    assert trail.columns(120, 20, 2) == [2.0, 4.0]
    assert trail.columns(120, 20, 20)[8:14] == [2.0] * 6
    assert trail.columns(120, 20, 20)[:8] == [None] * 8
    assert trail.span(160) == 60


def test_an_old_price_is_not_drawn_as_that_of_now() -> None:
    """After the newest the chart is empty, and so it is where nothing was known for more than a minute."""
    trail = Trail()
    trail.add(1000, 5.0)
    assert trail.columns(1020, 20, 20) == [None] * 20
    trail.add(1001, 5.0)
    assert trail.columns(1020, 20, 20) == [5.0, 5.0, 5.0] + [None] * 17
    trail.add(1200, 6.0)
    columns = trail.columns(1200, 200, 200)
    assert columns[0] == 5.0
    assert columns[100] is None
    assert columns[-1] == 6.0


@pytest.mark.parametrize("seconds", [KEPT_SECONDS, 3 * KEPT_SECONDS])
def test_an_hour_is_kept(seconds: int) -> None:
    """However long it runs."""
    trail = Trail()
    for second in range(seconds):
        trail.add(second, 1.0)
    assert trail.columns(seconds - 1, KEPT_SECONDS, 60) == [1.0] * 60
    assert len(trail._prices) <= KEPT_SECONDS + 600
