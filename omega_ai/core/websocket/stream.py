"""Frames out of a stream of bytes (RFC 6455 section 5.2), however it was cut on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omega_ai.core.websocket.assembler import check_utf8
from omega_ai.core.websocket.close import MESSAGE_TOO_BIG, PROTOCOL_ERROR, ProtocolError
from omega_ai.core.websocket.endpoint import CLOSING, ENDPOINT_SLOTS, OPEN, Endpoint
from omega_ai.core.websocket.frames import CONTROL_LIMIT, apply_mask, unmask

STREAM_SLOTS: Final = (*ENDPOINT_SLOTS, "_partial", "_rest")

_FIN_TEXT: Final = 0x81
_MASKED: Final = 0x80
_KNOWN_OPCODES: Final = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})


class _Partial:
    """A data frame of which the payload has begun to arrive."""

    __slots__ = ("left", "mask", "offset")

    def __init__(self, mask: bytes | None, left: int) -> None:
        self.mask = mask
        self.left = left
        self.offset = 0


class StreamEndpoint(Endpoint):
    """An ``Endpoint`` that parses frames itself.

    A frame is judged as it arrives: its head when the head is there, text at the first byte that is not
    UTF-8, size by the length announced. No read buffer is kept between frames.
    """

    if not TYPE_CHECKING:  # see Endpoint
        __slots__ = ()

    _partial: _Partial | None
    _rest: bytes

    def _read(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.state > CLOSING:
            return
        if self._whole_text(data):
            return
        try:
            if self._rest:
                data, self._rest = self._rest + data, b""
            position, size = 0, len(data)
            if self._partial is not None:
                position = self._continue(self._partial, data, 0)
            while position < size and self.state <= CLOSING:
                end = self._one_frame(data, position, size)
                if not end:
                    self._rest = data[position:]
                    return
                position = end
        except ProtocolError as error:
            self._rest, self._partial = b"", None
            self._fail(error)

    def _whole_text(self, data: bytes) -> bool:
        """Take ``data`` if it is one short text message from a client and nothing else, as most reads are.

        What it does is what ``_one_frame`` would do, with less on the way.
        """
        if (
            len(data) < 6
            or data[0] != _FIN_TEXT
            or data[1] - _MASKED != len(data) - 6
            or len(data) > CONTROL_LIMIT + 6
            or self._rest
            or self._partial is not None
            or self._assembler is not None
            or self.state != OPEN
            or self.options.mask_key is not None
            or self.options.message_limit < CONTROL_LIMIT
        ):
            return False
        payload = unmask(data[6:], data[2:6])
        if not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError:
                return False  # to be refused in the ordinary way
        try:
            self.on_text(payload)
        except Exception as error:
            self._crashed(error)
        return True

    def _one_frame(self, data: bytes, position: int, size: int) -> int:
        """Take the frame at ``position``; returns where the next begins, or 0 if more bytes are needed."""
        if size - position < 2:
            return 0
        first, second = data[position], data[position + 1]
        length = second & 0x7F
        server = self.options.mask_key is None
        if first != _FIN_TEXT or (second >= _MASKED) is not server:
            self._check_head(first, second, server)
        start = position + 2
        if length > CONTROL_LIMIT:
            wide = 2 if length == 126 else 8
            start += wide
            if start > size:
                return 0
            length = int.from_bytes(data[start - wide : start], "big")
            _check_length(length, wide)
        mask: bytes | None = None
        if server:
            mask = data[start : start + 4]
            start += 4
        end = start + length
        opcode = first & 0x0F
        if end > size:
            if start > size or opcode > 7:
                # A control frame is short: wait for all of it.
                return 0
            self._begin(first, length, mask)
            assert self._partial is not None  # noqa: S101 - for the type checker
            return self._continue(self._partial, data, start)
        payload = data[start:end] if mask is None else apply_mask(data[start:end], mask)
        if first == _FIN_TEXT and self._assembler is None and self.state == OPEN:
            # A text message in one frame: what nearly every message is.
            if length > self.options.message_limit:
                raise ProtocolError(
                    MESSAGE_TOO_BIG, f"message of {length} bytes; {self.options.message_limit} are allowed"
                )
            check_utf8(payload)
            try:
                self.on_text(payload)
            except Exception as error:
                self._crashed(error)
        else:
            self._receive(opcode, first >= 0x80, (first >> 4) & 7, payload)
        return end

    def _check_head(self, first: int, second: int, server: bool) -> None:
        opcode = first & 0x0F
        if (second >= _MASKED) is not server:
            raise ProtocolError(
                PROTOCOL_ERROR,
                "frame from a client is not masked" if server else "frame from a server is masked",
            )
        if opcode not in _KNOWN_OPCODES:
            raise ProtocolError(PROTOCOL_ERROR, f"unknown opcode {opcode:#x}")
        if opcode > 7:
            if first < 0x80:
                raise ProtocolError(PROTOCOL_ERROR, "fragmented control frame")
            if second & 0x7F > CONTROL_LIMIT:
                raise ProtocolError(PROTOCOL_ERROR, f"control frame of more than {CONTROL_LIMIT} bytes")
            if first & 0x70:
                raise ProtocolError(PROTOCOL_ERROR, "reserved bit set on a control frame")

    def _begin(self, first: int, length: int, mask: bytes | None) -> None:
        """Begin a data frame that comes in pieces."""
        self._partial = _Partial(mask, length)
        if self.state == OPEN:
            assembler = self._assembler or self._new_assembler()
            assembler.begin(first & 0x0F, first >= 0x80, (first >> 4) & 7, length)

    def _continue(self, partial: _Partial, data: bytes, position: int) -> int:
        """Take the next piece of the frame under way; returns where it ends in ``data``."""
        piece = data[position : position + partial.left]
        taken = len(piece)
        assembler = self._assembler if self.state == OPEN else None
        if assembler is not None and taken:
            if partial.mask is not None:
                piece = apply_mask(piece, partial.mask, partial.offset)
            assembler.piece(piece)
        partial.offset += taken
        partial.left -= taken
        if not partial.left:
            self._partial = None
            if assembler is not None:
                message = assembler.end()
                if message is not None:
                    if assembler.stateless:
                        self._assembler = None
                    try:
                        self._deliver(*message)
                    except Exception as error:
                        self._crashed(error)
        return position + taken


def _check_length(length: int, wide: int) -> None:
    """The length must be in its shortest form, and under 2**63 (section 5.2)."""
    if length < (126 if wide == 2 else 0x10000):
        raise ProtocolError(PROTOCOL_ERROR, "frame length not in its shortest form")
    if length >> 63:
        raise ProtocolError(PROTOCOL_ERROR, "frame length of 2**63 or more")
