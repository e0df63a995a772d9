"""TLS as a server: find the certificate, refuse a bad one in plain words, exchange it with nobody dropped."""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from omega_ai.core.certificates import CertificateError, CertificateInfo, parse_certificates, read_pem
from omega_ai.core.private_files import readable_by_others
from omega_ai.data_feed.websocket.development_certificate import CertificatePaths, development_certificate

__all__ = [
    "CertificateError",
    "CertificateInfo",
    "CertificatePaths",
    "ReloadableContext",
    "Reloaded",
    "development_certificate",
    "find_certificate",
    "load_server_context",
]

_log = structlog.get_logger(__name__)

# TLS 1.2: forward secrecy and authenticated encryption only. The three suites of TLS 1.3 need no list.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
WARN_DAYS = 14

_DIRECTORY_PAIRS = (("fullchain.pem", "privkey.pem"), ("cert.pem", "key.pem"), ("tls.crt", "tls.key"))


@dataclass(frozen=True, slots=True)
class _Pair:
    """A certificate and its key that fit, as read at one moment."""

    paths: CertificatePaths
    chain: list[x509.Certificate]
    certificate_pem: bytes
    key_pem: bytes
    key: PrivateKeyTypes
    password: str | None


def find_certificate(certificate: Path, key: Path | None = None) -> CertificatePaths:
    """Where certificate and key are, from what the user named (``SSL_CERT_PATH``, ``--cert``, ``--key``).

    ``certificate`` may be one PEM with both; a certificate whose key lies beside it (same stem with ``.key``
    or ``-key.pem``, or ``key.pem``, ``privkey.pem``); or a directory with ``fullchain.pem`` and
    ``privkey.pem``, ``cert.pem`` and ``key.pem``, or ``tls.crt`` and ``tls.key``.

    Raises:
        CertificateError: says which files were looked for.
    """
    if certificate.is_dir():
        for certificate_name, key_name in _DIRECTORY_PAIRS:
            found = certificate / certificate_name
            if found.is_file():
                return CertificatePaths(found, key if key is not None else certificate / key_name)
        wanted = "; ".join(" and ".join(pair) for pair in _DIRECTORY_PAIRS)
        raise CertificateError(f"{certificate} is a directory without a certificate: looked for {wanted}")
    if key is not None:
        return CertificatePaths(certificate, key)
    if b"PRIVATE KEY-----" in read_pem(certificate):
        return CertificatePaths(certificate, certificate)
    beside = dict.fromkeys(
        certificate.with_name(name)
        for name in (f"{certificate.stem}.key", f"{certificate.stem}-key.pem", "key.pem", "privkey.pem")
    )
    for candidate in beside:
        if candidate != certificate and candidate.is_file():
            return CertificatePaths(certificate, candidate)
    names = ", ".join(path.name for path in beside)
    raise CertificateError(
        f"{certificate} holds no private key, and none lies beside it (looked for {names}): "
        "name it with --key"
    )


def load_server_context(
    cert: Path,
    key: Path | None = None,
    *,
    now: datetime,
    password: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> ssl.SSLContext:
    """A server's context with that certificate: TLS 1.2 and 1.3, no compression, no renegotiation, HTTP/1.1.

    Args:
        cert: as ``find_certificate`` takes it.
        key: the private key, when it is not found beside ``cert``.
        now: an aware time, against which the validity is checked.
        password: for an encrypted key.
        warn: takes a sentence about what works but should not stay (default: the log).

    Raises:
        CertificateError: missing, unreadable, not PEM, expired, not yet valid, key encrypted or not the
            certificate's own.
    """
    return _context(_read_pair(cert, key, now, password, warn))


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload came to. ``error`` None: new connections get the certificate described by ``info``.

    ``listen_again``: the new key is of another kind (RSA, EC), which a context in use cannot unlearn, so
    ``ReloadableContext.context`` is a new one: listen anew with it, on the same socket; old connections stay.
    """

    info: CertificateInfo
    error: CertificateError | None = None
    changed: bool = False
    listen_again: bool = False


class ReloadableContext:
    """A server's context whose certificate can be exchanged while connections live (on SIGHUP).

    Connections made before keep the certificate they began with. A certificate that cannot be used changes
    nothing: the old one stays, and the error says why.
    """

    # Why not ssl.SSLContext.sni_callback, which could hand out any context: it needs Python's own SSL object
    # behind each connection, and transports that make theirs from the bare SSL_CTX crash in it.

    def __init__(
        self,
        cert: Path,
        key: Path | None = None,
        *,
        now: datetime,
        password: str | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self._source = (cert, key, password, warn)
        self._pair = _read_pair(cert, key, now, password, warn)
        self.context = _context(self._pair)
        """What the server listens with."""

    @property
    def paths(self) -> CertificatePaths:
        """The files that were found."""
        return self._pair.paths

    def info(self, now: datetime) -> CertificateInfo:
        """The certificate in use."""
        return CertificateInfo.from_certificate(self._pair.chain[0], now=now)

    def reload(self, now: datetime) -> Reloaded:
        """Read the files again and use what they hold for connections from now on. Does not raise."""
        cert, key, password, warn = self._source
        try:
            pair = _read_pair(cert, key, now, password, warn)
            # On a context of its own first: one in use would lose its key if the load failed half way.
            fresh = _context(pair)
            same_kind = type(pair.key) is type(self._pair.key)
            if same_kind:
                _load(self.context, pair)
        except CertificateError as error:
            return Reloaded(self.info(now), error)
        changed = pair.certificate_pem != self._pair.certificate_pem
        self._pair = pair
        if not same_kind:
            self.context = fresh
        return Reloaded(self.info(now), changed=changed, listen_again=not same_kind)


def _read_pair(
    cert: Path, key: Path | None, now: datetime, password: str | None, warn: Callable[[str], None] | None
) -> _Pair:
    paths = find_certificate(cert, key)
    certificate_pem = read_pem(paths.certificate)
    key_pem = certificate_pem if paths.key == paths.certificate else read_pem(paths.key)
    chain = parse_certificates(certificate_pem, str(paths.certificate))
    private = _parse_key(key_pem, paths.key, password)
    _check(chain[0], private, paths, now)
    warn = _log.warning if warn is None else warn
    if readable_by_others(paths.key):
        warn(f"every user of this machine can read the private key {paths.key}: run chmod 600 '{paths.key}'")
    left = chain[0].not_valid_after_utc - now
    if left < timedelta(days=WARN_DAYS):
        warn(f"the certificate {paths.certificate} expires in {left.days} days: renew it")
    return _Pair(paths, chain, certificate_pem, key_pem, private, password)


def _parse_key(pem: bytes, path: Path, password: str | None) -> PrivateKeyTypes:
    if b"PRIVATE KEY-----" not in pem:
        raise CertificateError(
            f"{path} holds no private key in PEM form (a line '-----BEGIN PRIVATE KEY-----')"
        )
    encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in pem or b"Proc-Type: 4,ENCRYPTED" in pem
    if encrypted and not password:
        raise CertificateError(
            f"the private key {path} is encrypted and no password was given: "
            f"give it, or decrypt the key with openssl pkey -in '{path}' -out key.pem"
        )
    try:
        return serialization.load_pem_private_key(
            pem, password=password.encode() if encrypted and password else None
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "the password is wrong, or the key is damaged" if encrypted else "it is damaged"
        raise CertificateError(f"the private key {path} cannot be read: {why}") from error


def _check(leaf: x509.Certificate, key: PrivateKeyTypes, paths: CertificatePaths, now: datetime) -> None:
    path = paths.certificate
    if leaf.not_valid_after_utc < now:
        raise CertificateError(
            f"the certificate {path} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it"
        )
    if leaf.not_valid_before_utc > now:
        raise CertificateError(
            f"the certificate {path} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: "
            "check this machine's clock, or wait"
        )
    try:
        fits = leaf.public_key() == key.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"the certificate {path} has a key of an unknown kind: use EC or RSA"
        ) from error
    if not fits:
        raise CertificateError(
            f"the private key {paths.key} does not belong to the certificate {path}: "
            "the first certificate in the file must be the server's own, made for this key"
        )


def _context(pair: _Pair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # One ticket: a client that returns after a restart of its network skips the costly half of the handshake.
    context.num_tickets = 1
    context.set_alpn_protocols(["http/1.1"])
    _load(context, pair)
    return context


def _load(context: ssl.SSLContext, pair: _Pair) -> None:
    """Load exactly what was checked: the files may have changed since, and ``ssl`` takes only paths."""
    try:
        with _as_file(pair.certificate_pem) as certificate, _as_file(pair.key_pem) as key:
            # A password in any case, since OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password=pair.password or "")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        raise CertificateError(
            f"OpenSSL refuses the certificate {pair.paths.certificate} or its key: {_words(str(reason))}"
        ) from error


def _words(reason: str) -> str:
    return reason.replace("_", " ").lower()


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path to read ``data`` from meanwhile: in memory on Linux, else a temporary file with mode 0600."""
    if hasattr(os, "memfd_create") and Path("/dev/fd").exists():
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, data)
            yield f"/dev/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            yield file.name
