"""Clients by role: what each sends, and what it makes of what comes."""

from __future__ import annotations

from binascii import hexlify
from collections import deque
from typing import TYPE_CHECKING, Final
from zlib import crc32

from omega_ai.core.websocket.close import NORMAL
from omega_ai.core.websocket.frames import TEXT, apply_mask, build_frame, text_frame
from omega_ai.testkit.load.accounts import Arrival, Stream
from omega_ai.testkit.load.link import Link
from omega_ai.testkit.load.stamps import Maker, Mark, pack_crc, pack_numbers, read_fixed
from omega_ai.testkit.load.wire import BACKLOG_LIMIT, IDLE, OPEN

if TYPE_CHECKING:
    from omega_ai.testkit.load.group import GroupRun

WAITING_LIMIT: Final = 1000
"""Messages that wait for a client's connection; what is due beyond is not sent."""
Batch = tuple[bytes, list[int], int, int]
"""What one write should bring back (empty: the bytes are not known), the intended times in it, when it was
written, and the number of its first message."""


class Client(Link):
    """One of a group. ``number`` is its own in the whole run."""

    __slots__ = ("closing", "due", "found", "group", "number", "sent", "waiting")

    def __init__(self, group: GroupRun, number: int) -> None:
        super().__init__(group.room)
        self.group = group
        self.number = number
        self.pause_ns = group.pause_ns
        self.sent = 0
        """Messages sent, over all its connections; the number of the next one."""
        self.due: list[int] = []
        """Intended times of what is to be sent in this turn."""
        self.waiting: list[int] | None = None
        """Intended times of what waits for a connection."""
        self.closing = False
        """It is closing on purpose: to come back (churn), or for good."""
        self.found: dict[str, int] | None = None
        """Kind of anomaly -> how often."""

    def anomaly(self, kind: str, payload: bytes = b"", times: int = 1) -> None:
        """Something was wrong with what came."""
        found = self.found
        if found is None:
            found = self.found = {}
        found[kind] = found.get(kind, 0) + times
        if payload:
            self.room.recorder.example(kind, f"{self.title}: {payload[:200]!r}")

    @property
    def title(self) -> str:
        """Its name in reports."""
        return f"{self.group.plan.title} {self.number}"

    def opened(self, now: int) -> None:
        """See ``Link``."""
        if self.waiting is not None:
            self.due, self.waiting = self.waiting, None
            self.send_due(now)

    def send_due(self, now: int) -> None:
        """Send all of ``due``."""

    def hold(self, times: list[int]) -> None:
        """There is no connection: keep what is due until there is, within bounds."""
        waiting = self.waiting
        if waiting is None:
            waiting = self.waiting = []
        room = 0 if self.closing and self.state == IDLE else WAITING_LIMIT - len(waiting)
        waiting += times[:room]
        self.room.recorder.counts.unsent += max(0, len(times) - room)

    def refuse_due(self, times: list[int]) -> None:
        """The server does not read, and enough waits for it."""
        recorder = self.room.recorder
        recorder.counts.unsent += len(times)
        recorder.error("backlog: the server does not read")

    def ended(self, now: int, code: int | None) -> None:
        """See ``Link``."""
        recorder = self.room.recorder
        if self.room.settled:
            return
        if code is None:
            self.anomaly("refused")
        else:
            self.cut(now)
            if not self.closing:
                recorder.counts.dropped += 1
                recorder.closes[code] = recorder.closes.get(code, 0) + 1
                self.anomaly("dropped")
        self.group.left(self, now, churned=self.closing and code == NORMAL)

    def cut(self, now: int) -> None:
        """The connection is over: what was on its way stays unknown."""

    def churn(self, now: int) -> None:
        """Close on purpose, to come back at once."""
        if self.state == OPEN:
            self.closing = True
            self.room.recorder.counts.churned += 1
            self.close(now)


class Sender(Client):
    """A client that sends: what echo and publish have in common."""

    __slots__ = ("heads", "make")

    def __init__(self, group: GroupRun, number: int) -> None:
        super().__init__(group, number)
        self.make: Maker = group.maker(number)
        self.heads: dict[int, bytes] | None = None
        """Length of a payload -> head and mask of its frame."""

    def opened(self, now: int) -> None:
        """See ``Link``."""
        self.heads = {}
        super().opened(now)

    def _head(self, length: int) -> bytes:
        head = build_frame(TEXT, b"\0" * length, mask=self.key)[: -length or None]
        assert self.heads is not None  # noqa: S101 - it is open
        self.heads[length] = head
        return head

    def send_due(self, now: int) -> None:
        """See ``Client``."""
        times, self.due = self.due, []
        if self.state != OPEN:
            self.hold(times)
            return
        if self.backlog is not None and len(self.backlog) > BACKLOG_LIMIT:
            self.refuse_due(times)
            return
        number, make, key, heads = self.sent, self.make, self.key, self.heads or {}
        frames: list[bytes] = []
        payloads: list[bytes] = []
        for intended in times:
            payload = make(number, intended)
            head = heads.get(len(payload)) or self._head(len(payload))
            frames += (head, apply_mask(payload, key))
            payloads.append(payload)
            number += 1
        first, self.sent = self.sent, number
        self.written(payloads, times, now, first)
        self.room.recorder.counts.sent += len(times)
        self.write(b"".join(frames))

    def written(self, payloads: list[bytes], times: list[int], now: int, first: int) -> None:
        """Called for each write, before it."""


class EchoClient(Sender):
    """Sends, and gets back what it sent."""

    __slots__ = ("batches", "got", "stream", "unknown")

    def __init__(self, group: GroupRun, number: int) -> None:
        super().__init__(group, number)
        self.batches: deque[Batch] | None = None
        self.stream = Stream()
        self.got = 0
        """Came whole, each number once."""
        self.unknown = 0

    def opened(self, now: int) -> None:
        """See ``Link``."""
        super().opened(now)
        if self.group.plan.think_s is not None:
            self.group.think(self, now, 0)

    def send_due(self, now: int) -> None:
        """See ``Client``. The common case by itself: the payload is the stamp, and comes back as it is."""
        if not self.group.exact or self.state != OPEN or self.backlog is not None or self.sent > 0xFFFF_0000:
            super().send_due(now)
            return
        times, self.due = self.due, []
        key, first, lead, padding = self.key, self.sent, self.group.leads[self.number], self.group.padding
        number = first
        server, client = self.group.server_head, self.group.client_head + key
        frames, expected = [], []
        for intended in times:
            body = lead + hexlify(pack_numbers(number, intended)) + padding
            payload = body + b":" + hexlify(pack_crc(crc32(body)))
            frames.append(client + apply_mask(payload, key))
            expected.append(server + payload)
            number += 1
        self.sent = number
        batches = self.batches
        if batches is None:
            batches = self.batches = deque()
        if len(batches) < self.group.batches_limit:
            batches.append((b"".join(expected), times, now, first))
        self.room.recorder.counts.sent += len(times)
        self.write(b"".join(frames))

    def written(self, payloads: list[bytes], times: list[int], now: int, first: int) -> None:
        """See ``Sender``."""
        batches = self.batches
        if batches is None:
            batches = self.batches = deque()
        if len(batches) < self.group.batches_limit:
            expected = b"".join(map(text_frame, payloads)) if self.group.identical else b""
            batches.append((expected, times, now, first))

    def take(self, data: bytes, now: int) -> int:
        """See ``Link``. What is, byte by byte, what one write should bring back is right as a whole."""
        position, size, batches = 0, len(data), self.batches
        if batches and self._assembler is None:
            recorder, plan = self.room.recorder, self.group.plan
            latency, service = recorder.latency, recorder.service
            if not plan.timed:
                latency = service = recorder.spare
            cells, counts = latency.cells, recorder.counts
            stream = self.stream
            while batches:
                expected, times, written, first = batches[0]
                if not expected or stream.next != first or not data.startswith(expected, position):
                    break
                batches.popleft()
                position += len(expected)
                count = len(times)
                stream.next = first + count
                self.got += count
                counts.received += count
                counts.answered += count
                for intended in times:
                    value = now - intended
                    shift = value.bit_length() - 11
                    cells[value if shift <= 0 else (shift << 10) + (value >> shift)] += 1
                longest, shortest = now - times[0], now - times[-1]
                latency.total += count * now - sum(times)
                if longest > latency.maximum:
                    latency.maximum = longest
                if shortest < latency.minimum:
                    latency.minimum = shortest
                value = now - written  # as in _served, without a call
                shift = value.bit_length() - 11
                service.cells[value if shift <= 0 else (shift << 10) + (value >> shift)] += count
                service.total += value * count
                if value > service.maximum:
                    service.maximum = value
                if value < service.minimum:
                    service.minimum = value
                if plan.think_s is not None:
                    self.group.think(self, now, self.sent)
        return self.frames(data, position, now) if position < size else size

    def _served(self, value: int, count: int) -> None:
        recorder = self.room.recorder
        service = recorder.service if self.group.plan.timed else recorder.spare
        shift = value.bit_length() - 11
        service.cells[value if shift <= 0 else (shift << 10) + (value >> shift)] += count
        service.total += value * count
        if value > service.maximum:
            service.maximum = value
        if value < service.minimum:
            service.minimum = value

    def message(self, payload: bytes, now: int) -> None:
        """See ``Link``. One message by itself."""
        room, group = self.room, self.group
        counts = room.recorder.counts
        counts.received += 1
        at = payload.find(room.mark)
        mark = read_fixed(payload, at) if at >= 0 else None
        if mark is None or not self._intact(payload, at, mark):
            said = "corrupted" if mark is not None else room.words.understand(payload).meaning
            if said == "corrupted":
                counts.corrupted += 1
                self.anomaly("corrupted", payload)
            elif said == "unexpected":
                counts.unexpected += 1
                self.anomaly("unexpected", payload)
            return
        client, number, intended = mark
        if client != self.number or number >= self.sent:
            counts.unexpected += 1
            self.anomaly("unexpected", payload)
            return
        before = self.stream.missing
        arrival = self.stream.see(number)
        counts.missing += self.stream.missing - before
        if arrival is Arrival.DUPLICATED:
            counts.duplicated += 1
            self.anomaly("duplicated", payload)
            return
        if arrival is Arrival.TOO_LATE:
            counts.unexpected += 1
            self.anomaly("unexpected", payload)
            return
        if arrival is Arrival.REORDERED:
            counts.reordered += 1
            self.anomaly("reordered", payload)
        self.got += 1
        counts.answered += 1
        recorder = room.recorder
        if group.plan.timed:
            recorder.latency.record(now - intended)
        written = self._written_at(number)
        if written is not None:
            self._served(now - written, 1)
        if group.plan.think_s is not None:
            group.think(self, now, self.sent)

    def _intact(self, payload: bytes, at: int, mark: Mark) -> bool:
        """Whether what stands around a whole stamp is whole too, as far as that can be known."""
        group = self.group
        if group.exact:
            return at == 0 and len(payload) == group.stamp_size
        if group.repeatable and mark.client == self.number:
            return payload == self.make(mark.number, mark.intended)
        return self.room.words.whole(payload)

    def _written_at(self, number: int) -> int | None:
        """When ``number`` was written; what was before it is forgotten, and what is left of its write
        kept."""
        batches = self.batches
        while batches:
            expected, times, written, first = batches[0]
            if number < first:
                return None
            batches.popleft()
            past = number + 1 - first
            if past < len(times):
                size = len(expected) // len(times) if self.group.exact else 0
                left = expected[size * past :] if size else b""
                batches.appendleft((left, times[past:], written, number + 1))
                return written
            if past == len(times):
                return written
        return None

    def cut(self, now: int) -> None:
        """See ``Client``."""
        on_way = self.stream.cut(self.sent)
        self.batches = None
        if on_way:
            self.unknown += on_way
            self.room.recorder.counts.unknown += on_way
            self.anomaly("unknown", times=on_way)

    def settle(self) -> tuple[int, int, int]:
        """At the end: (lost, unknown, damaged) of all that was sent."""
        damaged = (self.found or {}).get("corrupted", 0)
        missing = self.stream.missing + self.sent - self.stream.next
        lost = max(0, missing - damaged)
        unknown = max(0, self.unknown - max(0, damaged - missing))
        if lost:
            self.anomaly("lost", times=lost)
        return lost, unknown, damaged


class PublishClient(Sender):
    """Sends what listeners get."""

    __slots__ = ("_earlier", "_marks", "uncertain")

    def __init__(self, group: GroupRun, number: int) -> None:
        super().__init__(group, number)
        self.uncertain = 0
        self._earlier = (0, 0)
        self._marks = (0, 0)

    def written(self, payloads: list[bytes], times: list[int], now: int, first: int) -> None:
        """See ``Sender``."""
        if now - self._marks[0] > 1_000_000_000:
            self._earlier, self._marks = self._marks, (now, first)

    def message(self, payload: bytes, now: int) -> None:
        """See ``Link``."""
        self.room.recorder.counts.received += 1

    def cut(self, now: int) -> None:
        """See ``Client``. What was sent in the last second or two may not have arrived."""
        if not self.closing:
            self.uncertain += self.sent - self._earlier[1]
