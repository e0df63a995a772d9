"""Listeners: what they are to see is published by ours, or is the feed's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omega_ai.core.websocket.frames import TEXT, build_frame
from omega_ai.testkit.load.accounts import Arrival, Stream
from omega_ai.testkit.load.clients import Client
from omega_ai.testkit.load.stamps import read_fixed
from omega_ai.testkit.profile import fill

if TYPE_CHECKING:
    from omega_ai.testkit.load.group import GroupRun
    from omega_ai.testkit.load.tally import Accounts
    from omega_ai.testkit.load.wording import Said

KNOWN_READS: Final = 256
"""Reads that are remembered: other listeners get the very same bytes."""
READ_WORTH: Final = 16_384
"""Bytes of a read up to which it is looked up."""

Marks = tuple[tuple[int, int, int], ...]
"""(sender, number, intended) of each message of a read that holds nothing but whole stamps of ours."""


class ListenClient(Client):
    """Subscribes, then only listens."""

    __slots__ = ("_awaiting", "_marks", "feeds", "listening", "present", "streams")

    def __init__(self, group: GroupRun, number: int) -> None:
        super().__init__(group, number)
        self.streams: dict[int, Stream] = {}
        """Publisher -> what was seen of it, on this connection."""
        self.feeds: dict[tuple[str, str], Stream] | None = None
        """(stream, epoch) of the feed -> what was seen of it, on this connection."""
        self.present = False
        """It subscribed before anything was published, and has been there since."""
        self.listening = False
        self._awaiting = 0
        self._marks: list[tuple[int, int, int]] | None = None

    def opened(self, now: int) -> None:
        """See ``Link``."""
        profile = self.room.plan.profile
        subscribe = profile.subscribe
        self._awaiting = len(subscribe.send) if subscribe.confirmed is not None else 0
        for text in subscribe.send:
            payload = fill(text, self.room.values(self.number + 1))
            self.write(build_frame(TEXT, payload, mask=self.key))
        if not self._awaiting:
            self._listens(now)

    def _listens(self, now: int) -> None:
        self.listening = True
        self.present = now < self.room.publish_start

    def take(self, data: bytes, now: int) -> int:
        """See ``Link``. A read that another listener had before is understood already."""
        if len(data) > READ_WORTH or self._assembler is not None:
            return self.frames(data, 0, now)
        known = self.group.reads
        marks = known.get(data)
        if marks is not None:
            for mark in marks:
                self._stamped(mark, now)
            self.room.recorder.counts.received += len(marks)
            return len(data)
        self._marks = []
        taken = self.frames(data, 0, now)
        found, self._marks = self._marks, None
        if found is not None and taken == len(data):
            if len(known) >= KNOWN_READS:
                known.clear()
            known[data] = tuple(found)
        return taken

    def _other(self, first: int, payload: bytes, now: int) -> None:
        self._marks = None
        super()._other(first, payload, now)

    def message(self, payload: bytes, now: int) -> None:
        """See ``Link``."""
        room = self.room
        room.recorder.counts.received += 1
        at = payload.find(room.mark)
        mark = read_fixed(payload, at) if at >= 0 else None
        if mark is not None and room.words.whole(payload):
            if self._marks is not None:
                self._marks.append(mark)
            self._stamped(mark, now)
            return
        self._marks = None
        said = room.words.understand(payload)
        counts = room.recorder.counts
        if mark is not None or said.meaning == "corrupted":
            counts.corrupted += 1
            self.group.corrupted += 1
            self.anomaly("corrupted", payload)
        elif said.meaning == "unexpected":
            counts.unexpected += 1
            self.anomaly("unexpected", payload)
        elif said.meaning == "confirmed":
            self._awaiting -= 1
            if not self._awaiting:
                self._listens(now)
        elif said.meaning == "feed":
            self._fed(said, now)

    def _stamped(self, mark: tuple[int, int, int], now: int) -> None:
        """A message of ours, whole."""
        sender, number, intended = mark
        recorder = self.room.recorder
        stream = self.streams.get(sender)
        if stream is None:
            if not self.room.publishes(sender):
                recorder.counts.unexpected += 1
                self.anomaly("unexpected")
                return
            stream = self.streams[sender] = Stream(0 if self.present else number)
        if stream.next == number:
            stream.next = number + 1
        elif not self._judge(stream, number):
            return
        recorder.counts.answered += 1
        latency = recorder.latency if self.group.plan.timed else recorder.spare
        value = max(0, now - intended)
        shift = value.bit_length() - 11
        latency.cells[value if shift <= 0 else (shift << 10) + (value >> shift)] += 1
        latency.total += value
        if value > latency.maximum:
            latency.maximum = value
        if value < latency.minimum:
            latency.minimum = value

    def _judge(self, stream: Stream, number: int) -> bool:
        """A number that was not the next one; whether it counts as come."""
        counts = self.room.recorder.counts
        before = stream.missing
        arrival = stream.see(number)
        counts.missing += stream.missing - before
        if arrival is Arrival.DUPLICATED:
            counts.duplicated += 1
            self.anomaly("duplicated")
            return False
        if arrival is Arrival.TOO_LATE:
            counts.unexpected += 1
            self.anomaly("unexpected")
            return False
        if arrival is Arrival.REORDERED:
            counts.reordered += 1
            self.anomaly("reordered")
        return True

    def _fed(self, said: Said, now: int) -> None:
        """A message that the feed made itself."""
        recorder = self.room.recorder
        if said.time_ns is not None:
            recorder.age.record(self.room.utc_base + now - said.time_ns)
        feed = self.room.plan.profile.feed
        if said.sequence is None or feed is None:
            self.group.feed_delivered += 1
            return
        feeds = self.feeds
        if feeds is None:
            feeds = self.feeds = {}
        step = feed.step or 1
        key = (said.stream, said.epoch)
        place = said.sequence // step
        stream = feeds.get(key)
        if stream is None:
            stream = feeds[key] = Stream(place)
        elif not feed.step and place > stream.next:
            stream.first += place - stream.next  # jumps are legal: what is jumped over was never due
            stream.next = place
        if stream.next == place:
            stream.next = place + 1
        else:
            self._judge(stream, place)

    def cut(self, now: int) -> None:
        """See ``Client``."""
        accounts = self.group.accounts
        for sender, stream in self.streams.items():
            own = self.room.publishers.get(sender)
            if own is not None and self.listening and not self.closing:
                on_way = max(0, own.sent - stream.next)
                accounts.in_flight += on_way
                self.room.recorder.counts.unknown += on_way
                if on_way:
                    self.anomaly("unknown", times=on_way)
            self._settle(sender, stream, accounts)
        self._settle_feeds()
        self.streams = {}
        self.feeds = None
        self.present = self.listening = False

    def _settle(self, sender: int, stream: Stream, accounts: Accounts) -> None:
        due, missing = accounts.due, accounts.missing
        due[sender] = due.get(sender, 0) + stream.next - stream.first
        missing[sender] = missing.get(sender, 0) + stream.missing
        if stream.missing:
            self.anomaly("lost", times=stream.missing)

    def _settle_feeds(self) -> None:
        for stream in (self.feeds or {}).values():
            self.group.feed_due += stream.next - stream.first
            self.group.feed_lost += stream.missing
            if stream.missing:
                self.anomaly("lost", times=stream.missing)

    def behind(self) -> bool:
        """Whether it has yet to see something that a publisher of this process has sent."""
        if not self.listening:
            return False
        streams = self.streams
        for sender, publisher in self.room.publishers.items():
            stream = streams.get(sender)
            if stream is None:
                if self.present and publisher.sent:
                    return True
            elif stream.next < publisher.sent:
                return True
        return False

    def settle(self, accounts: Accounts) -> None:
        """At the end, while it is connected."""
        if not self.listening:
            return
        accounts.present += self.present
        for sender, stream in self.streams.items():
            self._settle(sender, stream, accounts)
            row = accounts.reached.setdefault(sender, {})
            row[stream.next] = row.get(stream.next, 0) + 1
            if self.present:
                accounts.present_reached[sender] = accounts.present_reached.get(sender, 0) + 1
        self._settle_feeds()
