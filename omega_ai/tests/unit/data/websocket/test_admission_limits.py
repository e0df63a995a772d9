"""Addresses and rates: who counts as one, whom a proxy may speak for, and a table that cannot grow."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.data_feed.websocket.admission_limits import (
    RateLimiter,
    address_key,
    client_address,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", "local"),
        ("unix:", "local"),
        ("x" * 500, "local"),
    ],
)
def test_who_counts_as_one(text: str, key: str) -> None:
    """An IPv4 address however it is written, an IPv6 /64, and whoever has none."""
    assert address_key(parse_address(text)) == key


TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "9.9.9.9, 192.0.2.1", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, 10.0.0.2, fd00::3", "192.0.2.1"),
        ("10.0.0.1", "192.0.2.1, nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.7", "10.0.0.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", '"[2001:db8::1]:5"', "2001:db8::1"),
        ("192.0.2.9", "192.0.2.1", "192.0.2.9"),
    ],
)
def test_whom_a_proxy_speaks_for(peer: str, header: str | None, client: str) -> None:
    """Read from the end, for as long as the writer is trusted; what stands before is hearsay."""
    assert str(client_address(peer, header, TRUSTED)) == client


def test_without_trusted_proxies_the_header_is_nothing() -> None:
    """The peer is the client."""
    assert str(client_address("10.0.0.1", "192.0.2.1", [])) == "10.0.0.1"


class TestRateLimiter:
    """So many a second."""

    def test_a_burst_then_the_rate(self) -> None:
        """Three at once, then one each half second."""
        limiter = RateLimiter(2.0, 3)
        assert [limiter.wait("a", 0.0) for _ in range(3)] == [0.0] * 3
        assert limiter.wait("a", 0.0) == pytest.approx(0.5)
        assert limiter.wait("b", 0.0) == 0.0
        assert limiter.wait("a", 0.5) == 0.0
        assert limiter.wait("a", 0.5) > 0

    @given(
        st.floats(0.1, 100),
        st.integers(1, 20),
        st.lists(st.floats(0, 5), max_size=80),
    )
    def test_never_more_than_burst_and_rate_allow(self, rate: float, burst: int, gaps: list[float]) -> None:
        """In any span of time; and whoever waits as long as told is let in."""
        limiter = RateLimiter(rate, burst)
        now, passed = 1000.0, []
        for gap in gaps:
            now += gap
            wait = limiter.wait("a", now)
            if wait == 0.0:
                passed.append(now)
            else:
                assert 0 < wait <= 1 / rate + 1e-6
                now += wait
                assert limiter.wait("a", now) == 0.0
                passed.append(now)
        for i, first in enumerate(passed):
            for j in range(i, len(passed)):
                assert j - i + 1 <= burst + rate * (passed[j] - first) + 1e-3

    def test_memory_is_bounded_under_attack(self) -> None:
        """A hundred thousand networks leave no more than the table holds, and nothing once it is over."""
        limiter = RateLimiter(1.0, 5, max_keys=1000)
        for i in range(100_000):
            limiter.wait(str(i), i * 1e-6)
            assert len(limiter) <= 1000
        for i in range(1000):
            limiter.wait("later", 100.0 + i)
        assert len(limiter) == 1

    def test_whoever_is_active_is_not_forgotten_for_others(self) -> None:
        """Many new keys do not wipe out one that is in use, so the limit cannot be washed away."""
        limiter = RateLimiter(0.001, 1, max_keys=100)
        assert limiter.wait("heavy", 0.0) == 0.0
        for i in range(1000):
            limiter.wait(str(i), 0.0)
            if i % 50 == 0:
                assert limiter.wait("heavy", 0.0) > 0

    @pytest.mark.parametrize("wrong", [(0.0, 1, 1), (1.0, 0, 1), (1.0, 1, 0)])
    def test_a_limit_that_is_none_is_refused(self, wrong: tuple[float, int, int]) -> None:
        """Nothing would ever pass."""
        with pytest.raises(ValueError, match="a rate limit needs"):
            RateLimiter(*wrong)
