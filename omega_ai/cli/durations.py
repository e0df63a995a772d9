"""Lengths of time as people write them: ``90``, ``1.5s``, ``15m``, ``12h``, ``30d``."""

from __future__ import annotations

import re

_UNITS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PATTERN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m|h|d|)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds.

    Raises:
        ValueError: not a length of time; says how one is written.
    """
    match = _PATTERN.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a length of time: write 90s, 15m, 12h or 30d")
    return float(match[1]) * _UNITS[match[2]]


def format_duration(seconds: float) -> str:
    """The two largest units, for people: ``2 d 3 h``, ``1 min 5 s``, ``350 ms``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    total = round(seconds)
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for place, (name, size) in enumerate(units):
        if total >= size:
            whole, rest = divmod(total, size)
            parts = [f"{whole} {name}"]
            if place + 1 < len(units):
                lower_name, lower_size = units[place + 1]
                if lower := rest // lower_size:
                    parts.append(f"{lower} {lower_name}")
            return " ".join(parts)
    return "0 s"
