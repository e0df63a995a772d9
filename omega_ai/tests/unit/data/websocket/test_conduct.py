"""How one client behaves: how fast it may send, and how often it may be wrong."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.websocket.conduct import VIOLATION_WINDOW, VIOLATIONS, Conduct
from omega_ai.data_feed.websocket.errors import ErrorCode, MessageError

START = 1000.0


@pytest.mark.parametrize(
    ("seconds", "too_many"), [(0.0, True), (VIOLATION_WINDOW, True), (VIOLATION_WINDOW + 0.1, False)]
)
def test_only_errors_close_to_each_other_are_too_many(seconds: float, too_many: bool) -> None:
    """Twenty within ten seconds, from the first to the last; who errs now and then may stay."""
    conduct = Conduct()
    step = seconds / (VIOLATIONS - 1)
    judged = [conduct.violated(START + number * step) for number in range(VIOLATIONS)]
    assert judged == [False] * (VIOLATIONS - 1) + [too_many]


def test_the_window_moves_on() -> None:
    """Old errors are forgotten one by one: it is the newest twenty that count."""
    conduct = Conduct()
    for number in range(100):
        assert not conduct.violated(START + number)
    hurried = [conduct.violated(START + 99 + 0.1 * number) for number in range(1, VIOLATIONS + 1)]
    assert hurried.index(True) == 9  # ten of those before, a second apart, and ten of these: 10 s in all


def test_after_a_pause_a_second_s_worth_may_come_at_once() -> None:
    """And then one for each part of a second that has passed; the error says how long to wait."""
    conduct = Conduct()
    for _ in range(5):
        conduct.take_token(5.0, START)
    with pytest.raises(MessageError) as refused:
        conduct.take_token(5.0, START)
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert refused.value.retry_after_ms == 201
    conduct.take_token(5.0, START + 0.201)
    with pytest.raises(MessageError):
        conduct.take_token(5.0, START + 0.202)
