"""Certificates for the zoo: right ones, and every kind of wrong one, made on the spot."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = timedelta(days=1)
NAMES = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key


class Authority:
    """An authority that lives as long as one server of the zoo; ``ca`` is what its clients trust.

    ``above``: the authority that signed this one; without it, it is a root.
    """

    def __init__(
        self, directory: Path, name: str = "authority of the zoo", above: Authority | None = None
    ) -> None:
        self.directory = directory
        self.now: datetime = datetime.now(UTC) if above is None else above.now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        signer = self if above is None else above
        self.certificate = (
            _builder(self._name, signer._name, self._key, self.now - DAY, self.now + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer._key, hashes.SHA256())
        )
        self.ca: Path = directory / "ca.pem" if above is None else above.ca
        if above is None:
            self.ca.write_bytes(_pem(self.certificate))

    def below(self, name: str) -> Authority:
        """An intermediate authority that this one signed."""
        return Authority(self.directory, name, self)

    def issue(
        self,
        *,
        names: tuple[str, ...] = NAMES,
        begin: timedelta = -DAY,
        end: timedelta = 20 * DAY,
        key: Key | None = None,
        self_signed: bool = False,
        extensions: Sequence[x509.ExtensionType] = (),
    ) -> Issued:
        """A server's certificate of this authority, or signed by itself."""
        key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
        subject = _name(names[0] if names else "nobody")
        issuer, signer = (subject, key) if self_signed else (self._name, self._key)
        builder = _builder(subject, issuer, key, self.now + begin, self.now + end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_san, names))), critical=False
            )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return Issued(builder.sign(signer, hashes.SHA256()), key)

    def context(
        self,
        *,
        names: tuple[str, ...] = NAMES,
        begin: timedelta = -DAY,
        end: timedelta = 20 * DAY,
        key: Key | None = None,
        self_signed: bool = False,
        chain: Sequence[x509.Certificate] = (),
    ) -> ssl.SSLContext:
        """A server's context with such a certificate; ``chain`` is sent behind it."""
        issued = self.issue(names=names, begin=begin, end=end, key=key, self_signed=self_signed)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        private = issued.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".pem") as file:
            file.write(private + b"".join(map(_pem, (issued.certificate, *chain))))
            file.flush()
            if isinstance(key, rsa.RSAPrivateKey) and key.key_size < 2048:
                context.set_ciphers("ALL:@SECLEVEL=0")  # or OpenSSL would not load it
            context.load_cert_chain(file.name)
        return context

    def staple(
        self,
        certificate: x509.Certificate,
        *,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        begin: timedelta = -timedelta(hours=1),
        end: timedelta | None = DAY,
        signer: Issued | None = None,
    ) -> bytes:
        """An OCSP answer about ``certificate``, signed by this authority or by another for it."""
        revoked = status is ocsp.OCSPCertStatus.REVOKED
        by = Issued(self.certificate, self._key) if signer is None else signer
        builder = (
            ocsp.OCSPResponseBuilder()
            .add_response(
                certificate,
                self.certificate,
                hashes.SHA1(),  # noqa: S303 - names the issuer, as nearly every responder does
                status,
                self.now + begin,
                None if end is None else self.now + end,
                self.now - DAY if revoked else None,
                x509.ReasonFlags.key_compromise if revoked else None,
            )
            .responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
        )
        if signer is not None:
            builder = builder.certificates([signer.certificate])
        return builder.sign(by.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


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
