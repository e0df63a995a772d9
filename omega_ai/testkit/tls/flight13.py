"""What a server shows in a TLS 1.3 handshake: its certificates, and the stapled OCSP answer.

They are encrypted there (RFC 8446 section 4.4.2), under keys that an exchange of two messages gives us.
Nobody is authenticated by it: what is read is judged for itself, as in TLS 1.2, where it is in the clear.
Sans I/O.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519

from omega_ai.testkit.tls.flight import (
    CERTIFICATE,
    CERTIFICATES_LIMIT,
    FATAL,
    SERVER_HELLO,
    Flight,
    ServerHello,
    read_status,
)
from omega_ai.testkit.tls.hello import (
    KEY_SHARE,
    SECP256R1,
    SECP384R1,
    STATUS_REQUEST,
    X25519,
    client_hello,
    first_record,
)
from omega_ai.testkit.tls.protection import SCHEMES_1_3, Protection13, expand_label
from omega_ai.testkit.tls.wire import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    TLS_1_3,
    Cursor,
    Malformed,
    Message,
    Record,
    read_extensions,
)

_RETRY: Final = hashlib.sha256(b"HelloRetryRequest").digest()
"""The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3)."""
_CURVES: Final = {SECP256R1: ec.SECP256R1(), SECP384R1: ec.SECP384R1()}

PrivateKey = x25519.X25519PrivateKey | ec.EllipticCurvePrivateKey


class Flight13(Flight):
    """The server's first flight in TLS 1.3: send ``opening``, feed it what arrives, until it is ``over``."""

    def __init__(self, random: bytes, name: str) -> None:
        super().__init__()
        self.keys: dict[int, PrivateKey] = {
            X25519: x25519.X25519PrivateKey.generate(),
            **{group: ec.generate_private_key(curve) for group, curve in _CURVES.items()},
        }
        self._ours = client_hello(
            random, name, shares={group: _public_bytes(key) for group, key in self.keys.items()}
        )
        self.opening = first_record(self._ours)
        self._protection: Protection13 | None = None

    def take(self, record: Record) -> None:
        """Take one record."""
        if record.kind == CHANGE_CIPHER_SPEC:  # which is for middleboxes (RFC 8446 appendix D.4)
            return
        if self._protection is not None and record.kind != ALERT:
            record = self._protection.open(record)
        if record.kind == ALERT:
            # Every alert of TLS 1.3 but two ends the connection, whatever its level says.
            record = record._replace(data=bytes([FATAL]) + record.data[1:])
        super().take(record)

    def take_message(self, message: Message) -> None:
        """Take one handshake message."""
        if self.hello is None:
            if message.kind != SERVER_HELLO:
                raise Malformed(f"a handshake message of type {message.kind} before ServerHello")
            hello = ServerHello.read(message.body)
            self._protection = self._keys_from(hello, message)
            self.hello = hello
        elif message.kind == CERTIFICATE and not self.done:
            self.certificates, self.staple = read_entries(message.body)
            self.done = True

    def _keys_from(self, hello: ServerHello, message: Message) -> Protection13:
        if hello.version != TLS_1_3:
            raise Malformed(f"version {hello.version:#06x}, which was not offered")
        if hello.random == _RETRY:
            raise Malformed("it asks for a key exchange that is not offered here")
        scheme = SCHEMES_1_3.get(hello.suite)
        if scheme is None:
            raise Malformed(f"cipher suite {hello.suite:#06x}, which was not offered")
        cursor = Cursor(hello.extensions.get(KEY_SHARE, b""))
        group, theirs = cursor.number(2), cursor.vector(2)
        cursor.end()
        shared = self._exchange(group, theirs)
        digest = scheme.digest
        zeros = bytes(hashlib.new(digest).digest_size)
        # RFC 8446 section 7.1, without a pre-shared key.
        early = hmac.digest(zeros, zeros, digest)
        empty = hashlib.new(digest).digest()
        derived = expand_label(digest, early, b"derived", empty, len(zeros))
        secret = hmac.digest(derived, shared, digest)
        so_far = hashlib.new(digest, self._ours + message.whole).digest()
        return Protection13(scheme, expand_label(digest, secret, b"s hs traffic", so_far, len(zeros)))

    def _exchange(self, group: int, theirs: bytes) -> bytes:
        key = self.keys.get(group)
        try:
            if isinstance(key, x25519.X25519PrivateKey):
                return key.exchange(x25519.X25519PublicKey.from_public_bytes(theirs))
            if isinstance(key, ec.EllipticCurvePrivateKey):
                public = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, theirs)
                return key.exchange(ec.ECDH(), public)
        except ValueError as error:
            raise Malformed(f"its key share is none of group {group:#06x}: {error}") from None
        raise Malformed(f"a key share of group {group:#06x}, which was not offered")


def read_entries(body: bytes) -> tuple[tuple[bytes, ...], bytes | None]:
    """The certificates of a Certificate message, and the OCSP answer that is stapled to the first.

    Raises:
        Malformed: it is none.
    """
    cursor = Cursor(body)
    cursor.vector(1)  # the context, empty for a server
    entries = Cursor(cursor.vector(3))
    cursor.end()
    found: list[bytes] = []
    staple = None
    while entries.left:
        if len(found) == CERTIFICATES_LIMIT:
            raise Malformed(f"more than {CERTIFICATES_LIMIT} certificates")
        certificate, extensions = entries.vector(3), read_extensions(entries.vector(2))
        if not found and STATUS_REQUEST in extensions:
            staple = read_status(extensions[STATUS_REQUEST])
        found.append(certificate)
    return tuple(found), staple


def _public_bytes(key: PrivateKey) -> bytes:
    if isinstance(key, x25519.X25519PrivateKey):
        return key.public_key().public_bytes_raw()
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
