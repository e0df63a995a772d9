"""What happens to the connection and to continuity, in order with the messages (``events=True``)."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Position(NamedTuple):
    """A place in a channel's sequence: everything up to and including ``seq`` of ``epoch`` was seen."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}/{self.seq}"


class Connected(Struct, frozen=True):
    """A connection stands, and its channels are asked for. ``attempt`` counts from 1 since the last one."""

    url: str
    attempt: int
    first: bool


class Disconnected(Struct, frozen=True):
    """The connection is gone, or an attempt to make it failed.

    ``code`` is the close code, 1006 when there was none; ``retry_in`` is in seconds, None when the client
    gives up.
    """

    code: int
    reason: str
    retry_in: float | None


class Recovered(Struct, frozen=True):
    """Continuity of ``channel`` is proven: what was missed since ``since`` follows, nothing is lost."""

    channel: str
    since: Position


class NotRecovered(Struct, frozen=True):
    """Messages of ``channel`` after ``since`` may be lost; it goes on at ``position``."""

    channel: str
    since: Position
    position: Position

    def __str__(self) -> str:
        return (
            f"{self.channel}: what came after {self.since} cannot be recovered; it goes on at {self.position}"
        )


class Gap(Struct, frozen=True):
    """Messages ``first`` to ``last`` (both included) of ``epoch`` are lost."""

    channel: str
    epoch: str
    first: int
    last: int

    def __str__(self) -> str:
        count = self.last - self.first + 1
        noun = "message" if count == 1 else "messages"
        return f"{self.channel}: {count} {noun} lost ({self.epoch}/{self.first} to {self.last})"


Event = Connected | Disconnected | Recovered | NotRecovered | Gap
