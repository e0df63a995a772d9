"""Judges one certificate, whoever trusts it. Pure."""

from __future__ import annotations

import contextlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from omega_ai.core.certificates import CertificateInfo, certificate_names
from omega_ai.testkit.result import Finding, Severity
from omega_ai.testkit.tls.wire import Malformed

UNREADABLE: Final = (
    ValueError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)
"""What ``cryptography`` raises about a certificate, or what is in it, when it is first looked at."""
RENEW_DAYS = 14
WEAK_HASHES = frozenset({"md5", "sha1"})


def readable(der: bytes) -> x509.Certificate:
    """A certificate whose every part can be read, which ``cryptography`` otherwise only tells bit by bit.

    Raises:
        Malformed: it is none, or of a kind that is not known here.
    """
    try:
        parsed = x509.load_der_x509_certificate(der)
        _ = (parsed.public_key(), parsed.subject, parsed.issuer, parsed.extensions)
        _ = (parsed.not_valid_before_utc, parsed.not_valid_after_utc, called(parsed))
    except UNREADABLE as error:
        raise Malformed(f"a certificate that cannot be read: {error}") from None
    return parsed


def judge_certificate(parsed: x509.Certificate, info: CertificateInfo) -> list[Finding]:
    """What is wrong with a server's certificate."""
    found: list[Finding] = []
    if info.expired:
        found.append(Finding(kind="expired", text=f"expired on {info.not_after:%Y-%m-%d %H:%M} UTC"))
    elif info.days_left < RENEW_DAYS:
        found.append(warning("expiry", f"expires in {info.days_left} days"))
    if not certificate_names(parsed):
        found.append(Finding(kind="name", text="it has no subjectAltName, so it is for no name at all"))
    hashed = None if info.self_signed else weak_hash(parsed)
    if hashed is not None:
        found.append(Finding(kind="signature", text=f"signed with {hashed}, which can be forged"))
    weak = weak_key(parsed)
    if weak is not None:
        found.append(Finding(kind="key", text=weak))
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        if parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            found.append(
                warning("authority", "the server's certificate may sign others: it is an authority's")
            )
    return found


def weak_hash(parsed: x509.Certificate) -> str | None:
    """The hash of its signature, if that can be forged."""
    try:
        hashed = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return hashed.name if hashed is not None and hashed.name in WEAK_HASHES else None


def weak_key(parsed: x509.Certificate) -> str | None:
    """Why its key is too weak; None if it is not."""
    key = parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"an RSA key of {key.key_size} bits; 2048 are the least" if key.key_size < 2048 else None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"an EC key of {key.key_size} bits; 256 are the least" if key.key_size < 256 else None
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return None
    return f"a key of a kind that browsers do not take: {type(key).__name__}"


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether ``issuer``'s name and key are those that signed ``certificate``."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def called(certificate: x509.Certificate) -> str:
    """What to call it in a sentence."""
    return certificate.subject.rfc4514_string() or f"number {certificate.serial_number:x}"


def warning(kind: str, text: str) -> Finding:
    """Allowed, but better otherwise."""
    return Finding(kind=kind, text=text, severity=Severity.WARNING)


def note(kind: str, text: str) -> Finding:
    """Worth knowing."""
    return Finding(kind=kind, text=text, severity=Severity.NOTE)


def undecided(kind: str, text: str) -> Finding:
    """It cannot be said."""
    return Finding(kind=kind, text=text, severity=Severity.UNKNOWN)
