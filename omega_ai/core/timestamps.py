"""Times on the wire: ISO 8601 in UTC with microseconds and ``Z`` (``2026-11-23T07:15:00.123456Z``)."""

from __future__ import annotations

from datetime import UTC, datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Formatting is on the path of every message, and all but the fraction changes once a second: it is kept.
_cached_second: int | None = None
_cached_text = ""


def format_utc(ns: int) -> str:
    """Nanoseconds since the Unix epoch -> wire text, cut (not rounded) to microseconds."""
    global _cached_second, _cached_text
    second, rest = divmod(ns, 1_000_000_000)
    if second != _cached_second:
        _cached_text = datetime.fromtimestamp(second, tz=UTC).isoformat(timespec="seconds")[:19] + "."
        _cached_second = second
    return f"{_cached_text}{rest // 1000:06d}Z"


def parse_utc(text: str) -> int:
    """Wire text -> nanoseconds since the Unix epoch.

    Accepts what RFC 3339 accepts: ``Z`` or an offset, any number of fractional digits (those beyond
    the ninth are cut). A time without a zone is refused, because it cannot be placed.

    Raises:
        ValueError: not a time, or one without a zone.
    """
    if not text.isascii() or len(text) < 20 or text[10] not in "Tt ":
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    head, rest = text[:19], text[19:]
    nanos = 0
    if rest.startswith("."):
        end = 1
        while end < len(rest) and rest[end].isdigit():
            end += 1
        digits = rest[1:end]
        if not digits:
            raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
        nanos = int(digits[:9].ljust(9, "0"))
        rest = rest[end:]
    if not rest:
        raise ValueError(f"a time needs a zone (Z or an offset): {text[:40]!r}")
    if rest in ("Z", "z"):
        rest = "+00:00"
    if len(rest) != 6 or rest[0] not in "+-" or rest[3] != ":":
        raise ValueError(f"not an RFC 3339 time: {text[:40]!r}")
    moment = datetime.fromisoformat(head + rest)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + nanos
