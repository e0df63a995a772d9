"""Frames as bytes (RFC 6455 section 5.2): built once, sent to as many as want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from omega_ai.core.websocket.close import may_be_sent

if TYPE_CHECKING:
    from collections.abc import Callable

unmask: Callable[[bytes, bytes], bytes]
"""A frame's whole payload and its mask: ``apply_mask`` without an offset."""
try:
    # Every message from a client is unmasked. This loop over its bytes is three to six times as fast in C;
    # the package has the extension wherever it has a wheel.
    from websockets.speedups import apply_mask as unmask
except ImportError:
    from omega_ai.core.websocket.masking import xor as unmask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

CONTROL_LIMIT: Final = 125
"""Bytes that a control frame may carry (section 5.5)."""
REASON_LIMIT: Final = CONTROL_LIMIT - 2
"""Bytes that the reason in a close frame may have."""

EMPTY_PING: Final = b"\x89\x00"
EMPTY_PONG: Final = b"\x8a\x00"
EMPTY_CLOSE: Final = b"\x88\x00"
"""Ready to send, from a server (a client must mask)."""


def text_frame(payload: bytes) -> bytes:
    """One unfragmented, unmasked text frame: what a server sends. ``payload`` is UTF-8."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 0x10000:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def build_frame(
    opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False, mask: bytes | None = None
) -> bytes:
    """One frame. ``mask`` is four bytes, from a client only (section 5.3).

    It builds what it is told to, so that tests can send what no right endpoint would.
    """
    size = len(payload)
    first = opcode | (0x80 if fin else 0) | (0x40 if rsv1 else 0)
    masked = 0 if mask is None else 0x80
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 0x10000:
        head = bytes((first, masked | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes, offset: int = 0) -> bytes:
    """Mask or unmask (the same operation) ``payload``, whose first byte is byte ``offset`` of the frame's."""
    if offset & 3:
        turn = offset & 3
        mask = mask[turn:] + mask[:turn]
    return unmask(payload, mask)


def close_payload(code: int | None = None, reason: str = "") -> bytes:
    """What a close frame carries: nothing, or a code and a reason of at most 123 bytes of UTF-8.

    A longer reason is cut between characters. Raises ``ValueError`` for a code that must not be sent, or a
    reason without a code.
    """
    if code is None:
        if reason:
            raise ValueError("a close frame cannot carry a reason without a code")
        return b""
    if not may_be_sent(code):
        raise ValueError(f"close code {code} must not stand in a close frame (RFC 6455 section 7.4)")
    text = reason.encode("utf-8", "replace")
    if len(text) > REASON_LIMIT:
        text = text[:REASON_LIMIT].decode("utf-8", "ignore").encode()
    return code.to_bytes(2, "big") + text


def close_frame(code: int | None = None, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """A whole close frame; see ``close_payload``."""
    return build_frame(CLOSE, close_payload(code, reason), mask=mask)
