"""What was published and what each client saw, and whether the two agree. Pure.

Three looks at the same messages:

- by position: what follows ``(epoch, seq)`` is ``seq + 1``; anything else is lost, doubled or reordered;
- by content: one ``(epoch, seq)`` is one text, whoever sees it; a second text is a seq used twice;
- by the source's identity: trades are numbered 1, 2, 3 … by the exchange, and each must come exactly once
  and in that order, whatever became of the processes between.

A client that is told ``recovered: false``, or sees another epoch, has been told plainly. That explains a loss
only where the history was really lost (``Truth.lose``); otherwise it is unexplained.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

NUMBERED = b'"trade_id":"'
BROADCAST = b'"n":'


class Place(NamedTuple):
    """An epoch and a seq."""

    epoch: bytes
    seq: int


class Truth:
    """All that was published, as far as anybody saw it, and the anomalies of everybody."""

    def __init__(self) -> None:
        self._texts: dict[tuple[bytes, Place], int] = {}
        self._numbers: dict[tuple[bytes, int], Place] = {}
        self._lost_epochs: set[tuple[bytes, bytes]] = set()
        self.anomalies: Counter[str] = Counter(lost=0, doubled=0, reordered=0, unexplained=0)
        self.explained: Counter[str] = Counter()
        self.examples: list[str] = []
        self.deliveries = 0
        self.say: Callable[[str], None] = lambda _: None
        """Told the first anomalies as they are found."""

    @property
    def positions(self) -> int:
        """How many different messages were seen."""
        return len(self._texts)

    @property
    def passed(self) -> bool:
        """No anomaly, and not nothing."""
        return self.deliveries > 0 and not any(self.anomalies.values())

    def lose(self, channel: bytes, epoch: bytes) -> None:
        """The history of this epoch is gone, by a fault that does so."""
        self._lost_epochs.add((channel, epoch))

    def is_lost(self, channel: bytes, epoch: bytes) -> bool:
        """Whether it is."""
        return (channel, epoch) in self._lost_epochs

    def found(self, kind: str, count: int, text: str) -> None:
        """An anomaly."""
        self.anomalies[kind] += count
        if len(self.examples) < 40:
            self.examples.append(f"{kind}: {text}")
            self.say(f"{kind}: {text}")

    def text(self, channel: bytes, place: Place, message: bytes) -> None:
        """Somebody saw ``message`` at ``place``."""
        self.deliveries += 1
        crc = zlib.crc32(message)
        known = self._texts.setdefault((channel, place), crc)
        if known != crc:
            self.found("unexplained", 1, f"{channel!r} {place} has two texts: {message[:200]!r}")
        if channel == b"broadcast":
            number = number_of(message, BROADCAST)
            if number is not None and self._numbers.setdefault((channel, number), place) != place:
                self.found("doubled", 1, f"broadcast {number} at {place} and elsewhere")


class _Channel:
    __slots__ = ("asked", "broken", "last_number", "missing", "place", "snapshot")

    def __init__(self) -> None:
        self.place: Place | None = None
        self.asked: int | None = None
        self.snapshot: Place | None = None
        self.last_number: int | None = None
        self.missing: set[Place] = set()
        self.broken = False


class Witness:
    """What one client saw of its ``mode: all`` channels, checked as it comes."""

    def __init__(self, name: str, channels: tuple[bytes, ...], truth: Truth) -> None:
        self.name = name
        self._truth = truth
        self._channels = {channel: _Channel() for channel in channels}

    def since(self) -> dict[bytes, Place]:
        """Where to resume from."""
        return {name: c.place for name, c in self._channels.items() if c.place is not None}

    def asked(self, channel: bytes, request: int) -> None:
        """A ``subscribe`` goes out; until it is answered what comes is not looked at: it will come again."""
        self._channels[channel].asked = request

    def disconnected(self) -> None:
        """Whatever was asked for is not answered any more."""
        for channel in self._channels.values():
            channel.asked = None

    def subscribed(self, name: bytes, request: int | None, top: Place, recovered: bool) -> None:
        """The server's word about continuity: the answer to a request, or unasked."""
        channel = self._channels[name]
        if request is not None:
            if request != channel.asked:
                return  # asked again since
            channel.asked = None
        elif channel.asked is not None:
            return
        if channel.place is None:
            channel.place = channel.snapshot = top
        elif request is None or not recovered:
            self._break(name, channel, top)

    def message(self, name: bytes, place: Place, message: bytes) -> None:
        """A published message."""
        channel = self._channels[name]
        if channel.asked is not None:
            return
        truth = self._truth
        truth.text(name, place, message)
        known = channel.place
        if known is None:
            truth.found("unexplained", 1, f"{self.name} {name!r} {place} without a subscription")
            channel.place = place
            return
        if place.epoch != known.epoch:
            self._break(name, channel, Place(place.epoch, place.seq - 1))
        elif place.seq <= known.seq:
            if channel.snapshot == place:
                channel.snapshot = None
                self._number(name, channel, message)
            elif place in channel.missing:
                channel.missing.discard(place)
                truth.anomalies["lost"] -= 1
                truth.found("reordered", 1, f"{self.name} {name!r} {place} after {known}")
            else:
                truth.found("doubled", 1, f"{self.name} {name!r} {place} after {known}")
            return
        elif place.seq > known.seq + 1:
            gap = place.seq - known.seq - 1
            truth.found("lost", gap, f"{self.name} {name!r} {gap} between {known} and {place}")
            channel.missing.update(Place(place.epoch, seq) for seq in range(known.seq + 1, place.seq))
        channel.place = place
        channel.snapshot = None
        self._number(name, channel, message)

    def complain(self, text: bytes) -> None:
        """Something came that should not."""
        self._truth.found("unexplained", 1, f"{self.name}: {text!r}")

    def behind(self, tops: dict[bytes, Place], last_number: int) -> list[str]:
        """What has not come yet."""
        late = [
            f"{self.name} {name!r} at {channel.place}, not {tops[name]}"
            for name, channel in self._channels.items()
            if name in tops and channel.place != tops[name]
        ]
        trades = self._channels.get(b"trades")
        if trades is not None and trades.last_number != last_number:
            late.append(f"{self.name} at trade {trades.last_number}, not {last_number}")
        return late

    def finish(self, tops: dict[bytes, Place], last_number: int) -> None:
        """Everything has had its time: what is still behind is lost."""
        for text in self.behind(tops, last_number):
            self._truth.found("lost", 1, f"never came: {text}")

    def _break(self, name: bytes, channel: _Channel, top: Place) -> None:
        known = channel.place
        assert known is not None
        explained = self._truth.is_lost(name, known.epoch)
        if explained:
            self._truth.explained["recovered: false after a lost history"] += 1
        else:
            self._truth.found("unexplained", 1, f"{self.name} {name!r} not recovered, from {known} to {top}")
        channel.place = channel.snapshot = top
        channel.broken = explained

    def _number(self, name: bytes, channel: _Channel, message: bytes) -> None:
        if name != b"trades":
            return
        number = number_of(message, NUMBERED)
        if number is None:
            self._truth.found("unexplained", 1, f"no number in {message[:200]!r}")
            return
        last, channel.last_number = channel.last_number, number
        if last is None or number == last + 1:
            channel.broken = False
            return
        kind = "lost" if number > last + 1 else "doubled"
        if channel.broken:
            self._truth.explained[f"trades {kind} with the history"] += abs(number - last - 1)
            channel.broken = False
            return
        self._truth.found(kind, abs(number - last - 1), f"{self.name}: trade {number} after trade {last}")


def number_of(message: bytes, key: bytes) -> int | None:
    """The number after ``key``."""
    start = message.find(key)
    if start < 0:
        return None
    start += len(key)
    end = start
    while message[end : end + 1].isdigit():
        end += 1
    return int(message[start:end]) if end > start else None
