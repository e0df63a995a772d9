"""The client's side of ``omega.v2`` without sockets: continuity, resuming, heartbeats, requests.

A ``Conversation`` outlives its connections. It is told of each connection (``connected``, ``received``,
``disconnected``) and of time passing (``tick`` at ``deadline``), and acts through a ``Port``: text to send,
items for the user in their order, a connection to give up.

Continuity of a ``mode: all`` channel: the next ``seq`` is the last one + 1. Anything less was seen and is
dropped; anything more is a hole, which is asked for once (``subscribe`` with ``since``) and then reported
as ``Gap``. A heartbeat whose top stays ahead of what has come shows a hole at the tail. In ``mode: latest``
jumps are legal, only what is not newer is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from omega_ai.client import messages as wire
from omega_ai.client.events import Gap, NotRecovered, Position, Recovered
from omega_ai.client.messages import Message, Mode, RequestId
from omega_ai.client.port import Port
from omega_ai.client.silence import Silence
from omega_ai.core.clock import Clock

ABNORMAL = 1006
INVALID_PAYLOAD = 1007
TRY_AGAIN_LATER = 1013


class _Channel:
    __slots__ = (
        "asked_at",
        "asked_id",
        "gap_from",
        "interval_ms",
        "mode",
        "name",
        "position",
        "snapshot",
        "tail",
    )

    def __init__(self, name: str, mode: Mode, interval_ms: int) -> None:
        self.name = name
        self.mode = mode
        self.interval_ms = interval_ms
        self.position: Position | None = None
        self.asked_at: float | None = None  # a subscribe is unanswered since then
        self.asked_id: RequestId | None = None
        self.gap_from: int | None = None  # a hole that starts here has been asked for
        self.snapshot: Position | None = None  # the latest state may still come, at this position
        self.tail: Position | None = None  # a heartbeat's top that has not come yet


class Conversation:
    """See the module's text. Times are those of ``clock``, in seconds.

    ``heartbeat_timeout`` is how long a connection may be silent before it counts as dead; the channel
    ``heartbeat`` is subscribed to for that (None: it is not). After ``ping_interval`` of silence a
    WebSocket ping is sent, and a connection that brings nothing within ``pong_timeout`` more is dead as
    well (None: no pings). ``answer_timeout`` bounds the wait for ``subscribed``.
    """

    def __init__(
        self,
        port: Port,
        clock: Clock,
        *,
        channels: Iterable[str],
        mode: Mode = "all",
        interval_ms: int = 0,
        heartbeat_timeout: float | None = 5.0,
        ping_interval: float | None = 20.0,
        pong_timeout: float = 20.0,
        answer_timeout: float = 10.0,
    ) -> None:
        self._port = port
        self._clock = clock
        self._silence = Silence(heartbeat_timeout, ping_interval, pong_timeout)
        self._answer_timeout = answer_timeout
        self._channels: dict[str, _Channel] = {}
        self._wants_heartbeat = False
        self._open = False
        self._heartbeat_id: RequestId | None = None
        self._next_id = 0
        self._paused = False
        self.data_seen = False
        """Whether the present connection has brought data, so that the server counts as well."""
        self.unknown = 0
        """Messages of a type that this version does not know."""
        self.duplicates = 0
        """Messages dropped because they had been seen."""
        for name in channels:
            self._add(name, mode, interval_ms)

    # State

    def new_id(self) -> int:
        """An id for a request, unlike any other of this conversation."""
        self._next_id += 1
        return self._next_id

    @property
    def channels(self) -> tuple[str, ...]:
        """What is subscribed to, by the user's wish."""
        heartbeat = ("heartbeat",) if self._wants_heartbeat else ()
        return (*self._channels, *heartbeat)

    @property
    def settled(self) -> bool:
        """Whether every subscription has been answered on the present connection."""
        return self._open and not self._unanswered()

    def position(self, name: str) -> Position | None:
        """The last position seen of a channel."""
        channel = self._channels.get(name)
        return None if channel is None else channel.position

    def resume_from(self, positions: Mapping[str, Position]) -> None:
        """Begin from positions that an earlier program has kept. Before the first connection."""
        for name, position in positions.items():
            if name in self._channels:
                self._channels[name].position = Position(*position)

    # The user's wishes

    def subscribe(self, names: Iterable[str], mode: Mode, interval_ms: int) -> None:
        """Add channels, or change how they are delivered."""
        channels = []
        for name in names:
            channel = self._channels.get(name)
            if channel is None or (channel.mode, channel.interval_ms) != (mode, interval_ms):
                added = self._add(name, mode, interval_ms)
                if added is not None:
                    channels.append(added)
        if self._open and channels:
            self._ask(channels)

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Give channels up; what is still under way from them is dropped."""
        names = list(names)
        gone = [name for name in names if self._channels.pop(name, None) is not None]
        if "heartbeat" in names:
            self._wants_heartbeat = False  # it still comes, while it is needed to watch the connection
        if self._open and gone:
            message = {"type": "unsubscribe", "id": self.new_id(), "channels": gone}
            self._port.send(wire.encode(message))

    # The connection

    def connected(self) -> None:
        """A new connection stands, with no channels: ask for all of them."""
        self._open = True
        self._paused = False
        self.data_seen = False
        self.heard()
        for channel in self._channels.values():
            channel.gap_from = None
            channel.tail = None
        if self._silence.heartbeat_timeout is not None or self._wants_heartbeat:
            self._ask_heartbeat()
        self._ask(self._channels.values())
        self._check_settled()

    def disconnected(self) -> None:
        """The connection is gone; positions stay."""
        self._open = False
        for channel in self._channels.values():
            channel.asked_at = channel.asked_id = channel.snapshot = None

    def pause(self, paused: bool) -> None:
        """Reading stops because the user is slow, or goes on: the silence in between is not the server's."""
        self._paused = paused
        self.heard()

    def heard(self) -> None:
        """Something came, if only a pong: the server is there."""
        self._silence.heard(self._clock.monotonic())

    def deadline(self) -> float | None:
        """When ``tick`` has to be called next, in monotonic time; None for never. Grows as messages come."""
        if not self._open or self._paused:
            return None
        times = [asked_at + self._answer_timeout for asked_at in self._unanswered()]
        return min((*times, *self._silence.deadlines()), default=None)

    def tick(self) -> None:
        """Time has passed: ping, or give up a connection that is silent or does not answer."""
        if not self._open or self._paused:
            return
        now = self._clock.monotonic()
        if (dead := self._silence.verdict(now)) is not None:
            self._give_up(ABNORMAL, dead)
        elif any(now - asked_at >= self._answer_timeout for asked_at in self._unanswered()):
            self._give_up(ABNORMAL, f"'subscribe' was not answered within {self._answer_timeout:g} s")
        elif self._silence.ping_is_due(now):
            self._port.ping()

    def received(self, text: bytes) -> None:
        """One whole text message."""
        if not self._open:
            return
        self._silence.heard(self._clock.monotonic())
        try:
            message = wire.decode(text)
        except wire.InvalidMessage as error:
            # Not to be trusted any further: on a new connection the same message comes again, or is seen as
            # lost.
            self._give_up(INVALID_PAYLOAD, f"message not understood: {error}"[:120])
            return
        if isinstance(message, wire.Published):
            self._published(message)
        elif isinstance(message, wire.Heartbeat):
            self._heartbeat(message)
        elif isinstance(message, wire.Subscribed):
            self._subscribed(message)
        elif message is None:
            self.unknown += 1
        else:
            self._reply(message)

    # Parts

    def _add(self, name: str, mode: Mode, interval_ms: int) -> _Channel | None:
        if name == "heartbeat":
            self._wants_heartbeat = True
            if self._open and self._silence.heartbeat_timeout is None:
                self._ask_heartbeat()
            return None
        old = self._channels.get(name)
        channel = self._channels[name] = _Channel(name, mode, interval_ms)
        if old is not None:
            channel.position = old.position
        return channel

    def _give_up(self, code: int, reason: str) -> None:
        self._open = False  # whatever still comes is not looked at
        self._port.give_up(code, reason)

    def _ask_heartbeat(self) -> None:
        self._heartbeat_id = self.new_id()
        self._port.send(wire.encode_subscribe(self._heartbeat_id, ["heartbeat"], "all", 0, {}))

    def _check_settled(self) -> None:
        if self.settled:
            self._port.settled()

    def _unanswered(self) -> list[float]:
        return [channel.asked_at for channel in self._channels.values() if channel.asked_at is not None]

    def _ask(self, channels: Iterable[_Channel]) -> None:
        """Subscribe, in one message for each way of delivery; ``all`` channels from where they stand."""
        groups: dict[tuple[Mode, int], list[_Channel]] = {}
        for channel in channels:
            groups.setdefault((channel.mode, channel.interval_ms), []).append(channel)
        for (mode, interval_ms), group in groups.items():
            since = {c.name: c.position for c in group if mode == "all" and c.position is not None}
            request_id = self.new_id()
            for channel in group:
                channel.asked_at = self._clock.monotonic()
                channel.asked_id = request_id
                channel.tail = None
            names = [channel.name for channel in group]
            self._port.send(wire.encode_subscribe(request_id, names, mode, interval_ms, since))

    def _subscribed(self, message: wire.Subscribed) -> None:
        channel = self._channels.get(message.channel)
        if channel is None or message.epoch is None or message.seq is None:
            return
        top = Position(message.epoch, message.seq)
        if channel.asked_at is None:
            if message.id is None:
                self._continue_at(channel, top, recovered=False)
        elif message.id == channel.asked_id:
            # Otherwise it answers a question that has been asked again since.
            channel.asked_at = channel.asked_id = None
            self._continue_at(channel, top, recovered=message.recovered)
            self._check_settled()

    def _continue_at(self, channel: _Channel, top: Position, recovered: bool) -> None:
        """What ``subscribed`` says about continuity. Unasked, it tells that the server lost its own."""
        known = channel.position
        if known is None:
            channel.position = channel.snapshot = top
        elif channel.mode == "all":
            if recovered:
                self._port.deliver(Recovered(channel=channel.name, since=known))
                return
            channel.position = channel.snapshot = top
            channel.gap_from = None
            self._port.deliver(NotRecovered(channel=channel.name, since=known, position=top))

    def _published(self, message: wire.Published) -> None:
        channel = self._channels.get(message.channel)
        if channel is None or channel.asked_at is not None:
            return  # given up, or asked for anew: then everything from ``since`` comes once more
        self.data_seen = True
        known = channel.position
        if known is None or channel.mode == "latest":
            self._take_latest(channel, message)
        elif message.epoch != known.epoch:
            channel.position = Position(message.epoch, message.seq)
            channel.snapshot = None
            before = Position(message.epoch, message.seq - 1)
            self._port.deliver(NotRecovered(channel=channel.name, since=known, position=before))
            self._port.deliver(message)
        elif message.seq == known.seq + 1:
            channel.position = Position(message.epoch, message.seq)
            channel.gap_from = channel.snapshot = None
            self._port.deliver(message)
        elif message.seq <= known.seq:
            if channel.snapshot == known == (message.epoch, message.seq):
                channel.snapshot = None
                self._port.deliver(message)
            else:
                self.duplicates += 1
        else:
            self._hole(channel, known, message)

    def _take_latest(self, channel: _Channel, message: wire.Published) -> None:
        known = channel.position
        position = Position(message.epoch, message.seq)
        first = channel.snapshot == position and channel.position == position
        channel.snapshot = None
        if known is not None and known.epoch == message.epoch and message.seq <= known.seq and not first:
            self.duplicates += 1
            return
        channel.position = position
        self._port.deliver(message)

    def _hole(self, channel: _Channel, known: Position, message: wire.Published) -> None:
        first = known.seq + 1
        if channel.gap_from != first:
            channel.gap_from = first
            self._ask([channel])
            return
        # Asked for, called recovered, and still not there: say so and go on.
        channel.gap_from = None
        channel.position = Position(message.epoch, message.seq)
        self._port.deliver(Gap(channel=channel.name, epoch=message.epoch, first=first, last=message.seq - 1))
        self._port.deliver(message)

    def _heartbeat(self, message: wire.Heartbeat) -> None:
        self.data_seen = True
        for name, top in message.channels.items():
            channel = self._channels.get(name)
            if channel is not None and channel.mode == "all" and channel.asked_at is None:
                self._check_tail(channel, Position(top.epoch, top.seq))
        if self._wants_heartbeat:
            self._port.deliver(message)

    def _check_tail(self, channel: _Channel, top: Position) -> None:
        """Two beats in a row must stay ahead: the first may have overtaken messages within the server."""
        known = channel.position
        before, channel.tail = channel.tail, None
        if known is None or _reached(known, top):
            return
        if before is None or _reached(known, before):
            channel.tail = top
        elif channel.gap_from == known.seq + 1:
            self._tail_lost(channel, known, top)
        else:
            channel.gap_from = known.seq + 1
            self._ask([channel])

    def _tail_lost(self, channel: _Channel, known: Position, top: Position) -> None:
        """Resumed, and still behind: the messages up to ``top`` will not come."""
        channel.gap_from = None
        channel.position = top
        if known.epoch == top.epoch:
            self._port.deliver(Gap(channel=channel.name, epoch=top.epoch, first=known.seq + 1, last=top.seq))
        else:
            self._port.deliver(NotRecovered(channel=channel.name, since=known, position=top))

    def _reply(self, message: Message) -> None:
        request_id = getattr(message, "id", None)
        if (
            isinstance(message, wire.ErrorMessage)
            and request_id is not None
            and self._refusal(request_id, message)
        ):
            return
        if request_id is not None and self._port.answer(request_id, message):
            return
        if isinstance(message, wire.ErrorMessage | wire.Echo):
            self._port.deliver(message)

    def _refusal(self, request_id: RequestId, error: wire.ErrorMessage) -> bool:
        """Whether ``error`` answers one of our own subscriptions, and what follows from it."""
        if request_id == self._heartbeat_id:
            # A server that keeps its heartbeat to itself can still be used; WebSocket pings watch over it.
            self._silence.heartbeat_timeout = None
            if self._wants_heartbeat:
                self._wants_heartbeat = False
                self._port.refused(frozenset({"heartbeat"}), error)
            return True
        names = frozenset(c.name for c in self._channels.values() if c.asked_id == request_id)
        if not names:
            return False
        if error.temporary:
            self._give_up(TRY_AGAIN_LATER, f"'subscribe' refused for now: {error.message}"[:120])
            return True
        for name in names:
            del self._channels[name]
        self._port.refused(names, error)
        self._check_settled()
        return True


def _reached(position: Position, top: Position) -> bool:
    return position.epoch == top.epoch and position.seq >= top.seq
