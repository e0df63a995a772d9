"""What a session needs of the server around it: identities, channels, permission, publishing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from omega_ai.core.clock import Clock
from omega_ai.data_feed.broker.base import History, Position
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.errors import MessageError
from omega_ai.data_feed.websocket.looking_back import HistoryBound

if TYPE_CHECKING:
    from omega_ai.data_feed.websocket.backlog import Backlog
    from omega_ai.data_feed.websocket.joining import Joining
    from omega_ai.data_feed.websocket.replays import Replays
    from omega_ai.data_feed.websocket.session import Session


class Subscription(NamedTuple):
    """One channel as one client wants it."""

    channel: str
    mode: wire.Mode = "all"
    interval_ms: int = 0


class Identity(Protocol):
    """Who a client has shown itself to be."""

    @property
    def subject(self) -> str:
        """A name for logs and answers; never a secret."""
        ...

    @property
    def expires_at_ns(self) -> int | None:
        """When what was shown stops being good; None for never."""
        ...

    def may_read(self, channel: str) -> bool:
        """Whether this client may subscribe to ``channel``."""
        ...


class Channels(Protocol):
    """What a session asks of the hub."""

    def subscribe(self, session: Session, subscriptions: frozenset[Subscription]) -> None:
        """Make ``subscriptions`` all that the session gets, from this moment on."""
        ...

    def position(self, channel: str) -> Position:
        """The newest position of a published channel."""
        ...

    def backlog(self, channel: str, since: Position, history: History | None = None) -> Backlog | None:
        """Everything from ``since`` up to the position, shared between those who resume together.

        None if that cannot be told from memory, nor from memory and ``history``.
        """
        ...

    def replay(self, client: Joining, subscription: Subscription, since: Position, backlog: Backlog) -> None:
        """Bring ``client`` up to date, in turn with others; see ``Replays.start``."""
        ...

    @property
    def replays(self) -> Replays:
        """Those under way."""
        ...

    def newest(self, channel: str) -> bytes | None:
        """The frame of the channel's newest message, if there is one."""
        ...

    def look_back(
        self, channel: str, since: Position | None, limit: int | None, done: Callable[[History | None], None]
    ) -> None:
        """Read the broker's history; ``done`` gets None if the broker fails. Not called from within."""
        ...

    def look_back_to_resume(
        self, channel: str, since: Position, done: Callable[[History | None], None]
    ) -> None:
        """As ``look_back``; but what comes may begin earlier, and is for ``backlog``."""
        ...


class Context(Protocol):
    """What all sessions of a server share."""

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        ...

    @property
    def channels(self) -> Channels:
        """The hub."""
        ...

    @property
    def strict(self) -> bool:
        """Close after the first error."""
        ...

    @property
    def rate_limit(self) -> float | None:
        """Messages per second and client; None for no limit."""
        ...

    @property
    def history_bound(self) -> HistoryBound | None:
        """What one client is given of the past; None for no limit."""
        ...

    @property
    def errors(self) -> dict[str, int]:
        """Counts of errors sent, by code."""
        ...

    @property
    def resumes(self) -> dict[str, int]:
        """Counts of subscriptions with ``since``, by outcome: ``recovered``, ``unrecovered``."""
        ...

    def authenticate(self, token: str, now_ns: int) -> Identity:
        """A token's identity; raises ``MessageError`` with ``unauthorized``."""
        ...

    def may_publish(self, identity: Identity, channel: str) -> MessageError | None:
        """None if it may; otherwise the error that says why not."""
        ...

    def publish(self, channel: str, body: bytes) -> None:
        """Hand a body to the broker; raises ``PublishBufferFull``."""
        ...
