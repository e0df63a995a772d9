"""Frames, right and wrong: built as told, and read back without trusting the peer.

``frame`` builds anything that fits the layout of RFC 6455 section 5.2, allowed or not. ``FrameReader`` takes
what a server (or a client) sends, notes every breach of its rules, and reads on where that is possible.
"""

from __future__ import annotations

import codecs
import zlib
from dataclasses import dataclass
from typing import Final, NamedTuple

from omega_ai.core.websocket.close import INVALID_PAYLOAD, NO_STATUS, ProtocolError, parse_close_payload
from omega_ai.core.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, apply_mask

RSV1: Final = 4
RSV2: Final = 2
RSV3: Final = 1
FRAME_LIMIT: Final = 96 << 20
"""Bytes of one frame that are read; the largest case asks for 16 MiB."""
KEYS: Final = 1000
_STRICT_STEP: Final = 256
"""Bytes inflated at once where the window is small: zlib checks distances against what is outside of that."""

NAMES: Final = {
    CONTINUATION: "continuation",
    TEXT: "text",
    BINARY: "binary",
    CLOSE: "close",
    PING: "ping",
    PONG: "pong",
}


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    wide: int | None = None,
    claimed: int | None = None,
) -> bytes:
    """One frame. ``wide``: bytes of the extended length (0, 2 or 8) instead of the shortest form;
    ``claimed``: the length that the head states, whatever follows.
    """
    size = len(payload) if claimed is None else claimed
    form = wide if wide is not None else 0 if size < 126 else 2 if size < 0x10000 else 8
    head = bytes((opcode | (0x80 if fin else 0) | rsv << 4,))
    flag = 0 if mask is None else 0x80
    if form == 0:
        head += bytes((flag | size,))
    else:
        head += bytes((flag | (126 if form == 2 else 127),)) + size.to_bytes(form, "big")
    return head + payload if mask is None else head + mask + apply_mask(payload, mask)


def fragments(opcode: int, parts: list[bytes], *, rsv: int = 0) -> list[bytes]:
    """A message as one frame for each part."""
    last = len(parts) - 1
    return [
        frame(CONTINUATION if place else opcode, part, fin=place == last, rsv=0 if place else rsv)
        for place, part in enumerate(parts)
    ]


class Frame(NamedTuple):
    """A frame as it came."""

    opcode: int
    fin: bool
    rsv: int
    payload: bytes

    @property
    def name(self) -> str:
        """What its opcode is called."""
        return NAMES.get(self.opcode, f"opcode {self.opcode:#x}")


class Message(NamedTuple):
    """A whole data message, inflated if it was compressed."""

    opcode: int
    data: bytes
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a server agreed to (RFC 7692 section 7.1)."""

    server_takeover: bool = True
    client_takeover: bool = True
    server_bits: int = 15
    client_bits: int = 15


class FrameReader:
    """Reads the bytes of a server. ``violations`` says in words what it must not have sent.

    ``from_client``: of a client, whose frames are masked, and for which ``agreed`` says server where it means
    the one that is read.
    """

    def __init__(self, *, from_client: bool = False) -> None:
        self.keys: list[bytes] = []
        """The masking keys of a client's frames, the first thousand."""
        self._from_client = from_client
        self.agreed: Agreed | None = None
        self.frames = 0
        self.messages: list[Message] = []
        self.pings: list[bytes] = []
        self.pongs: list[bytes] = []
        self.close: tuple[int, str] | None = None
        """Code (1005: none) and reason of the first close frame."""
        self.after_close = 0
        self.violations: list[str] = []
        self.largest_fragment = 0
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._opcode = CONTINUATION
        self._compressed = False
        self._lost = False
        self._inflater: zlib._Decompress | None = None

    @property
    def idle(self) -> bool:
        """Whether no frame is half read."""
        return not self._buffer

    def feed(self, data: bytes) -> list[Frame]:
        """Take the next bytes; the frames that they complete."""
        found: list[Frame] = []
        if self._lost:
            return found
        self._buffer += data
        while (one := self._next()) is not None:
            self.frames += 1
            found.append(one)
            self._take(one)
        return found

    def _breach(self, text: str) -> None:
        if len(self.violations) < 20:
            self.violations.append(text)

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2 or self._lost:
            return None
        first, second = buffer[0], buffer[1]
        size = second & 0x7F
        start = 2
        if size > 125:
            wide = 2 if size == 126 else 8
            start += wide
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
            if size < (126 if wide == 2 else 0x10000):
                self._breach(f"a length of {size} in {wide} bytes, which is not the shortest form")
        mask = None
        if second & 0x80:
            mask = bytes(buffer[start : start + 4])
            start += 4
        if size > FRAME_LIMIT:
            self._breach(f"a frame of {size} bytes, of which nothing more is read")
            self._lost = True
            return None
        if len(buffer) < start + size:
            return None
        payload = bytes(memoryview(buffer)[start : start + size])
        del buffer[: start + size]
        if mask is not None:
            payload = apply_mask(payload, mask)
            if len(self.keys) < KEYS:
                self.keys.append(mask)
        if self._from_client and mask is None:
            self._breach("an unmasked frame, which a client must never send (section 5.1)")
        elif mask is not None and not self._from_client:
            self._breach("a masked frame, which a server must never send (section 5.1)")
        return Frame(first & 0x0F, first >= 0x80, first >> 4 & 7, payload)

    def _take(self, one: Frame) -> None:
        if self.close is not None:
            self.after_close += 1
            self._breach(f"a {one.name} frame after its close frame (section 5.5.1)")
            return
        if one.opcode not in NAMES:
            self._breach(f"a frame with the reserved opcode {one.opcode:#x} (section 5.2)")
        elif one.opcode >= CLOSE:
            self._control(one)
        else:
            self._data(one)

    def _control(self, one: Frame) -> None:
        if not one.fin:
            self._breach(f"a fragmented {one.name} frame (section 5.5)")
        if one.rsv:
            self._breach(f"reserved bits {one.rsv:03b} on a {one.name} frame (section 5.2)")
        if len(one.payload) > 125:
            self._breach(f"a {one.name} frame of {len(one.payload)} bytes (section 5.5)")
        if one.opcode == PING:
            self.pings.append(one.payload)
        elif one.opcode == PONG:
            self.pongs.append(one.payload)
        else:
            try:
                self.close = parse_close_payload(one.payload)
            except ProtocolError as error:
                code = int.from_bytes(one.payload[:2], "big") if len(one.payload) > 1 else NO_STATUS
                if code < 5000 or not is_utf8(one.payload[2:]):  # of 5000 and above, the RFC says nothing
                    self._breach(f"a {error.reason}")
                self.close = (code, one.payload[2:].decode("utf-8", "backslashreplace"))

    def _data(self, one: Frame) -> None:
        self.largest_fragment = max(self.largest_fragment, len(one.payload))
        if one.rsv & ~RSV1 or (one.rsv and (self.agreed is None or one.opcode == CONTINUATION)):
            self._breach(f"reserved bits {one.rsv:03b} on a {one.name} frame (section 5.2)")
        if one.opcode == CONTINUATION:
            if self._opcode == CONTINUATION:
                self._breach("a continuation frame without a message to continue (section 5.4)")
                return
        else:
            if self._opcode != CONTINUATION:
                self._breach("a new message inside of a fragmented one (section 5.4)")
            self._opcode, self._parts = one.opcode, []
            self._compressed = bool(one.rsv & RSV1) and self.agreed is not None
        self._parts.append(one.payload)
        if not one.fin:
            return
        data = b"".join(self._parts)
        opcode, self._opcode, self._parts = self._opcode, CONTINUATION, []
        if self._compressed:
            try:
                data = self._inflate(data)
            except zlib.error as error:
                self._breach(f"a compressed message that does not inflate: {error} (RFC 7692 section 7.2.2)")
                return
        if opcode == TEXT and not is_utf8(data):
            self._breach("a text message that is not UTF-8 (section 8.1)")
        self.messages.append(Message(opcode, data, self._compressed))

    def _inflate(self, data: bytes) -> bytes:
        agreed = self.agreed or Agreed()
        if self._inflater is None or not agreed.server_takeover:
            self._inflater = zlib.decompressobj(-agreed.server_bits)
        data += b"\x00\x00\xff\xff"
        if agreed.server_bits == 15:
            out = self._inflater.decompress(data)
        else:
            parts = []
            while data:
                parts.append(self._inflater.decompress(data, _STRICT_STEP))
                data = self._inflater.unconsumed_tail
            while more := self._inflater.decompress(b"", _STRICT_STEP):
                parts.append(more)
            out = b"".join(parts)
        if self._inflater.eof:
            self._inflater = None
        return out


def is_utf8(data: bytes) -> bool:
    """Whether ``data`` is whole and valid UTF-8."""
    try:
        codecs.utf_8_decode(data, "strict", True)
    except UnicodeDecodeError:
        return False
    return True


def close_body(code: int, reason: bytes = b"") -> bytes:
    """The payload of a close frame, whatever the code."""
    return code.to_bytes(2, "big") + reason


__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "INVALID_PAYLOAD",
    "PING",
    "PONG",
    "RSV1",
    "RSV2",
    "RSV3",
    "TEXT",
    "Agreed",
    "Frame",
    "FrameReader",
    "Message",
    "close_body",
    "fragments",
    "frame",
    "is_utf8",
]
