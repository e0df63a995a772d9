"""WebSocket frames in a stream of bytes, and stages that work on them (RFC 6455 section 5.2).

A stage follows the stream from its first byte: the handshake passes as it is, and behind it come frames. What
is no WebSocket stream passes untouched, and so do frames of more than ``FRAME_LIMIT`` bytes. A stage that
joins a stream under way waits for a piece that consists of whole frames, as nearly every piece does that a
sender wrote after a pause.
"""

from __future__ import annotations

import random
from typing import Final, Literal, NamedTuple

from omega_ai.core.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    apply_mask,
    build_frame,
)
from omega_ai.testkit.faults.model import Context, Count, Item, Probability, Signal, Stream, StreamFault
from omega_ai.testkit.faults.queue import QueueStage

FRAME_LIMIT: Final = 1 << 20
"""Bytes of a frame that are kept together; a larger one passes in pieces, untouched."""
HEAD_LIMIT: Final = 65_536
"""Bytes of a handshake's head; what is longer is not understood and passes untouched."""

Frames = Literal["data", "text", "binary", "ping", "pong", "close", "control", "all"]
_KINDS: Final[dict[str, frozenset[int]]] = {
    "data": frozenset({TEXT, BINARY, CONTINUATION}),
    "text": frozenset({TEXT}),
    "binary": frozenset({BINARY}),
    "ping": frozenset({PING}),
    "pong": frozenset({PONG}),
    "close": frozenset({CLOSE}),
    "control": frozenset({PING, PONG, CLOSE}),
    "all": frozenset({TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE}),
}
_OPCODES: Final = _KINDS["all"]


class Frame(NamedTuple):
    """A frame as it stands on the wire."""

    raw: bytes
    head: int
    """Bytes of its head, the mask included."""

    @property
    def opcode(self) -> int:
        """What it is."""
        return self.raw[0] & 0x0F

    @property
    def fin(self) -> bool:
        """Whether it ends a message."""
        return self.raw[0] >= 0x80

    @property
    def rsv1(self) -> bool:
        """Whether it is compressed (RFC 7692 section 6)."""
        return bool(self.raw[0] & 0x40)

    @property
    def mask(self) -> bytes | None:
        """The key, if it is masked."""
        return self.raw[self.head - 4 : self.head] if self.raw[1] & 0x80 else None

    @property
    def body(self) -> bytes:
        """The payload as it is on the wire: masked, if it is masked."""
        return self.raw[self.head :]

    @property
    def payload(self) -> bytes:
        """The payload, unmasked."""
        mask = self.mask
        return self.body if mask is None else apply_mask(self.body, mask)

    @property
    def whole(self) -> bool:
        """Whether it is a control frame, or a message in one frame."""
        return self.opcode > 7 or (self.fin and self.opcode != CONTINUATION)

    def rebuilt(
        self, payload: bytes, *, opcode: int | None = None, fin: bool | None = None, first: bool = True
    ) -> bytes:
        """A frame like this one with another payload; only the first of a message says that it is
        compressed."""
        return build_frame(
            self.opcode if opcode is None else opcode,
            payload,
            fin=self.fin if fin is None else fin,
            rsv1=self.rsv1 and first,
            mask=self.mask,
        )


class FrameFault(StreamFault, frozen=True, kw_only=True):
    """A fault of single frames. Which ones: those of the kind ``frames``, each with the given
    ``probability``.

    The first ``skip`` of that kind are left alone, and no more than ``limit`` are chosen, if it is not 0.
    """

    frames: Frames = "data"
    probability: Probability = 1.0
    skip: Count = 0
    limit: Count = 0


class FrameStage(QueueStage):
    """Takes the stream apart. Subclasses override ``hit``, and ``put`` what is to go on."""

    __slots__ = ("_chosen", "_fault", "_parser", "_seen", "rng", "stream")

    hold_limit = 2 * FRAME_LIMIT  # a frame under way must not keep its own rest from being read
    whole: bool = True
    """Whether only frames are chosen that are a message of their own, so that the rest stays a legal
    stream."""

    def __init__(self, fault: FrameFault, context: Context) -> None:
        super().__init__()
        self.rng: random.Random = context.rng
        self.stream: Stream = context.stream
        self._fault = fault
        self._parser = FrameParser(context.stream, fresh=context.fresh)
        self._seen = 0
        self._chosen = 0

    def feed(self, data: bytes, now: float) -> list[Item]:
        """Take the frames apart."""
        for piece in self._parser.feed(data):
            if isinstance(piece, Frame):
                if self._chooses(piece):
                    self.hit(piece, now)
                else:
                    self.passed(piece, now)
            else:
                self.put(piece, now)
        return self.release(now)

    def hit(self, frame: Frame, now: float) -> None:
        """A frame that was chosen."""
        raise NotImplementedError

    def passed(self, frame: Frame, now: float) -> None:
        """A frame that was not."""
        self.put(frame.raw, now)

    def finish(self, signal: Signal, now: float) -> list[Item]:
        """The rest of a frame that was cut off goes on as it is."""
        if rest := self._parser.rest():
            self.put(rest, now)
        return super().finish(signal, now)

    def stop(self, now: float) -> list[Item]:
        """Give what is kept."""
        out = super().stop(now)
        if rest := self._parser.rest():
            # In front of a signal, if one is kept.
            out.insert(len(out) - (1 if out and isinstance(out[-1], Signal) else 0), rest)
        return out

    @property
    def held(self) -> int:
        """Bytes kept."""
        return super().held + self._parser.held

    def _chooses(self, frame: Frame) -> bool:
        fault = self._fault
        if frame.opcode not in _KINDS[fault.frames] or (self.whole and not frame.whole):
            return False
        self._seen += 1
        if self._seen <= fault.skip or (fault.limit and self._chosen >= fault.limit):
            return False
        if fault.probability < 1.0 and self.rng.random() >= fault.probability:
            return False
        self._chosen += 1
        return True


class FrameParser:
    """Bytes in, frames out, and between them the bytes that are none."""

    __slots__ = ("_head", "_held", "_pieces", "_skip", "_state", "_stream", "_wanted")

    def __init__(self, stream: Stream, *, fresh: bool) -> None:
        self._stream = stream
        self._state: Literal["head", "seek", "frames", "opaque"] = "head" if fresh else "seek"
        self._head = b""
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = 0
        self._skip = 0

    @property
    def held(self) -> int:
        """Bytes of a frame that has not wholly come."""
        return self._held

    def rest(self) -> bytes:
        """What is held, which is then not held any more."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._held = self._wanted = 0
        return rest

    def feed(self, data: bytes) -> list[Frame | bytes]:
        """The next bytes of the stream."""
        if self._state == "head":
            return self._feed_head(data)
        if self._state == "seek" and self._tiles(data):
            self._state = "frames"
        if self._state == "frames":
            return self._feed_frames(data)
        return [data]

    def _feed_head(self, data: bytes) -> list[Frame | bytes]:
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\r\n\r\n", max(before - 3, 0))
        if end < 0:
            if len(self._head) > HEAD_LIMIT:
                self._state, self._head = "opaque", b""
            return [data]
        upgraded = is_upgrade(self._head[:end], self._stream)
        self._state, self._head = ("frames" if upgraded else "opaque"), b""
        cut = end + 4 - before
        out: list[Frame | bytes] = [data[:cut]]
        if cut < len(data):
            out += self.feed(data[cut:])
        return out

    def _feed_frames(self, data: bytes) -> list[Frame | bytes]:
        out: list[Frame | bytes] = []
        if self._skip:
            piece = data[: self._skip]
            self._skip -= len(piece)
            out.append(piece)
            data = data[len(piece) :]
        if self._held + len(data) < self._wanted:
            # A frame that comes in many small pieces is put together once, not with each of them.
            self._keep(data)
            return out
        data = self.rest() + data
        position = 0
        while position < len(data):
            size = frame_size(data, position)
            if size is None:
                break
            head, length = size
            if head < 0:
                self._state = "opaque"
                out.append(data[position:])
                position = len(data)
            elif head + length > FRAME_LIMIT:
                piece = data[position : position + head + length]
                self._skip = head + length - len(piece)
                out.append(piece)
                position += len(piece)
            elif position + head + length > len(data):
                self._wanted = head + length
                break
            else:
                out.append(Frame(data[position : position + head + length], head))
                position += head + length
        self._keep(data[position:])
        return out

    def _keep(self, data: bytes) -> None:
        if data:
            self._pieces.append(data)
            self._held += len(data)

    def _tiles(self, data: bytes) -> bool:
        """Whether ``data`` is one whole frame after the other, as this direction has them."""
        position = 0
        while position < len(data):
            size = frame_size(data, position)
            masked = position + 1 < len(data) and bool(data[position + 1] & 0x80)
            if size is None or size[0] < 0 or masked is not (self._stream == "upstream"):
                return False
            position += sum(size)
        return position == len(data)


def frame_size(data: bytes, position: int) -> tuple[int, int] | None:
    """Bytes of the head and of the payload of the frame at ``position``; None: more are needed.

    A head of -1: this is no frame.
    """
    if len(data) - position < 2:
        return None
    first, second = data[position], data[position + 1]
    if first & 0x30 or first & 0x0F not in _OPCODES:
        return -1, 0
    length, head = second & 0x7F, 2
    if length > 125:
        wide = 2 if length == 126 else 8
        head += wide
        if len(data) - position < head:
            return None
        length = int.from_bytes(data[position + 2 : position + head], "big")
        if length >> 63:
            return -1, 0
    if second & 0x80:
        head += 4
        if len(data) - position < head:
            return None
    return head, length


def is_upgrade(head: bytes, stream: Stream) -> bool:
    """Whether frames follow this head: a request to upgrade, or the answer that does."""
    lines = head.lower().split(b"\r\n")
    if stream == "downstream":
        return lines[0].split(b" ")[1:2] == [b"101"]
    return any(
        line.partition(b":")[0].strip() == b"upgrade" and b"websocket" in line.partition(b":")[2]
        for line in lines[1:]
    )
