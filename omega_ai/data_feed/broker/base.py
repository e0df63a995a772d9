"""What every broker promises: order, a position for each message, and a bounded history.

A channel's messages form one sequence. The broker gives each message its ``epoch`` (one unbroken life of the
sequence) and ``seq`` (+1 per message, from 1), once, at publication. ``seq`` is never used twice within an
epoch; a history that was lost begins a new epoch.

A *body* is a message before publication: a JSON object in UTF-8 whose first member is ``type`` and whose type
is the channel's name, with at least that member::

    {"type":"btc_price","symbol":"BTC-USD","price":61800.01}

and a *message* is the body with its position spliced in after the type::

    {"type":"btc_price","epoch":"k3zq7m2p","seq":1042,"symbol":"BTC-USD","price":61800.01}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol


class Position(NamedTuple):
    """A place in a channel's sequence: everything up to and including ``seq`` of ``epoch``."""

    epoch: str
    seq: int


class Publication(NamedTuple):
    """One published message, as every subscriber gets it. ``message`` is its whole JSON text in UTF-8."""

    channel: str
    epoch: str
    seq: int
    message: bytes


class History(NamedTuple):
    """An answer to ``Broker.history``.

    ``whole`` says that ``publications`` is everything after the position asked for, up to ``position``, with no
    gap; when it is False, the position asked for is of another epoch or older than what is kept.
    """

    position: Position
    publications: list[Publication]
    whole: bool


class BrokerStatus(NamedTuple):
    """Whether the broker can be reached; ``detail`` says in one sentence what is wrong and what to do."""

    connected: bool
    detail: str
    buffered: int = 0
    """Publications accepted but not yet written, because the broker is away."""


class BrokerError(Exception):
    """Base of what a broker raises."""


class BrokerUnreachable(BrokerError):
    """The broker did not answer at start. The text says where it was sought and what to do."""


class PublishBufferFull(BrokerError):
    """The broker has been away so long that the bound on waiting publications is reached; this one is refused."""


Deliver = Callable[[Publication], None]


class Broker(Protocol):
    """Publish, subscribe and look back. All methods belong to one event loop."""

    async def start(self) -> None:
        """Connect and learn each channel's position.

        Raises:
            BrokerUnreachable: nothing usable answers at the address.
        """
        ...

    async def close(self) -> None:
        """Write what waits (within a bound of time), then let go of everything. May be called twice."""
        ...

    def publish(self, channel: str, body: bytes) -> None:
        """Accept ``body`` for publication, in the order of the calls; returns at once.

        Raises:
            PublishBufferFull: the broker is away and the buffer is full; nothing was accepted.
        """
        ...

    async def flush(self) -> None:
        """Wait until all that was accepted before this call has its position."""
        ...

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """Call ``deliver`` for every publication after the positions returned, in order, without gap or double.

        ``deliver`` is called from the event loop, never from within ``subscribe`` and before its return is seen
        only for publications after the returned positions. When continuity is lost (the history was lost, or
        too much was missed while the broker was away), the next publication has a new epoch or a jump in
        ``seq``: the subscriber must look.
        """
        ...

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """Read back: everything after ``since``, or the newest ``limit`` messages, oldest first."""
        ...

    def status(self) -> BrokerStatus:
        """How the broker fares now; costs nothing."""
        ...

    async def ping(self) -> float:
        """Round trip to the broker in seconds.

        Raises:
            BrokerError: no answer.
        """
        ...


def message_of(channel: str, epoch: str, seq: int, body: bytes) -> bytes:
    """Splice a position into a body (see the module's text). The same text that the Redis script makes."""
    head = 10 + len(channel)
    return b'%b,"epoch":"%b","seq":%d%b' % (body[:head], epoch.encode(), seq, body[head:])
