"""Certificates for the zoo: right ones, and every kind of wrong one, made on the spot."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)
NAMES = ("localhost", "127.0.0.1")


class Authority:
    """An authority that lives as long as one server of the zoo; ``ca`` is what its clients trust."""

    def __init__(self, directory: Path, name: str = "authority of the zoo") -> None:
        self.directory = directory
        self.now = datetime.now(UTC)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        certificate = (
            _builder(self._name, self._name, self._key, self.now - DAY, self.now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(_pem(certificate))

    def context(
        self,
        *,
        names: tuple[str, ...] = NAMES,
        begin: timedelta = -DAY,
        end: timedelta = 20 * DAY,
        key: Key | None = None,
        self_signed: bool = False,
    ) -> ssl.SSLContext:
        """A server's context with a certificate of this authority, or signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
        subject = _name(names[0] if names else "nobody")
        issuer, signer = (subject, key) if self_signed else (self._name, self._key)
        builder = _builder(subject, issuer, key, self.now + begin, self.now + end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_san, names))), critical=False
            )
        certificate = builder.sign(signer, hashes.SHA256())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".pem") as file:
            file.write(private + _pem(certificate))
            file.flush()
            if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
                context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL would not load it
            context.load_cert_chain(file.name)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
