"""Times as they stand on the wire, made and read without the code under test."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_WIRE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


def wire_time(moment: datetime) -> str:
    """ISO 8601 in UTC, with microseconds and ``Z``."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def is_wire_time(text: object) -> bool:
    """Whether ``text`` has exactly the form that the contract promises."""
    return isinstance(text, str) and _WIRE_TIME.fullmatch(text) is not None
