"""What a certificate says: for whom, by whom, until when. Read from PEM or DER; no socket here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

MAX_PEM_BYTES = 1_048_576
"""A certificate file larger than this is a mistake: chains are a few kilobytes."""


class CertificateError(Exception):
    """A certificate or key cannot be used. The text is one sentence: the path, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """One certificate, as people ask about it. Times are aware, in UTC."""

    subject: str
    """Distinguished name, RFC 4514: ``CN=localhost``."""
    issuer: str
    names: tuple[str, ...]
    """DNS names, then IP addresses, that it is valid for (subjectAltName; browsers look at nothing else)."""
    not_before: datetime
    not_after: datetime
    self_signed: bool
    fingerprint: str
    """SHA-256 of the DER, hex pairs with colons, as browsers and ``openssl x509 -fingerprint`` show it."""
    days_left: int
    """Whole days until ``not_after`` at the time it was read; negative once expired."""

    @property
    def expired(self) -> bool:
        """Whether the validity had ended when it was read."""
        return self.days_left < 0

    @classmethod
    def from_pem(cls, pem: bytes, *, now: datetime) -> CertificateInfo:
        """Describe the first certificate in ``pem``, which in a chain is the server's own.

        Raises:
            CertificateError: no certificate in it.
        """
        return cls.from_certificate(parse_certificates(pem, "the text")[0], now=now)

    @classmethod
    def from_file(cls, path: Path, *, now: datetime) -> CertificateInfo:
        """Describe the first certificate in the PEM file.

        Raises:
            CertificateError: missing, unreadable, or no certificate in it.
        """
        return cls.from_certificate(parse_certificates(read_pem(path), str(path))[0], now=now)

    @classmethod
    def from_der(cls, der: bytes, *, now: datetime) -> CertificateInfo:
        """Describe what a peer showed: ``SSLObject.getpeercert(binary_form=True)``.

        Raises:
            CertificateError: not a certificate.
        """
        try:
            return cls.from_certificate(x509.load_der_x509_certificate(der), now=now)
        except ValueError as error:
            raise CertificateError(f"the peer's certificate cannot be read: {error}") from error

    @classmethod
    def from_certificate(cls, certificate: x509.Certificate, *, now: datetime) -> CertificateInfo:
        """Describe a parsed certificate."""
        not_after = certificate.not_valid_after_utc
        digest = certificate.fingerprint(hashes.SHA256()).hex().upper()
        return cls(
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            names=certificate_names(certificate),
            not_before=certificate.not_valid_before_utc,
            not_after=not_after,
            self_signed=_self_signed(certificate),
            fingerprint=":".join(digest[i : i + 2] for i in range(0, len(digest), 2)),
            days_left=(not_after - now).days,
        )


def read_pem(path: Path) -> bytes:
    """The content of a certificate or key file, bounded.

    Raises:
        CertificateError: missing, a directory, unreadable or too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PEM_BYTES + 1)
    except FileNotFoundError:
        raise CertificateError(f"{path} does not exist: check the path") from None
    except IsADirectoryError:
        raise CertificateError(f"{path} is a directory: name the PEM file in it") from None
    except OSError as error:
        raise CertificateError(
            f"{path} cannot be read ({error.strerror}): give the user that runs this read permission"
        ) from error
    if len(data) > MAX_PEM_BYTES:
        raise CertificateError(f"{path} is larger than {MAX_PEM_BYTES} bytes: this is no certificate file")
    return data


def parse_certificates(pem: bytes, where: str) -> list[x509.Certificate]:
    """All certificates in ``pem``, in order; ``where`` names it in the error.

    Raises:
        CertificateError: none in it, or one that cannot be read.
    """
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise CertificateError(
            f"{where} holds no certificate in PEM form (a line '-----BEGIN CERTIFICATE-----'): "
            "convert it, for example with openssl x509 -inform DER -in FILE -out cert.pem"
        )
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError(f"{where} holds a damaged certificate ({error}): get it anew") from error


def certificate_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """DNS names, then IP addresses, of the subjectAltName extension; none when it has none."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    dns = san.get_values_for_type(x509.DNSName)
    return (*dns, *(str(address) for address in san.get_values_for_type(x509.IPAddress)))


def utc(ns: int) -> datetime:
    """A ``Clock.time_ns()`` as the aware time that this module wants."""
    return datetime.fromtimestamp(ns / 1e9, tz=UTC)


def _self_signed(certificate: x509.Certificate) -> bool:
    if certificate.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True
