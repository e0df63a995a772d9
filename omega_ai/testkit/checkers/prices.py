"""Prices that cannot be: crossed, frozen, jumping, not positive."""

from __future__ import annotations

from collections.abc import Iterator

from omega_ai.testkit.checkers.model import Anomaly, Check, findings
from omega_ai.testkit.reading import Reading, Seen
from omega_ai.testkit.result import Finding, Severity


def check(reading: Reading, *, max_jump: float | None = None, max_still_s: float | None = None) -> Check:
    """``max_jump`` (a share of the price before) and ``max_still_s``: from the profile, if not given."""
    feed = reading.profile.feed
    if feed is not None:
        max_jump = feed.max_jump if max_jump is None else max_jump
        max_still_s = feed.max_still_s if max_still_s is None else max_still_s
    crossed: list[Anomaly] = []
    locked: list[Anomaly] = []
    impossible: list[Anomaly] = []
    jumps: list[Anomaly] = []
    frozen: list[Anomaly] = []
    examined = 0
    for client, seen in reading.seen.items():
        last: dict[str, tuple[Seen, Seen]] = {}  # stream -> the newest message, and the first with its price
        for item in seen:
            if item.price is None and item.bid is None and item.ask is None:
                continue
            examined += 1
            line = (reading.line(item),)
            impossible += [
                Anomaly(client, item.at_ns, abs(value), line, f"{name} is {value:g}")
                for name, value in _named(item)
                if value <= 0
            ]
            if item.bid is not None and item.ask is not None and item.bid >= item.ask:
                text = f"bid {item.bid:g}, ask {item.ask:g}"
                anomaly = Anomaly(client, item.at_ns, item.bid - item.ask, line, text)
                (crossed if item.bid > item.ask else locked).append(anomaly)
            if item.price is None:
                continue
            before = last.get(item.stream)
            if before is None:
                last[item.stream] = (item, item)
                continue
            newest, first = before
            assert newest.price is not None  # noqa: S101 - only such are kept
            both = (reading.line(newest), *line)
            if max_jump is not None and newest.price > 0 and newest.life == item.life:
                jump = abs(item.price - newest.price) / newest.price
                if jump > max_jump:
                    text = f"from {newest.price:g} to {item.price:g}, by {jump:.1%}"
                    jumps.append(Anomaly(client, item.at_ns, jump, both, text))
            still = first if first.price == item.price else item
            seconds = (item.at_ns - still.at_ns) / 1e9
            if max_still_s is not None and seconds > max_still_s and newest is not item:
                text = f"{item.price:g} for {seconds:.1f} s, while messages went on coming"
                frozen.append(Anomaly(client, item.at_ns, seconds, (reading.line(still), *line), text))
            last[item.stream] = (item, still)
    found: list[Finding] = findings(reading, "crossed", "message with a crossed market", crossed)
    found += findings(reading, "impossible", "price not above zero", impossible)
    found += findings(reading, "jump", "jump out of bounds", jumps)
    found += findings(reading, "frozen", "message with a frozen price", frozen)
    found += findings(reading, "locked", "message with bid equal to ask", locked, Severity.WARNING)
    return Check("prices", examined, tuple(found))


def _named(item: Seen) -> Iterator[tuple[str, float]]:
    for name, value in (("price", item.price), ("bid", item.bid), ("ask", item.ask)):
        if value is not None:
            yield name, value
