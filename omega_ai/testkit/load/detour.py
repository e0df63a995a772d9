"""The way through a fault proxy: where it begins, and what it costs. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from omega_ai.core.histogram import Histogram


class Detour(Struct, frozen=True, kw_only=True):
    """Where connections go instead of straight to the server."""

    addresses: tuple[str, ...]
    """``host:port`` of the proxy for each of the plan's URLs."""
    authorities: tuple[str | None, ...]
    """PEM file of that proxy's own authority, if TLS ends at it."""


HOSTNAME: Final = "localhost"
"""What the proxy's own certificate is checked for."""


class DetourCost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one machine's proxy did, and what it added to what was measured."""

    shard: int = 0
    connections: int = 0
    """That it accepted."""
    unreached: int = 0
    """Of these, those for which it did not reach the server."""
    added_ns: int | None = None
    """What it adds there and back when it has nothing else to do (median of many messages); None: it was not
    measured."""
    late_p99_ns: int = 0
    """How late it came to what was due (99th percentile of looks at a regular distance)."""
    cpu_s: float = 0.0
    wall_s: float = 0.0


def cost_text(cost: DetourCost) -> str:
    """One clause."""
    text = f"{cost.connections} connections went through a fault proxy, which"
    if cost.added_ns is not None:
        text += f" adds {cost.added_ns / 1e6:.2f} ms there and back at rest,"
    text += f" was late by {cost.late_p99_ns / 1e6:.1f} ms (p99)"
    return text + (f", and took {cost.cpu_s / cost.wall_s:.0%} of a core" if cost.wall_s else "")


class Lateness:
    """How late regular looks came: kept as a histogram."""

    def __init__(self) -> None:
        self._seen = Histogram()

    def note(self, late_s: float) -> None:
        """One look."""
        self._seen.record(round(max(0.0, late_s) * 1e9))

    @property
    def p99_ns(self) -> int:
        """0 if nothing was seen."""
        return self._seen.percentile(99) or 0
