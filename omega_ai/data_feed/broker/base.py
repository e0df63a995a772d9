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

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from omega_ai.data_feed.observability.histogram import HistogramReading

MAX_BODY_BYTES = 1_048_576
"""The largest body a broker accepts: what the server accepts from a client (1 MiB)."""

HISTORY_MESSAGES = 10_000
"""Messages kept a channel, unless told."""

HISTORY_SECONDS = 600.0
"""Age in seconds after which a message may be forgotten, unless told."""

HISTORY_BYTES = 64 * 1_048_576
"""Message text kept a channel, unless told: it binds when messages are large, not for prices."""

_CHANNEL = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")


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

    ``whole`` says that ``publications`` is everything after the position asked for, up to ``position``, with
    no gap; when it is False, the position asked for is of another epoch, older than what is kept, or newer
    than anything published, or ``limit`` cut the answer. A look back without ``since`` is whole.
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
    reconnects: int = 0
    """Times it was lost and found since the start."""
    latency: HistogramReading | None = None
    """From ``publish`` to the position being known; None where the two are one step."""


class BrokerError(Exception):
    """Base of what a broker raises."""


class BrokerUnreachable(BrokerError):
    """The broker did not answer at start. The text says where it was sought and what to do."""


class BrokerClosed(BrokerError):
    """The broker was used after ``close``."""


class InvalidBody(BrokerError, ValueError):
    """What was to be published is no body of its channel, or too large, or the channel's name is no name."""


class PublishBufferFull(BrokerError):
    """The broker has been away so long that the bound on waiting publications is reached; one is refused."""


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

        It does not have to have a position yet when this returns; ``flush`` waits for it. May be called from
        within a ``deliver``; what it makes is delivered after the present publication has reached everybody.

        Raises:
            InvalidBody: not a body of this channel (see the module's text); nothing was accepted.
            PublishBufferFull: the broker is away and the buffer is full; nothing was accepted. The channel's
                next accepted publication begins a new epoch, so that subscribers see that one is missing.
            BrokerClosed: after ``close``.
        """
        ...

    async def flush(self) -> None:
        """Wait until all that was accepted before this call has its position."""
        ...

    async def subscribe(self, channels: Iterable[str], deliver: Deliver) -> dict[str, Position]:
        """Call ``deliver`` for each publication after the positions returned, in order, no gap, no double.

        ``deliver`` is called from the event loop, never from within ``subscribe``, and before its return is
        seen only for publications after the returned positions. When continuity is lost (the history is
        gone, or too much was missed while the broker was away), the next publication has a new epoch or a
        jump in ``seq``: the subscriber must look. An exception out of ``deliver`` is logged, and no more.
        """
        ...

    async def history(self, channel: str, since: Position | None = None, limit: int | None = None) -> History:
        """Read back: everything after ``since``, or the newest ``limit`` messages, oldest first.

        With both, at most the newest ``limit`` of what came after ``since``. With neither, all that is kept.
        When ``since`` cannot be answered whole, ``publications`` is empty: nothing is recovered in part.

        Raises:
            BrokerError: the broker is away.
        """
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


class Claim(NamedTuple):
    """An answer to ``LeasedBroker.claim``: whether the lease is ours, its fencing token, seconds it runs."""

    held: bool
    token: int
    left: float


@runtime_checkable
class LeasedBroker(Broker, Protocol):
    """A broker shared by processes of which one at a time may publish what a source gives."""

    async def claim(self, holder: str, seconds: float, floor: int = 0) -> Claim:
        """Take the lease for ``seconds``, or renew it; with a token of at least ``floor``.

        Whoever held it last and was followed by nobody keeps the token.

        Raises:
            BrokerError: the broker is away.
        """
        ...

    async def release(self, holder: str) -> None:
        """Give the lease up, if it is ours."""
        ...

    async def fence(self, channels: Iterable[str], token: int) -> int:
        """Have ``channels`` refuse publications with a token below ``token``; returns the highest asked for.

        When that is not above ``token``, whatever holders of older tokens published is in the history by now,
        and nothing of theirs will follow.

        Raises:
            BrokerError: the broker is away; some channels may be fenced.
        """
        ...

    def begin_term(self, token: int, deposed: Callable[[], None]) -> None:
        """Publish under ``token`` from now on; ``deposed`` is told when a publication was refused for it."""
        ...


def check_channel(channel: str) -> None:
    """Refuse what is no channel name: 1 to 128 letters, digits and ``_ . : / -``.

    Raises:
        InvalidBody: not one.
    """
    if not _CHANNEL.fullmatch(channel):
        raise InvalidBody(f"{channel[:140]!r} is no channel name: use 1 to 128 of A-Z a-z 0-9 _ . : / -")


def check_body(channel: str, body: bytes) -> None:
    """Refuse what is not a body of ``channel`` as far as the first member, the end and the size show.

    Raises:
        InvalidBody: not one.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidBody(
            f"a body of {len(body)} bytes for {channel!r}: at most {MAX_BODY_BYTES} are accepted"
        )
    head = b'{"type":"%b"' % channel.encode()
    if not body.startswith(head) or not body.endswith(b"}") or body[len(head) : len(head) + 1] not in b",}":
        raise InvalidBody(
            f"a body of {channel!r} is a JSON object beginning {head.decode()}, not {body[:80]!r}"
        )


def message_of(channel: str, epoch: str, seq: int, body: bytes) -> bytes:
    """Splice a position into a body (see the module's text). The same text that the Redis script makes."""
    head = 10 + len(channel)
    return b'%b,"epoch":"%b","seq":%d%b' % (body[:head], epoch.encode(), seq, body[head:])
