"""Stale: older, by its own account, than it may be when it arrives; or made in the future."""

from __future__ import annotations

from omega_ai.testkit.checkers.model import Anomaly, Check, findings
from omega_ai.testkit.reading import Reading, Seen
from omega_ai.testkit.result import Distribution

CLOCK_ALLOWANCE_S = 2.0
"""How far two machines' clocks may be apart."""
QUARTER_S = 900
"""Every time zone is a multiple of it away from UTC."""
ZONE_TOLERANCE_S = 30.0


def check(reading: Reading, *, max_age_s: float | None = None) -> Check:
    """``max_age_s``: from the profile, if it is not given. What a resumed client is sent may be old."""
    feed = reading.profile.feed
    limit = max_age_s if max_age_s is not None else (feed.max_age_s if feed is not None else None)
    anomalies: list[Anomaly] = []
    ages: list[int] = []
    for client, seen in reading.seen.items():
        for item in seen:
            if item.time_ns is None or _replayed(reading, item):
                continue
            age = (item.utc_ns - item.time_ns) / 1e9
            ages.append(max(0, item.utc_ns - item.time_ns))
            # Nor is it the message's fault that we were late to read it.
            text = _problem(age, None if limit is None else limit + reading.held_up_s)
            if text is not None:
                anomalies.append(
                    Anomaly(client, item.at_ns, abs(age), (reading.line(item),), f"{client}: {text}")
                )
    distribution = Distribution.of(ages) if ages else None
    found = findings(reading, "stale", "message with a wrong or old time", anomalies)
    return Check("stale", len(ages), tuple(found), distribution)


def _problem(age: float, limit: float | None) -> str | None:
    if age < -CLOCK_ALLOWANCE_S or (limit is not None and age > limit + CLOCK_ALLOWANCE_S):
        quarters = round(age / QUARTER_S)
        if quarters and abs(quarters) <= 56 and abs(age - quarters * QUARTER_S) < ZONE_TOLERANCE_S:
            return (
                f"its time is {abs(age) / 3600:.2f} h {'behind' if age > 0 else 'ahead'}: a wrong time zone?"
            )
        return f"made {-age:.1f} s in the future" if age < 0 else f"{age:.1f} s old"
    return None


def _replayed(reading: Reading, item: Seen) -> bool:
    """Whether it came so soon after subscribing that it may be what was missed, or the latest state."""
    life = next((life for life in reading.lives[item.client] if life.number == item.life), None)
    start = None if life is None else (life.listening_ns or life.open_ns)
    return start is not None and item.at_ns < start + reading.grace_ns and item.stamp is None
