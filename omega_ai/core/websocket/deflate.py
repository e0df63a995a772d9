"""permessage-deflate (RFC 7692): negotiation, one compressed form for all receivers, bounded inflating.

Both directions are negotiated without context takeover. So a message compressed once is right for every
receiver, and no connection owns a window of 32 KiB or more between messages.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from omega_ai.core.websocket.close import INVALID_PAYLOAD, MESSAGE_TOO_BIG, ProtocolError
from omega_ai.core.websocket.headers import Extension

NAME: Final = "permessage-deflate"
MAX_WINDOW_BITS: Final = 15
# RFC 7692 allows 8, but zlib cannot write a raw stream with a window of 256 bytes.
MIN_WINDOW_BITS: Final = 9

_ANSWER: Final = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
OFFER: Final = f"{_ANSWER}; client_max_window_bits"
"""What our client offers."""

_TAIL: Final = b"\x00\x00\xff\xff"
# A message may hold several final DEFLATE blocks (section 7.2.3.4). No sender needs more than a few, and each
# costs a new inflater, so that many of them are an attack on the processor.
_FINAL_BLOCKS_LIMIT: Final = 16


@dataclass(frozen=True, slots=True)
class DeflateParams:
    """What two endpoints agreed on.

    ``send_window_bits`` bounds what we compress with; under ``MIN_WINDOW_BITS`` we cannot, and send plain
    messages, which is always allowed (RFC 7692 section 6). ``receive_takeover`` says that the peer may refer
    back to earlier messages (only a client meets that, from a server that did not honour the offer).
    """

    send_window_bits: int = MAX_WINDOW_BITS
    receive_window_bits: int = MAX_WINDOW_BITS
    receive_takeover: bool = False

    @property
    def can_send(self) -> bool:
        """Whether we can write compressed messages within the peer's window."""
        return self.send_window_bits >= MIN_WINDOW_BITS


def negotiate(
    offers: Iterable[Extension], *, min_window_bits: int = MIN_WINDOW_BITS
) -> tuple[str, DeflateParams] | None:
    """A server's answer: the value for Sec-WebSocket-Extensions and what it means; None to decline all.

    The first acceptable offer of the client's order is taken. An offer with an unknown, repeated or invalid
    parameter is declined (section 7.1), and so is one that asks for a window under ``min_window_bits``.
    """
    for offer in offers:
        if offer.name != NAME:
            continue
        params = _offered(offer)
        if params is None:
            continue
        answer = _ANSWER
        bits = params.get("server_max_window_bits")
        send_bits = MAX_WINDOW_BITS
        if bits is not None:
            send_bits = int(bits)
            if send_bits < min_window_bits:
                continue
            answer = f"{answer}; server_max_window_bits={send_bits}"
        return answer, DeflateParams(send_window_bits=send_bits)
    return None


def accept_answer(answers: Iterable[Extension]) -> DeflateParams | None:
    """A client's reading of the server's answer to ``OFFER``; None if the server declined.

    Raises ``ValueError``, with the reason, when the answer names what was not offered (RFC 6455 section
    4.1 and RFC 7692 section 7.1.2.2): the handshake has to be failed then.
    """
    result: DeflateParams | None = None
    for answer in answers:
        if answer.name != NAME:
            raise ValueError(f"the server chose the extension {answer.name!r}, which was not offered")
        if result is not None:
            raise ValueError(f"the server chose {NAME} twice")
        takeover, bits, send_bits = True, MAX_WINDOW_BITS, MAX_WINDOW_BITS
        seen: set[str] = set()
        for name, value in answer.params:
            if name in seen:
                raise ValueError(f"the server repeated the parameter {name!r} of {NAME}")
            seen.add(name)
            if name == "server_no_context_takeover" and value is None:
                takeover = False
            elif name == "client_no_context_takeover" and value is None:
                pass  # that is how we compress anyway
            elif name == "server_max_window_bits" and _bits(value) is not None:
                bits = int(value or "")
            elif name == "client_max_window_bits" and _bits(value) is not None:
                send_bits = int(value or "")
            else:
                shown = name if value is None else f"{name}={value}"
                raise ValueError(f"the server's answer for {NAME} has {shown!r}, which is not allowed there")
        result = DeflateParams(send_bits, bits, takeover)
    return result


def _offered(offer: Extension) -> dict[str, str | None] | None:
    """Parameters of a client's offer, or None if it has to be declined."""
    params: dict[str, str | None] = {}
    for name, value in offer.params:
        if name in params:
            return None
        if name in ("server_no_context_takeover", "client_no_context_takeover"):
            valid = value is None
        elif name == "server_max_window_bits":
            valid = _bits(value) is not None
        elif name == "client_max_window_bits":
            valid = value is None or _bits(value) is not None
        else:
            valid = False
        if not valid:
            return None
        params[name] = value
    return params


def _bits(value: str | None) -> int | None:
    """A window size of 8 to 15, as decimal digits without leading zeros (section 7.1.2.1)."""
    return int(value) if value in ("8", "9", "10", "11", "12", "13", "14", "15") else None


def compress_once(payload: bytes, *, window_bits: int = MAX_WINDOW_BITS, level: int = 6) -> bytes:
    """``payload`` as the payload of one compressed message (section 7.2.1), owing nothing to any before it.

    To be sent with RSV1 set, to everybody who negotiated at least ``window_bits``.
    """
    if not payload:
        return b"\x00"  # section 7.2.3.6: an empty stored block, of which the tail is stripped
    deflater = zlib.compressobj(level, zlib.DEFLATED, -window_bits)
    data = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]


class Inflater:
    """Inflates the messages of one connection, never to more than is allowed.

    The zlib object lives only while a message is under way, except with ``takeover``.
    """

    __slots__ = ("_finals", "_params", "_zlib")

    def __init__(self, params: DeflateParams) -> None:
        self._params = params
        # typeshed has no public name for zlib's decompressor
        self._zlib = zlib.decompressobj(-params.receive_window_bits)
        self._finals = 0

    def feed(self, data: bytes, limit: int) -> bytes:
        """Inflate a piece of a message; at most ``limit`` bytes may come out.

        Raises ``ProtocolError``: 1009 if more would, 1007 if ``data`` is not DEFLATE.
        """
        out = self._inflate(data, limit)
        if not self._zlib.eof:
            return out
        parts = [out]
        room = limit - len(out)
        while self._zlib.eof:  # a final block; what follows it is a stream of its own
            self._finals += 1
            if self._finals > _FINAL_BLOCKS_LIMIT:
                raise ProtocolError(
                    MESSAGE_TOO_BIG, f"compressed message of more than {_FINAL_BLOCKS_LIMIT} final blocks"
                )
            rest = self._zlib.unused_data
            self._zlib = zlib.decompressobj(-self._params.receive_window_bits)
            if not rest:
                break
            part = self._inflate(rest, room)
            room -= len(part)
            parts.append(part)
        return b"".join(parts)

    def finish(self, limit: int) -> bytes:
        """End the message: inflate the tail that its sender stripped (section 7.2.2)."""
        out = self.feed(_TAIL, limit)
        if not self._params.receive_takeover:
            self._zlib = zlib.decompressobj(-self._params.receive_window_bits)
        self._finals = 0
        return out

    def _inflate(self, data: bytes, limit: int) -> bytes:
        try:
            # One byte more than allowed tells "exactly at the limit" from "over it".
            out = self._zlib.decompress(data, limit + 1)
        except zlib.error as error:
            raise ProtocolError(INVALID_PAYLOAD, f"message is not valid DEFLATE: {error}") from None
        if len(out) > limit:
            raise ProtocolError(MESSAGE_TOO_BIG, "message inflates to more than the limit")
        return out
