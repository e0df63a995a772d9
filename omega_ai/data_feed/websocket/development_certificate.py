"""A certificate for this machine alone, so that ``wss://localhost`` works with nothing to prepare.

An authority of our own signs it. Its certificate (``ca.pem``) is what clients trust, and it outlives many
server certificates. It carries name constraints (RFC 5280 section 4.2.1.10): whoever steals its key can
pretend to be this machine and nobody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from omega_ai.core.certificates import CertificateError, certificate_names
from omega_ai.core.client_tls import development_directory
from omega_ai.core.private_files import PrivateFileError, make_private_directory, write_private

CA_DAYS = 3650
SERVER_DAYS = 365
RENEW_DAYS = 30
_BACKDATED = timedelta(hours=1)  # clients' clocks may be behind ours
_HOSTNAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?:\.(?!-)[a-z0-9-]{1,63})*", re.ASCII)


@dataclass(frozen=True, slots=True)
class CertificatePaths:
    """Where a certificate's parts lie. ``key`` equals ``certificate`` when one PEM holds both."""

    certificate: Path
    key: Path
    ca: Path | None = None
    """The authority that clients are to trust; None when the system's will do."""


@dataclass(frozen=True, slots=True)
class _Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def development_certificate(
    directory: Path | None = None, *, now: datetime, hostname: str | None = None
) -> CertificatePaths:
    """The development certificate, made or renewed if need be.

    Files: ``cert.pem``, ``key.pem``, ``ca.pem`` (for clients to trust), ``ca-key.pem``. Valid for
    ``localhost``, ``127.0.0.1``, ``::1`` and this machine's name. A certificate with 30 days or more left is
    used again; a new one is signed by the same authority, so clients that trust it go on. Any number of
    processes may call this at once.

    Args:
        directory: where to keep it (default: ``development_directory()``).
        now: an aware time.
        hostname: this machine's name (default: the system's).

    Raises:
        CertificateError: the directory or a file in it cannot be used.
    """
    directory = development_directory() if directory is None else directory
    name = _usable_hostname(socket.gethostname() if hostname is None else hostname)
    paths = CertificatePaths(directory / "cert.pem", directory / "key.pem", directory / "ca.pem")
    try:
        make_private_directory(directory)
        with _locked(directory / ".lock"):
            _ensure(paths, directory / "ca-key.pem", name, now)
    except PrivateFileError as error:
        raise CertificateError(
            f"no development certificate: {error}; or name a certificate of your own with --cert and --key"
        ) from error
    return paths


def _ensure(paths: CertificatePaths, ca_key_path: Path, hostname: str | None, now: datetime) -> None:
    assert paths.ca is not None  # noqa: S101 - development_certificate sets it
    # Of the authority only the certificate is needed as long as no certificate is to be signed.
    ca_certificate = _read_certificate(paths.ca)
    server = _read(paths.certificate, paths.key)
    if (
        server is not None
        and ca_certificate is not None
        and _lasts(server.certificate, now, RENEW_DAYS)
        and _lasts(ca_certificate, now, RENEW_DAYS)
        and _signed_by(server.certificate, ca_certificate)
        and set(_names(ca_certificate, hostname)) <= set(certificate_names(server.certificate))
    ):
        with contextlib.suppress(FileNotFoundError):
            ca_key_path.chmod(0o600)
        paths.key.chmod(0o600)
        return
    ca = _read(paths.ca, ca_key_path)
    if ca is None or not _lasts(ca.certificate, now, RENEW_DAYS):
        ca = _new_ca(hostname, now)
        _store(ca, paths.ca, ca_key_path)
    # The same key again: a server that starts while we write finds a pair that fits, old or new.
    key = server.key if server is not None else ec.generate_private_key(ec.SECP256R1())
    _store(_new_server(key, ca, hostname, now), paths.certificate, paths.key)


def _new_ca(hostname: str | None, now: datetime) -> _Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    permitted: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_network("127.0.0.0/8")),
        x509.IPAddress(ipaddress.ip_network("::1/128")),
    ]
    if hostname is not None:
        permitted.append(x509.DNSName(hostname))
    # Two authorities with one name but different keys confuse verifiers; the time tells them apart.
    name = _name(f"OMEGA BTC AI development authority {now:%Y-%m-%d %H:%M:%S}")
    certificate = (
        _builder(name, name, key.public_key(), now, now + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Issued(certificate, key)


def _new_server(key: ec.EllipticCurvePrivateKey, ca: _Issued, hostname: str | None, now: datetime) -> _Issued:
    end = min(now + timedelta(days=SERVER_DAYS), ca.certificate.not_valid_after_utc)
    names: list[x509.GeneralName] = []
    for name in _names(ca.certificate, hostname):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    certificate = (
        _builder(_name("OMEGA BTC AI development server"), ca.certificate.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False
        )
        .sign(ca.key, hashes.SHA256())
    )
    return _Issued(certificate, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _names(ca: x509.Certificate, hostname: str | None) -> tuple[str, ...]:
    """A server certificate's names: a machine renamed since its authority was made keeps to ``localhost``."""
    names = ("localhost", "127.0.0.1", "::1")
    if hostname is None:
        return names
    try:
        constraints = ca.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return (*names, hostname)
    permitted = constraints.permitted_subtrees or []
    return (*names, hostname) if x509.DNSName(hostname) in permitted else names


def _usable_hostname(hostname: str) -> str | None:
    """None for a name that no certificate can carry, or that says nothing new."""
    name = hostname.rstrip(".").lower()
    if name == "localhost" or len(name) > 253 or _HOSTNAME.fullmatch(name) is None:
        return None
    return name if any(character.isalpha() for character in name) else None


def _store(issued: _Issued, certificate: Path, key: Path) -> None:
    """The key first: a certificate in place says that the key is too."""
    write_private(
        key,
        issued.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    write_private(certificate, issued.certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def _read_certificate(path: Path) -> x509.Certificate | None:
    """What cannot be read is made anew: these files are ours."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    except OSError as error:
        raise PrivateFileError(f"cannot read {path}: {error.strerror}") from error


def _read(certificate_path: Path, key_path: Path) -> _Issued | None:
    certificate = _read_certificate(certificate_path)
    try:
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    except OSError as error:
        raise PrivateFileError(f"cannot read {key_path}: {error.strerror}") from error
    if certificate is None or not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return _Issued(certificate, key) if certificate.public_key() == key.public_key() else None


def _lasts(certificate: x509.Certificate, now: datetime, days: int) -> bool:
    return certificate.not_valid_before_utc <= now and certificate.not_valid_after_utc - now >= timedelta(
        days=days
    )


def _signed_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock even if that process is killed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PrivateFileError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
