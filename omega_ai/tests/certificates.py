"""Throwaway authorities and server certificates, right ones and every kind of wrong one."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
DAY = timedelta(days=1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, in memory and as PEM."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    def write(self, directory: Path, stem: str = "server") -> tuple[Path, Path]:
        """``STEM.pem`` and ``STEM.key`` in ``directory``."""
        certificate, key = directory / f"{stem}.pem", directory / f"{stem}.key"
        certificate.write_bytes(self.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem)
        return certificate, key

    def write_both(self, path: Path) -> Path:
        """Key and certificate in one PEM."""
        path.touch(mode=0o600)
        path.write_bytes(self.key_pem + self.certificate_pem)
        return path


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """A certificate authority that lives as long as a test; ``ca.pem`` is what clients trust."""

    def __init__(self, name: str = "throwaway authority", *, now: datetime | None = None) -> None:
        self.now = datetime.now(UTC) if now is None else now
        key = new_key()
        certificate = (
            _builder(_name(name), _name(name), key, self.now - DAY, self.now + 100 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)
            .sign(key, hashes.SHA256())
        )
        self.issued = Issued(certificate, key)

    def write(self, directory: Path) -> Path:
        """``ca.pem`` in ``directory``."""
        path = directory / "ca.pem"
        path.write_bytes(self.issued.certificate_pem)
        return path

    def issue(
        self,
        names: Sequence[str] = LOCAL_NAMES,
        *,
        begin: datetime | None = None,
        end: datetime | None = None,
        key: PrivateKey | None = None,
    ) -> Issued:
        """A server certificate for ``names``, from ``begin`` (yesterday) to ``end`` (in 90 days)."""
        key = new_key() if key is None else key
        certificate = (
            _builder(
                _name("server"),
                self.issued.certificate.subject,
                key,
                begin or self.now - DAY,
                end or self.now + 90 * DAY,
            )
            .add_extension(_san(names), critical=False)
            # Python 3.13 and later verify strictly, as RFC 5280 section 4.2.1.1 wants it.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.issued.key.public_key()),
                critical=False,
            )
            .sign(self.issued.key, hashes.SHA256())
        )
        return Issued(certificate, key)

    def issue_expired(self) -> Issued:
        """Ended an hour ago."""
        return self.issue(begin=self.now - 10 * DAY, end=self.now - timedelta(hours=1))

    def issue_not_yet_valid(self) -> Issued:
        """Begins tomorrow."""
        return self.issue(begin=self.now + DAY)

    def issue_wrong_name(self) -> Issued:
        """For another host."""
        return self.issue(["feed.example.com", "192.0.2.1"])

    def issue_mismatched(self) -> Issued:
        """With a key that is not the certificate's."""
        return Issued(self.issue().certificate, new_key())


def self_signed(names: Sequence[str] = LOCAL_NAMES, *, now: datetime | None = None) -> Issued:
    """A certificate that no authority signed."""
    now = datetime.now(UTC) if now is None else now
    key = new_key()
    name = _name("self-signed")
    builder = _builder(name, name, key, now - DAY, now + 90 * DAY).add_extension(_san(names), critical=False)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def new_key() -> ec.EllipticCurvePrivateKey:
    """EC P-256: made in no time."""
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """RSA, for what depends on the kind of key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def key_pem(key: PrivateKey, password: bytes | None = None) -> bytes:
    """PKCS #8, encrypted if ``password`` is given."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        encryption = serialization.BestAvailableEncryption(password)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def public_pem(key: PrivateKey) -> bytes:
    """The public half, as SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _san(names: Sequence[str]) -> x509.SubjectAlternativeName:
    general: list[x509.GeneralName] = []
    for name in names:
        try:
            general.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(general)
