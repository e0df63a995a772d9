"""A step of a conversation: one message that is sent."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """Its text, the kind of message it is or was made from, and whether it is right."""

    text: str
    kind: str
    valid: bool
