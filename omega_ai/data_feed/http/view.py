"""What the HTTP side needs to see of the feed, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from omega_ai.data_feed.broker.base import History, Position
from omega_ai.data_feed.observability.snapshot import Snapshot


class Check(NamedTuple):
    """One condition of being ready. ``detail`` says in a sentence how it is, and if not ok, what to do."""

    name: str
    ok: bool
    detail: str


class LatestPrice(NamedTuple):
    """The newest ``btc_price`` message as published, and the seconds since it came.

    ``age`` is infinite for one that was there before this process: its time stamp tells more.
    """

    message: bytes
    age: float


class FeedView(Protocol):
    """A running feed as the HTTP side sees it. Everything but ``history`` answers at once, from memory."""

    def readiness(self) -> Sequence[Check]:
        """What must be in order for clients to be served; the feed is ready when every check is ok."""
        ...

    def latest_price(self) -> LatestPrice | None:
        """The newest price, None before the first."""
        ...

    async def history(self, channel: str, since: Position | None, limit: int | None) -> History:
        """The broker's history of ``channel``.

        Raises:
            BrokerError: it cannot be read now.
        """
        ...

    def snapshot(self) -> Snapshot:
        """A reading of all figures. Costs the same however many clients there are."""
        ...

    def now_ns(self) -> int:
        """UTC, nanoseconds since the Unix epoch: ``snapshot``'s, without the rest."""
        ...

    def uptime(self) -> float:
        """Seconds since the start: ``snapshot``'s, without the rest."""
        ...

    def websocket_urls(self) -> Sequence[str]:
        """Where clients connect, plain first: ``ws://127.0.0.1:8765``, ``wss://localhost:8766``.

        A host that is unspecified (``0.0.0.0``) or loopback is replaced by the name under which the page was
        asked for, so that it works from another machine and through a tunnel.
        """
        ...

    def asyncapi(self) -> bytes | None:
        """The machine-readable contract as JSON, None where it is not made."""
        ...
