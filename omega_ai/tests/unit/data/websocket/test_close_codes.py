"""Close codes say whether a client may come back."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.websocket.close_codes import CloseCode, may_reconnect


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 1011, 1012, 1013, 4000, 4008, 4012, 4499])
def test_a_client_comes_back_after(code: int) -> None:
    """Going away, restarts, overload, lost connections and 4000-4499 are temporary."""
    assert may_reconnect(code)


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 4500, 4503, 4999])
def test_a_client_stays_away_after(code: int) -> None:
    """What blames the client's own bytes, and 4500-4999, would happen again."""
    assert not may_reconnect(code)


def test_every_code_of_ours_may_be_sent_in_a_close_frame() -> None:
    """RFC 6455 section 7.4: 1005, 1006 and 1015 never go on the wire, nor do codes outside 1000-4999."""
    assert not {1004, 1005, 1006, 1015} & set(CloseCode)
    assert all(1000 <= code <= 4999 for code in CloseCode)
