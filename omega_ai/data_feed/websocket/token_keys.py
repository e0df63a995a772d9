"""Keys that tokens are signed and verified with. Each key has one algorithm, so a token cannot choose.

That is what stops the classic attacks (RFC 8725 section 2.1): ``alg: none``, and a public key used as an HMAC
secret.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from omega_ai.core.private_files import (
    PrivateFileError,
    make_private_directory,
    readable_by_others,
    write_private,
)

MIN_SECRET_BYTES = 32
"""RFC 7518 section 3.2: an HS256 key is at least as long as the hash."""
MIN_RSA_BITS = 2048
MAX_JWKS_BYTES = 262_144
MAX_JWKS_KEYS = 64

_log = structlog.get_logger(__name__)

PublicKey = bytes | rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class KeyConfigError(Exception):
    """A key cannot be used. The text is one sentence: where, what is wrong, what to do; never the key."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key and the one algorithm it may be used with; ``kid`` is its name in a key set."""

    algorithm: str
    key: PublicKey = field(repr=False)
    kid: str | None = None


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What ``make_token`` signs with."""

    algorithm: str
    key: bytes | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)
    kid: str | None = None


class KeySource(Protocol):
    """Where an authenticator takes its keys from."""

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
        """The keys that a token with this header may be signed with; none if there is no such key."""
        ...

    def available(self) -> bool:
        """False while the keys could not be had at all: then it is us, not the token."""
        ...


class StaticKeys:
    """Keys known from the start."""

    def __init__(self, keys: Iterable[VerificationKey]) -> None:
        self._keys = tuple(keys)

    def candidates(self, algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
        """By algorithm alone where there is only one key; a token's ``kid`` then says nothing."""
        return select(self._keys, algorithm, kid)

    def available(self) -> bool:
        """Always."""
        return True


def select(keys: Sequence[VerificationKey], algorithm: str, kid: str | None) -> Sequence[VerificationKey]:
    """The keys for a token's header: those of the algorithm, and of the name where both have one."""
    return [
        key
        for key in keys
        if key.algorithm == algorithm and (kid is None or key.kid is None or key.kid == kid)
    ]


def secret_key(secret: bytes, where: str = "the secret") -> VerificationKey:
    """HS256.

    Raises:
        KeyConfigError: shorter than 32 bytes, or not a secret at all but a PEM or a public SSH key.
    """
    return VerificationKey("HS256", _checked_secret(secret, where))


def public_key(pem: bytes, where: str = "the public key") -> VerificationKey:
    """RS256 or ES256, by the kind of the key.

    Raises:
        KeyConfigError: not PEM, a private key, RSA under 2048 bits, or another kind or curve.
    """
    if b"PRIVATE KEY-----" in pem:
        raise KeyConfigError(
            f"{where} is a private key, which verifying does not need: "
            "give the public one, for example from openssl pkey -pubout"
        )
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyConfigError(
            f"{where} holds no public key in PEM form (-----BEGIN PUBLIC KEY-----)"
        ) from error
    return _verification_key(key, where)


def signing_key(material: bytes, where: str = "the key", *, kid: str | None = None) -> SigningKey:
    """A secret of 32 bytes or more (HS256), or an RSA or P-256 private key in PEM without password.

    Raises:
        KeyConfigError: neither.
    """
    if b"PRIVATE KEY-----" not in material:
        return SigningKey("HS256", _checked_secret(material, where), kid)
    try:
        key = serialization.load_pem_private_key(material, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyConfigError(
            f"{where} is a private key that cannot be read (damaged or encrypted)"
        ) from error
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise KeyConfigError(f"{where} is a key of an unsupported kind: use RSA or EC P-256")
    return SigningKey(_verification_key(key.public_key(), where).algorithm, key, kid)


def read_key_file(path: Path, *, warn: Callable[[str], None] | None = None) -> bytes:
    """A secret or PEM from a file, without the white space around it; at most 64 KiB.

    Raises:
        KeyConfigError: missing, unreadable, empty or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(65_537)
        open_to_all = readable_by_others(path)
    except FileNotFoundError:
        raise KeyConfigError(f"{path} does not exist: make a secret there with omega token --init") from None
    except OSError as error:
        raise KeyConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > 65_536:
        raise KeyConfigError(f"{path} is larger than 64 KiB: this is no key")
    data = data.strip()
    if not data:
        raise KeyConfigError(f"{path} is empty: make a secret with omega token --init")
    if open_to_all and b"-----BEGIN PUBLIC KEY-----" not in data:
        (_log.warning if warn is None else warn)(
            f"every user of this machine can read the secret {path}: run chmod 600 '{path}'"
        )
    return data


def create_secret(path: Path) -> None:
    """Make a secret for HS256: 32 random bytes as 43 characters, mode 0600, never over an existing file.

    Raises:
        KeyConfigError: it exists already, or cannot be written.
    """
    try:
        if not path.parent.is_dir():
            make_private_directory(path.parent)
        write_private(path, secrets.token_urlsafe(32).encode() + b"\n", replace=False)
    except FileExistsError:
        raise KeyConfigError(
            f"{path} exists, and tokens made with it would stop working: remove it first if you mean to"
        ) from None
    except PrivateFileError as error:
        raise KeyConfigError(str(error)) from error


class _Jwk(msgspec.Struct):
    """RFC 7517 section 4 and RFC 7518 section 6, what we use of it."""

    kty: str
    kid: str | None = None
    use: str | None = None
    alg: str | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None


class _Jwks(msgspec.Struct):
    keys: list[msgspec.Raw]


def parse_jwks(document: bytes) -> tuple[VerificationKey, ...]:
    """The keys of a JWK set (RFC 7517) that can verify RS256 or ES256; the others are passed over.

    Symmetric keys (``kty: oct``) are among those: a secret that is published is none.

    Raises:
        KeyConfigError: not a key set, too large, or without a key that we can use.
    """
    if len(document) > MAX_JWKS_BYTES:
        raise KeyConfigError(f"the key set is larger than {MAX_JWKS_BYTES} bytes")
    try:
        entries = msgspec.json.decode(document, type=_Jwks).keys
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise KeyConfigError(f"this is no JSON Web Key set: {error}") from error
    keys = [key for entry in entries[:MAX_JWKS_KEYS] if (key := _from_jwk(entry)) is not None]
    if not keys:
        raise KeyConfigError("the key set has no RSA or P-256 key for signatures")
    return tuple(keys)


def _from_jwk(entry: msgspec.Raw) -> VerificationKey | None:
    try:
        jwk = msgspec.json.decode(entry, type=_Jwk)
        if jwk.use not in (None, "sig"):
            return None
        key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
        if jwk.kty == "RSA":
            key = rsa.RSAPublicNumbers(_integer(jwk.e), _integer(jwk.n)).public_key()
        elif jwk.kty == "EC" and jwk.crv == "P-256":
            numbers = ec.EllipticCurvePublicNumbers(_integer(jwk.x), _integer(jwk.y), ec.SECP256R1())
            key = numbers.public_key()
        else:
            return None
        found = _verification_key(key, "a key of the set", jwk.kid)
    except (msgspec.MsgspecError, RecursionError, ValueError, KeyConfigError):
        return None  # one bad key must not take the good ones with it
    return found if jwk.alg in (None, found.algorithm) else None


def _integer(text: str | None) -> int:
    if text is None or len(text) > 2048:
        raise ValueError("missing or too long")
    try:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")
    except binascii.Error as error:
        raise ValueError("not base64url") from error


def _verification_key(key: object, where: str, kid: str | None = None) -> VerificationKey:
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise KeyConfigError(f"{where} has {key.key_size} bits: RSA needs {MIN_RSA_BITS} or more")
        return VerificationKey("RS256", key, kid)
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return VerificationKey("ES256", key, kid)
    raise KeyConfigError(f"{where} is of an unsupported kind: use RSA (2048 bits or more) or EC P-256")


def _checked_secret(secret: bytes, where: str) -> bytes:
    secret = secret.strip()
    if secret.startswith((b"-----BEGIN", b"ssh-", b"ecdsa-sha2-")):
        # As an HMAC secret, a public key would let everybody who has it sign tokens.
        raise KeyConfigError(
            f"{where} is a key or certificate, not a secret: give it as the public key instead"
        )
    if len(secret) < MIN_SECRET_BYTES:
        raise KeyConfigError(
            f"{where} has {len(secret)} bytes: HS256 needs {MIN_SECRET_BYTES} or more, "
            "as omega token --init makes"
        )
    return secret
