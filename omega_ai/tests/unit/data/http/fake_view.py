"""A feed for the HTTP side to look at: every answer is set by the test."""

from __future__ import annotations

from collections.abc import Sequence

from omega_ai.data_feed.broker.base import BrokerError, History, Position, Publication, message_of
from omega_ai.data_feed.http.view import Check, LatestPrice
from omega_ai.data_feed.observability.snapshot import Snapshot


class FakeView:
    """Answers as ``FeedView`` promises, from attributes."""

    def __init__(self) -> None:
        self.checks: list[Check] = [Check("broker", True, "the broker answers")]
        self.latest: LatestPrice | None = None
        self.publications: list[Publication] = []
        self.whole = True
        self.broker_error: BrokerError | None = None
        self.reading = Snapshot(now_ns=1_767_225_600_000_000_000, uptime=12.5)
        self.urls: list[str] = ["ws://127.0.0.1:8765", "wss://localhost:8766"]
        self.document: bytes | None = None
        self.asked: list[tuple[str, Position | None, int | None]] = []

    def publish(self, channel: str, body: bytes) -> Publication:
        seq = len(self.publications) + 1
        publication = Publication(channel, "k3zq7m2p", seq, message_of(channel, "k3zq7m2p", seq, body))
        self.publications.append(publication)
        return publication

    def readiness(self) -> Sequence[Check]:
        return self.checks

    def latest_price(self) -> LatestPrice | None:
        return self.latest

    async def history(self, channel: str, since: Position | None, limit: int | None) -> History:
        self.asked.append((channel, since, limit))
        if self.broker_error is not None:
            raise self.broker_error
        found = [item for item in self.publications if item.channel == channel]
        if since is not None:
            found = [item for item in found if item.seq > since.seq]
        if limit is not None:
            found = found[-limit:]
        return History(Position("k3zq7m2p", len(self.publications)), found, self.whole)

    def snapshot(self) -> Snapshot:
        return self.reading

    def now_ns(self) -> int:
        return self.reading.now_ns

    def uptime(self) -> float:
        return self.reading.uptime

    def websocket_urls(self) -> Sequence[str]:
        return self.urls

    def asyncapi(self) -> bytes | None:
        return self.document
