"""Messages out of data frames: fragmentation, reserved bits, UTF-8, limits (RFC 6455 section 5.4)."""

from __future__ import annotations

import codecs
from typing import Final

from omega_ai.core.websocket.close import INVALID_PAYLOAD, MESSAGE_TOO_BIG, PROTOCOL_ERROR, ProtocolError
from omega_ai.core.websocket.deflate import DeflateParams, Inflater
from omega_ai.core.websocket.frames import CONTINUATION, TEXT

MESSAGE_LIMIT: Final = 1 << 20
FRAGMENTS_LIMIT: Final = 16_384

_RSV1: Final = 4


def check_utf8(payload: bytes) -> None:
    """Raise ``ProtocolError`` 1007 unless ``payload`` is UTF-8 (section 8.1)."""
    if not payload.isascii():  # no copy is made of what is plain ASCII, as JSON mostly is
        try:
            payload.decode()
        except UnicodeDecodeError as error:
            raise ProtocolError(
                INVALID_PAYLOAD, f"text is not UTF-8: {error.reason} at byte {error.start}"
            ) from None


class MessageAssembler:
    """Puts together the data frames of one connection.

    A frame is given whole to ``feed``, or in pieces as they arrive to ``begin``, ``piece`` and ``end``: text
    is checked as far as it has come, so that a message is refused at the first byte that makes it wrong.
    ``rsv`` holds the reserved bits: 4 for RSV1, 2 for RSV2, 1 for RSV3.

    Every method raises ``ProtocolError``, after which the assembler must not be used.
    """

    __slots__ = (
        "_carry",
        "_compressed",
        "_data",
        "_deflate",
        "_fin",
        "_fragments",
        "_fragments_limit",
        "_inflater",
        "_message_limit",
        "_opcode",
        "_received",
    )

    def __init__(
        self,
        *,
        message_limit: int = MESSAGE_LIMIT,
        fragments_limit: int = FRAGMENTS_LIMIT,
        deflate: DeflateParams | None = None,
    ) -> None:
        self._message_limit = message_limit
        self._fragments_limit = fragments_limit
        self._deflate = deflate
        self._inflater: Inflater | None = None
        self._carry = b""  # the start of a UTF-8 character whose rest is still to come
        self._data = bytearray()
        self._opcode = CONTINUATION  # of the message under way; CONTINUATION when none is
        self._fragments = 0
        self._received = 0  # payload bytes of the message under way, as sent
        self._fin = False
        self._compressed = False

    @property
    def idle(self) -> bool:
        """Whether no message is under way."""
        return self._opcode == CONTINUATION

    @property
    def stateless(self) -> bool:
        """Whether nothing is kept that a fresh assembler would not have."""
        return self._opcode == CONTINUATION and self._inflater is None

    def feed(self, opcode: int, fin: bool, rsv: int, payload: bytes) -> tuple[int, bytes] | None:
        """Take one data frame; returns (TEXT or BINARY, message) when it ends a message."""
        self.begin(opcode, fin, rsv, len(payload))
        self.piece(payload)
        return self.end()

    def begin(self, opcode: int, fin: bool, rsv: int, length: int) -> None:
        """Take the head of a data frame whose payload has ``length`` bytes."""
        if rsv:
            self._check_rsv(opcode, rsv)
        if opcode == CONTINUATION:
            if self._opcode == CONTINUATION:
                raise ProtocolError(PROTOCOL_ERROR, "continuation frame without a message to continue")
        elif self._opcode != CONTINUATION:
            raise ProtocolError(PROTOCOL_ERROR, "new message before the fragmented one has ended")
        else:
            self._opcode = opcode
            self._compressed = rsv == _RSV1
            if self._compressed and self._inflater is None and self._deflate is not None:
                self._inflater = Inflater(self._deflate)
        self._fragments += 1
        if self._fragments > self._fragments_limit:
            raise ProtocolError(
                MESSAGE_TOO_BIG,
                f"message of more than {self._fragments_limit} fragments; send fewer",
            )
        self._received += length
        if self._compressed:
            # DEFLATE adds little to what cannot be made smaller; more than that inflates to nothing, and
            # could be sent without end.
            most = self._message_limit + (self._message_limit >> 6) + 1024 + 8 * self._fragments
            if self._received > most:
                raise ProtocolError(MESSAGE_TOO_BIG, "compressed message longer than it may be inflated")
        elif self._received > self._message_limit:
            raise ProtocolError(
                MESSAGE_TOO_BIG,
                f"message of {self._received} bytes or more; {self._message_limit} are allowed",
            )
        self._fin = fin

    def piece(self, payload: bytes) -> None:
        """Take the next bytes of the frame's payload, unmasked."""
        if self._inflater is not None and self._compressed:
            payload = self._inflater.feed(payload, self._message_limit - len(self._data))
        self._add(payload)

    def end(self) -> tuple[int, bytes] | None:
        """The frame is complete; returns (TEXT or BINARY, message) when it ends a message."""
        if not self._fin:
            return None
        if self._inflater is not None and self._compressed:
            self._add(self._inflater.finish(self._message_limit - len(self._data)))
            if self._deflate is not None and not self._deflate.receive_takeover:
                self._inflater = None
        if self._carry:
            raise ProtocolError(INVALID_PAYLOAD, "text is not UTF-8: it ends inside a character")
        opcode, message = self._opcode, bytes(self._data)
        self._opcode = CONTINUATION
        self._fragments = self._received = 0
        self._data = bytearray()
        return opcode, message

    def _check_rsv(self, opcode: int, rsv: int) -> None:
        if rsv & ~_RSV1:
            raise ProtocolError(PROTOCOL_ERROR, "reserved bit RSV2 or RSV3 is set, and no extension uses it")
        if self._deflate is None:
            raise ProtocolError(PROTOCOL_ERROR, "reserved bit RSV1 is set without negotiated compression")
        if opcode == CONTINUATION:
            raise ProtocolError(PROTOCOL_ERROR, "reserved bit RSV1 is set on a continuation frame")

    def _add(self, data: bytes) -> None:
        if self._opcode == TEXT:
            if self._carry:
                self._check(self._carry + data)
            elif not data.isascii():
                self._check(data)
        self._data += data

    def _check(self, data: bytes) -> None:
        """Check text as far as it goes, keeping the start of a character that has not ended."""
        try:
            _, used = codecs.utf_8_decode(data, "strict", False)
        except UnicodeDecodeError as error:
            raise ProtocolError(INVALID_PAYLOAD, f"text is not UTF-8: {error.reason}") from None
        self._carry = carry = data[used:]
        # Two bytes tell a surrogate; the decoder of the library waits for the third.
        if len(carry) == 2 and carry[0] == 0xED and carry[1] >= 0xA0:
            raise ProtocolError(INVALID_PAYLOAD, "text is not UTF-8: invalid continuation byte")
