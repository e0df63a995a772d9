"""What a server says first in a TLS 1.2 handshake, which crosses in the clear: read, and believed in nothing.

ServerHello, Certificate, CertificateStatus, ServerHelloDone (RFC 5246 section 7.4, RFC 6066 section 8).
Sans I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from omega_ai.testkit.tls.hello import EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, SUPPORTED_VERSIONS
from omega_ai.testkit.tls.wire import (
    ALERT,
    HANDSHAKE,
    TLS_1_2,
    Cursor,
    Malformed,
    Message,
    Messages,
    Record,
    Records,
    read_extensions,
)

SERVER_HELLO: Final = 2
CERTIFICATE: Final = 11
SERVER_HELLO_DONE: Final = 14
CERTIFICATE_STATUS: Final = 22
_OTHERS: Final = frozenset({0, 12, 13, 23})
"""HelloRequest, ServerKeyExchange, CertificateRequest, SupplementalData: not looked at."""
OCSP: Final = 1

BYTES_LIMIT: Final = 1 << 18
"""Bytes of a server's first flight in all."""
CERTIFICATES_LIMIT: Final = 32

ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    40: "handshake_failure",
    47: "illegal_parameter",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    100: "no_renegotiation",
    109: "missing_extension",
    112: "unrecognized_name",
    116: "certificate_required",
    120: "no_application_protocol",
}
FATAL: Final = 2


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What the server chose."""

    version: int
    random: bytes
    suite: int
    extensions: dict[int, bytes]

    @classmethod
    def read(cls, body: bytes) -> ServerHello:
        """From the message's body.

        Raises:
            Malformed: it is none.
        """
        cursor = Cursor(body)
        version, random = cursor.number(2), cursor.take(32)
        cursor.vector(1)  # a session's id
        suite = cursor.number(2)
        cursor.number(1)  # compression: a case of its own asks for it
        extensions = read_extensions(cursor.vector(2)) if cursor.left else {}
        cursor.end()
        if SUPPORTED_VERSIONS in extensions:
            version = int.from_bytes(extensions[SUPPORTED_VERSIONS], "big")
        return cls(version, random, suite, extensions)

    @property
    def secure_renegotiation(self) -> bool:
        """Whether it announces RFC 5746, as an answer to a first handshake."""
        return self.extensions.get(RENEGOTIATION_INFO) == b"\x00"

    @property
    def extended_master_secret(self) -> bool:
        """Whether it speaks RFC 7627."""
        return EXTENDED_MASTER_SECRET in self.extensions


class Flight:
    """The server's first flight in TLS 1.2: feed it what arrives, until it is ``over``."""

    def __init__(self) -> None:
        self.hello: ServerHello | None = None
        self.certificates: tuple[bytes, ...] = ()
        """DER, in the order in which they were sent."""
        self.staple: bytes | None = None
        """The stapled OCSP answer, DER."""
        self.alert: str | None = None
        """The alert that ended it."""
        self.done = False
        """It was there as a whole."""
        self._records = Records()
        self._messages = Messages()
        self._bytes = 0

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        return self.done or self.alert is not None

    def feed(self, data: bytes) -> None:
        """Take what arrived.

        Raises:
            Malformed: it is not what a server may say.
        """
        self._bytes += len(data)
        if self._bytes > BYTES_LIMIT:
            raise Malformed(f"more than {BYTES_LIMIT} bytes without an end")
        records = self._records.feed(data)
        while not self.over and (record := next(records, None)) is not None:
            self.take(record)

    def take(self, record: Record) -> None:
        """Take one record."""
        if record.kind == ALERT:
            self.alert = read_alert(record.data, self.alert)
        elif record.kind == HANDSHAKE:
            messages = self._messages.feed(record.data)
            while not self.over and (message := next(messages, None)) is not None:
                self.take_message(message)
        else:
            raise Malformed(f"a record of type {record.kind} before the handshake is over")

    def take_message(self, message: Message) -> None:
        """Take one handshake message."""
        if message.kind == SERVER_HELLO and self.hello is None:
            self.hello = ServerHello.read(message.body)
            if self.hello.version > TLS_1_2:
                raise Malformed(f"version {self.hello.version:#06x}, which was not offered")
        elif self.hello is None and message.kind != 0:
            raise Malformed(f"a handshake message of type {message.kind} before ServerHello")
        elif message.kind == CERTIFICATE and not self.certificates:
            cursor = Cursor(message.body)
            self.certificates = read_certificates(cursor.vector(3))
            cursor.end()
        elif message.kind == CERTIFICATE_STATUS and self.certificates and self.staple is None:
            self.staple = read_status(message.body)
        elif message.kind == SERVER_HELLO_DONE:
            self.done = True
        elif message.kind not in _OTHERS:
            raise Malformed(f"a handshake message of type {message.kind}, which does not belong there")


def read_certificates(data: bytes) -> tuple[bytes, ...]:
    """The certificates of a list.

    Raises:
        Malformed: too many of them, or cut off.
    """
    cursor = Cursor(data)
    found: list[bytes] = []
    while cursor.left:
        if len(found) == CERTIFICATES_LIMIT:
            raise Malformed(f"more than {CERTIFICATES_LIMIT} certificates")
        found.append(cursor.vector(3))
    return tuple(found)


def read_status(body: bytes) -> bytes:
    """The OCSP answer in a CertificateStatus.

    Raises:
        Malformed: there is none in it.
    """
    cursor = Cursor(body)
    kind = cursor.number(1)
    if kind != OCSP:
        raise Malformed(f"a certificate's status of type {kind}, which was not asked for")
    answer = cursor.vector(3)
    cursor.end()
    return answer


def read_alert(data: bytes, before: str | None = None) -> str | None:
    """The name of an alert that ends a connection; ``before`` if this one is only a warning.

    Raises:
        Malformed: it is no alert.
    """
    cursor = Cursor(data)
    level, number = cursor.number(1), cursor.number(1)
    cursor.end()
    if level != FATAL and number != 0:  # close_notify is a warning in name alone
        return before
    return alert_name(number)


def alert_name(number: int) -> str:
    """What an alert is called (RFC 8446 section 6)."""
    return ALERTS.get(number, f"alert {number}")
