"""What a proxy did: events, and bytes."""

from __future__ import annotations

from typing import NamedTuple

from omega_ai.testkit.faults.model import Stream
from omega_ai.testkit.proxy.connection import Connection


class Event(NamedTuple):
    """Something that a proxy did: ``at`` in seconds of the proxy's clock, ``connection`` -1 for none of
    them."""

    at: float
    connection: int
    what: str
    detail: str = ""


class Volume(NamedTuple):
    """Bytes of one direction: read from the sender, and handed to the receiver."""

    received: int
    sent: int


def add_up(volume: dict[Stream, Volume], connection: Connection) -> None:
    """Add what the connection has moved."""
    for stream, flow in connection.flows.items():
        before = volume[stream]
        volume[stream] = Volume(before.received + flow.read_bytes, before.sent + flow.sent_bytes)
