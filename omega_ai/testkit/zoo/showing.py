"""A secure port that shows a TLS 1.2 handshake's first half, just as it is told to, and stops there.

``ssl`` can neither staple an OCSP answer nor leave out what OpenSSL thinks is due. This sends ServerHello,
Certificate, CertificateStatus and ServerHelloDone, and ends the connection when the client goes on: there is
no key exchange, no signature, no WebSocket behind it. It is enough for what only reads those messages, and
for nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from omega_ai.testkit.tls.flight import CERTIFICATE, CERTIFICATE_STATUS, OCSP, SERVER_HELLO, SERVER_HELLO_DONE
from omega_ai.testkit.tls.hello import (
    CLIENT_HELLO,
    EXTENDED_MASTER_SECRET,
    RENEGOTIATION_INFO,
    STATUS_REQUEST,
    SUPPORTED_VERSIONS,
)
from omega_ai.testkit.tls.wire import (
    ALERT,
    HANDSHAKE,
    TLS_1_2,
    Cursor,
    Malformed,
    Messages,
    Records,
    message,
    read_extensions,
    record,
    vector,
)

_SUITE = 0xC02B
"""ECDHE-ECDSA-AES128-GCM-SHA256."""
_FRAGMENT = 1 << 12
"""Bytes of a message that go into one record: less than what is allowed, so that long ones are in pieces."""
_PROTOCOL_VERSION = b"\x02\x46"


@dataclass(frozen=True, slots=True)
class Showing:
    """What is shown."""

    certificates: tuple[bytes, ...]
    """DER."""
    staple: bytes | None = None
    secure_renegotiation: bool = True

    def flight(self, random: bytes, offered: dict[int, bytes]) -> bytes:
        """The records. ``random``: 32 bytes; ``offered``: the client's extensions, the only ones answered."""
        stapled = self.staple is not None and STATUS_REQUEST in offered
        extensions = {}
        if self.secure_renegotiation and RENEGOTIATION_INFO in offered:
            extensions[RENEGOTIATION_INFO] = b"\x00"
        if EXTENDED_MASTER_SECRET in offered:
            extensions[EXTENDED_MASTER_SECRET] = b""
        if stapled:
            extensions[STATUS_REQUEST] = b""
        said = b"".join(number.to_bytes(2, "big") + vector(2, of) for number, of in extensions.items())
        hello = (
            TLS_1_2.to_bytes(2, "big")
            + random
            + vector(1, b"")
            + _SUITE.to_bytes(2, "big")
            + b"\x00"
            + (vector(2, said) if said else b"")
        )
        chain = vector(3, b"".join(vector(3, certificate) for certificate in self.certificates))
        messages = [message(SERVER_HELLO, hello), message(CERTIFICATE, chain)]
        if stapled and self.staple is not None:
            messages.append(message(CERTIFICATE_STATUS, bytes([OCSP]) + vector(3, self.staple)))
        data = b"".join([*messages, message(SERVER_HELLO_DONE, b"")])
        return b"".join(record(HANDSHAKE, data[at : at + _FRAGMENT]) for at in range(0, len(data), _FRAGMENT))


class Responder(asyncio.Protocol):
    """One connection to such a port.

    ``random``: 32 bytes for its ServerHello; ``open_now``: where it notes itself while it is there.
    """

    def __init__(self, showing: Showing, random: bytes, open_now: set[asyncio.Transport]) -> None:
        self._showing = showing
        self._random = random
        self._open_now = open_now
        self._records = Records()
        self._messages = Messages()
        self._shown = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._open_now.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._open_now.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer a ClientHello; end the connection at whatever comes next."""
        if self._shown:
            self._transport.close()
            return
        try:
            for item in self._records.feed(data):
                if item.kind != HANDSHAKE:
                    raise Malformed("not a handshake")
                for hello in self._messages.feed(item.data):
                    self._answer(hello.kind, hello.body)
        except Malformed:
            self._transport.close()

    def _answer(self, kind: int, body: bytes) -> None:
        if kind != CLIENT_HELLO or self._shown:
            raise Malformed("not a ClientHello")
        self._shown = True
        offered = read_offer(body)
        if offers_1_2(body, offered):
            self._transport.write(self._showing.flight(self._random, offered))
        else:
            self._transport.write(record(ALERT, _PROTOCOL_VERSION))
            self._transport.close()


def read_offer(body: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(body)
    cursor.take(2 + 32)
    cursor.vector(1)
    cursor.vector(2)
    cursor.vector(1)
    return read_extensions(cursor.vector(2)) if cursor.left else {}


def offers_1_2(body: bytes, offered: dict[int, bytes]) -> bool:
    """Whether a ClientHello offers TLS 1.2."""
    if SUPPORTED_VERSIONS not in offered:
        return body[:2] == TLS_1_2.to_bytes(2, "big")
    versions = offered[SUPPORTED_VERSIONS][1:]
    return TLS_1_2.to_bytes(2, "big") in (versions[at : at + 2] for at in range(0, len(versions), 2))
