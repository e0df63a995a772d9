"""Records under keys: AES-GCM and ChaCha20-Poly1305 of ``cryptography``, as TLS 1.2 and 1.3 use them."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from omega_ai.testkit.tls.wire import APPLICATION_DATA, TLS_1_2, Malformed, Record, record, vector

TAG_BYTES: Final = 16


class Scheme(NamedTuple):
    """What a cipher suite does to records."""

    digest: str
    """The hash of its key derivation."""
    key_bytes: int
    chacha: bool = False

    @property
    def prefix_bytes(self) -> int:
        """Bytes of its nonce that TLS 1.2 derives, the rest being on the wire (RFC 5288, RFC 7905)."""
        return 12 if self.chacha else 4

    def aead(self, key: bytes) -> AESGCM | ChaCha20Poly1305:
        """The cipher with a key."""
        return ChaCha20Poly1305(key) if self.chacha else AESGCM(key)


SCHEMES_1_3: Final = {
    0x1301: Scheme("sha256", 16),
    0x1302: Scheme("sha384", 32),
    0x1303: Scheme("sha256", 32, chacha=True),
}


def scheme_of(cipher: str) -> Scheme | None:
    """That of a suite of TLS 1.2 by OpenSSL's name; None for one of another kind (CBC)."""
    if "CHACHA20" in cipher:
        return Scheme("sha256", 32, chacha=True)
    for name, scheme in (
        ("AES128-GCM-SHA256", Scheme("sha256", 16)),
        ("AES256-GCM-SHA384", Scheme("sha384", 32)),
    ):
        if cipher.endswith(name):
            return scheme
    return None


def prf(digest: str, secret: bytes, label: bytes, seed: bytes, size: int) -> bytes:
    """The pseudorandom function of TLS 1.2 (RFC 5246 section 5)."""
    seed = label + seed
    out, chain = b"", seed
    while len(out) < size:
        chain = hmac.digest(secret, chain, digest)
        out += hmac.digest(secret, chain + seed, digest)
    return out[:size]


def expand_label(digest: str, secret: bytes, label: bytes, context: bytes, size: int) -> bytes:
    """HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1), of at most one block of the hash."""
    if size > hashlib.new(digest).digest_size:
        raise ValueError(f"{size} bytes are more than a block of {digest}")
    info = size.to_bytes(2, "big") + vector(1, b"tls13 " + label) + vector(1, context)
    return hmac.digest(secret, info + b"\x01", digest)[:size]


class Protection12:
    """One direction of a TLS 1.2 connection."""

    def __init__(self, scheme: Scheme, key: bytes, prefix: bytes) -> None:
        self._aead = scheme.aead(key)
        self._chacha = scheme.chacha
        self._prefix = prefix
        self.sequence = 0

    def seal(self, kind: int, data: bytes) -> bytes:
        """The next record, as it goes over the wire."""
        explicit = b"" if self._chacha else self.sequence.to_bytes(8, "big")
        sealed = self._aead.encrypt(self._nonce(explicit), data, self._about(kind, len(data)))
        self.sequence += 1
        return record(kind, explicit + sealed)

    def open(self, sealed: Record) -> bytes:
        """The content of the next record.

        Raises:
            Malformed: it is not under this key, or not the next.
        """
        explicit = b"" if self._chacha else sealed.data[:8]
        data = sealed.data[len(explicit) :]
        if len(data) < TAG_BYTES:
            raise Malformed(f"an encrypted record of {len(sealed.data)} bytes")
        about = self._about(sealed.kind, len(data) - TAG_BYTES)
        try:
            content = self._aead.decrypt(self._nonce(explicit), data, about)
        except InvalidTag:
            raise Malformed("a record that cannot be decrypted") from None
        self.sequence += 1
        return content

    def _nonce(self, explicit: bytes) -> bytes:
        return _masked(self._prefix, self.sequence) if self._chacha else self._prefix + explicit

    def _about(self, kind: int, size: int) -> bytes:
        return (
            self.sequence.to_bytes(8, "big")
            + bytes([kind])
            + TLS_1_2.to_bytes(2, "big")
            + size.to_bytes(2, "big")
        )


class Protection13:
    """What the server says under its keys in TLS 1.3."""

    def __init__(self, scheme: Scheme, secret: bytes) -> None:
        key = expand_label(scheme.digest, secret, b"key", b"", scheme.key_bytes)
        self._aead = scheme.aead(key)
        self._iv = expand_label(scheme.digest, secret, b"iv", b"", 12)
        self._sequence = 0

    def open(self, sealed: Record) -> Record:
        """The record within the next record.

        Raises:
            Malformed: it is not under this key, or there is none in it.
        """
        size = len(sealed.data)
        if sealed.kind != APPLICATION_DATA or size < TAG_BYTES:
            raise Malformed(f"a record of type {sealed.kind} and {size} bytes, which is not encrypted")
        about = bytes([sealed.kind]) + sealed.version.to_bytes(2, "big") + size.to_bytes(2, "big")
        try:
            content = self._aead.decrypt(_masked(self._iv, self._sequence), sealed.data, about)
        except InvalidTag:
            raise Malformed("a record that cannot be decrypted") from None
        self._sequence += 1
        content = content.rstrip(b"\x00")  # padding (RFC 8446 section 5.4)
        if not content:
            raise Malformed("a record of padding alone")
        return Record(content[-1], sealed.version, content[:-1])


def _masked(iv: bytes, sequence: int) -> bytes:
    return (int.from_bytes(iv, "big") ^ sequence).to_bytes(len(iv), "big")
