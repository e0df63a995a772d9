"""What a session needs of the server around it: identities, channels, permission, publishing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from omega_ai.core.clock import Clock
from omega_ai.data_feed.broker.base import History, Position, Publication
from omega_ai.data_feed.websocket import messages as wire
from omega_ai.data_feed.websocket.errors import MessageError

if TYPE_CHECKING:
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

    def missed(self, channel: str, since: Position) -> list[bytes] | None:
        """Frames after ``since`` up to the position, or None if that cannot be told from memory."""
        ...

    def frames(self, publications: Sequence[Publication]) -> list[bytes]:
        """The frames of publications read from history; shared between those who resume together."""
        ...

    def newest(self, channel: str) -> bytes | None:
        """The frame of the channel's newest message, if there is one."""
        ...

    def look_back(
        self, channel: str, since: Position | None, limit: int | None, done: Callable[[History | None], None]
    ) -> None:
        """Read the broker's history; ``done`` gets None if the broker fails. Not called from within."""
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
