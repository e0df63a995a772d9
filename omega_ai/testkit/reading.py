"""From what came over the wire to what it says: stream and number, whose stamp, what time, what price."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from omega_ai.core.timestamps import parse_utc
from omega_ai.core.websocket.frames import BINARY, TEXT
from omega_ai.testkit.history import (
    NOT_RECOVERED,
    RECOVERED,
    ClientHistory,
    Happening,
    History,
    Received,
    Sent,
    received_line,
)
from omega_ai.testkit.profile import Profile, TimeFormat, field_of, matches
from omega_ai.testkit.result import WireLine
from omega_ai.testkit.stamp import Damaged, Stamp, read_stamp


class Position(NamedTuple):
    """A message's place by its own numbering."""

    stream: str
    epoch: str
    sequence: int


class Seen(NamedTuple):
    """One data message as one client saw it."""

    client: str
    life: int
    place: int
    """Its place in the client's history."""
    at_ns: int
    utc_ns: int
    raw: Received
    stream: str
    position: Position | None
    stamp: Stamp | None
    damage: str | None
    """What is wrong with its content: a checksum that fails, text that is no JSON."""
    claimed: tuple[int, int] | None
    """Of a damaged stamp: the client and number that it still shows."""
    foreign: bool
    """It carries a stamp of another run, so it is somebody else's."""
    time_ns: int | None
    """When it was made, by its own account (UTC)."""
    price: float | None
    bid: float | None
    ask: float | None
    known: bool
    """The profile says what it is."""


class Post(NamedTuple):
    """A stamped message that we sent."""

    client: str
    life: int
    stamp: Stamp
    sent: Sent

    @property
    def published(self) -> bool:
        """Whether others are to see it."""
        return self.sent.published


class Life(NamedTuple):
    """One connection of a client. Times are in nanoseconds; None: not within the run."""

    client: str
    number: int
    open_ns: int | None
    listening_ns: int | None
    """From here on it was to see what is published."""
    deaf_ns: int | None
    """From here on it was not, for it said so."""
    closing_ns: int | None
    """We began to close it, or its end was seen, whichever came first."""
    end_ns: int | None
    by_us: bool
    """We ended it on purpose."""
    recovered: bool | None = None
    """The server said that everything missed before it will come (True), or that it will not (False)."""


@dataclass(slots=True)
class Reading:
    """A history, understood. What checkers look at."""

    profile: Profile
    history: History
    end_ns: int
    """When the watching ended."""
    posts: list[Post] = field(default_factory=list)
    seen: dict[str, list[Seen]] = field(default_factory=dict)
    lives: dict[str, list[Life]] = field(default_factory=dict)
    sequential: bool = True
    """Positions that are missing were lost; else (conflated) jumps are legal."""
    grace_s: float = 1.0
    """How long before an end a message may have been sent and still be on its way."""
    held_up_s: float = 0.0
    """How long we ourselves were held up at most: what is not there after so long may still be unread."""
    hold_ups: tuple[tuple[int, int], ...] = ()
    """When we were held up: begin and end of each."""

    @property
    def examined(self) -> int:
        """Data messages seen by all clients together."""
        return sum(map(len, self.seen.values()))

    @property
    def grace_ns(self) -> int:
        """``grace_s`` in nanoseconds, and the time for which we could not read what had come."""
        return round((self.grace_s + self.held_up_s) * 1e9)

    @property
    def listeners(self) -> list[str]:
        """Clients that are to see what is published."""
        return [name for name, client in self.history.clients.items() if client.listens]

    def fault_at(self, at_ns: int) -> str | None:
        """The name of the fault window in which ``at_ns`` falls; of several, the one that began last."""
        seconds = (at_ns - self.history.start_ns) / 1e9
        windows = [w for w in self.history.faults if w.start_s <= seconds <= w.end_s]
        return max(windows, key=lambda w: w.start_s).name if windows else None

    def excused_s(self, begin_ns: int, end_ns: int) -> float:
        """By how much what took from ``begin_ns`` to ``end_ns`` may have been late through this machine.

        Twice the longest hold-up of ours: one in which it was read, and one of a server beside us.
        """
        held = (min(end_ns, end) - max(begin_ns, begin) for begin, end in self.hold_ups)
        return 2 * max((part for part in held if part > 0), default=0) / 1e9

    def line(self, seen: Seen) -> WireLine:
        """A message as evidence."""
        return received_line(seen.client, seen.raw, self.history.start_ns)


def read(history: History, profile: Profile, *, end_ns: int, grace_s: float = 1.0) -> Reading:
    """Understand ``history`` by ``profile``."""
    reading = Reading(profile, history, end_ns, grace_s=grace_s)
    for name, client in history.clients.items():
        reading.lives[name] = _lives(client)
        reading.seen[name] = _seen(client, history.run, profile)
        for sent in client.sent:
            if sent.number is not None:
                stamp = read_stamp(sent.data)
                if isinstance(stamp, Stamp):
                    reading.posts.append(Post(name, sent.life, stamp, sent))
    reading.posts.sort(key=lambda post: post.sent.at_ns)
    return reading


def _seen(client: ClientHistory, run: str, profile: Profile) -> list[Seen]:
    found = []
    for index, item in enumerate(client.received):
        if item.opcode in (TEXT, BINARY):
            seen = understand(client.name, index, item, run, profile)
            if seen is not None:
                found.append(seen)
    return found


def understand(client: str, index: int, item: Received, run: str, profile: Profile) -> Seen | None:
    """What one message says; None if the profile says that it is no data."""
    mark = read_stamp(item.data)
    stamp = mark if isinstance(mark, Stamp) and mark.run == run else None
    damage = None
    if isinstance(mark, Damaged) and mark.run == run:
        damage = "its checksum is wrong"
    message: Any = None
    if profile.format == "json":
        try:
            message = _decode(item.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            damage = damage or f"it is no JSON: {error}"
        if damage is None and mark is None and any(matches(message, match) for match in profile.ignore):
            return None
    feed = profile.feed
    is_data = feed is not None and (not feed.data or any(matches(message, match) for match in feed.data))
    known = is_data or mark is not None or _is_answer(message, profile)
    stream, position, time_ns = "", None, None
    price = bid = ask = None
    if feed is not None and is_data and damage is None:
        value = field_of(message, feed.stream)
        stream = "" if value is None else str(value)
        sequence = field_of(message, feed.sequence)
        if isinstance(sequence, str) and sequence.isdecimal() and len(sequence) < 20:
            sequence = int(sequence)
        if isinstance(sequence, int) and not isinstance(sequence, bool):
            epoch = field_of(message, feed.epoch)
            position = Position(stream, "" if epoch is None else str(epoch), sequence)
        time_ns = read_time(field_of(message, feed.time), feed.time_format)
        price = read_number(field_of(message, feed.price))
        bid, ask = read_number(field_of(message, feed.bid)), read_number(field_of(message, feed.ask))
    elif not is_data and stamp is None and damage is None and known:
        return None  # an answer to something we asked
    return Seen(
        client=client,
        life=item.life,
        place=index,
        at_ns=item.at_ns,
        utc_ns=item.utc_ns,
        raw=item,
        stream=stream,
        position=position,
        stamp=stamp,
        damage=damage,
        claimed=_claim(mark) if damage is not None else None,
        foreign=mark is not None and mark.run != run,
        time_ns=time_ns,
        price=price,
        bid=bid,
        ask=ask,
        known=known,
    )


def _claim(mark: Stamp | Damaged | None) -> tuple[int, int] | None:
    if mark is None or mark.client is None or mark.number is None:
        return None
    return mark.client, mark.number


def _is_answer(message: Any, profile: Profile) -> bool:
    candidates = [
        profile.subscribe.confirmed,
        profile.errors.answer if profile.errors is not None else None,
        profile.resume.answer if profile.resume is not None else None,
        profile.echo.answer if profile.echo is not None else None,
    ]
    return any(match and matches(message, match) for match in candidates)


def _lives(client: ClientHistory) -> list[Life]:
    events = defaultdict(list)
    for event in client.events:
        events[event.life].append(event)
    lives = []
    for number, happened in sorted(events.items()):

        def first(*kinds: Happening, happened: list[Any] = happened) -> int | None:
            return next((event.at_ns for event in happened if event.kind in kinds), None)

        cut = next((e.at_ns for e in happened if e.kind is Happening.NOTE and e.text == "cut by us"), None)
        ends = [
            at
            for at in (
                first(Happening.CLOSE_SENT, Happening.CLOSE_RECEIVED, Happening.VIOLATION, Happening.END),
                cut,
            )
            if at is not None
        ]
        lives.append(
            Life(
                client=client.name,
                number=number,
                open_ns=first(Happening.OPEN),
                listening_ns=first(Happening.SUBSCRIBED),
                deaf_ns=first(Happening.UNSUBSCRIBED),
                closing_ns=min(ends) if ends else None,
                end_ns=first(Happening.END),
                recovered=next((_RECOVERED[e.text] for e in happened if e.text in _RECOVERED), None),
                by_us=cut is not None or first(Happening.CLOSE_SENT) is not None,
            )
        )
    return lives


def read_time(value: Any, form: TimeFormat) -> int | None:
    """A time as nanoseconds since the Unix epoch; None if it is none."""
    if form == "iso8601":
        if not isinstance(value, str):
            return None
        try:
            return parse_utc(value)
        except ValueError:
            return None
    if isinstance(value, str):
        try:
            value = int(value) if value.isdecimal() and len(value) < 25 else float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(value * _NS[form])


_RECOVERED: Final = {RECOVERED: True, NOT_RECOVERED: False}
_NS: Final = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
_decode = msgspec.json.Decoder().decode


def read_number(value: Any) -> float | None:
    """A number, or text that holds one; None for everything else."""
    if isinstance(value, str) and len(value) < 64:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
