"""A port on the command line: a number, or ``off`` for none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cyclopts import Parameter, Token

OFF = "off"


def read_port(_type: Any, tokens: Sequence[Token]) -> int | None:
    """0 to 65535, or None for ``off``.

    Raises:
        ValueError: neither.
    """
    text = tokens[0].value.strip().lower()
    if text == OFF:
        return None
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError(f"{tokens[0].value!r} is no port: give 0 to 65535, or {OFF!r}")
    return int(text)


PortOrOff = Parameter(converter=read_port)
