"""TLS as a client: whom we trust, and what to tell people when we do not."""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path

import platformdirs

from omega_ai.core.certificates import CertificateError, parse_certificates, read_pem

APPLICATION = "omega-btc-ai"


def development_directory() -> Path:
    """Where the development certificate and its authority are kept: ``tls`` in the user's state directory."""
    return Path(platformdirs.user_state_dir(APPLICATION, appauthor=False)) / "tls"


def development_ca() -> Path:
    """Where the development authority's certificate lies, once a server made it."""
    return development_directory() / "ca.pem"


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, brackets allowed) can only mean this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def client_context(
    ca: Path | None = None,
    verify: bool = True,
    *,
    host: str = "",
    development: Path | None = None,
) -> ssl.SSLContext:
    """A context for connecting: TLS 1.2 or later, the peer's chain and name verified.

    Args:
        ca: PEM file of the authorities to trust, in place of the system's.
        verify: False accepts any certificate: encrypted, but to whoever answers. For measuring only.
        host: where the connection goes. For this machine itself, our development authority is trusted too.
        development: where that authority's certificate lies (default: ``development_ca()``).

    Raises:
        CertificateError: ``ca`` is missing, unreadable or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])  # WebSocket is spoken over HTTP/1.1 (RFC 6455 section 4.1)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    if ca is not None:
        # So that a server's self-signed certificate can itself be named: it is then trusted, as it stands.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _trust(context, ca)
        return context
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    local = development if development is not None else development_ca()
    # Its key lies on this machine, so it must not vouch for any other.
    if is_loopback(host) and os.access(local, os.R_OK):
        _trust(context, local)
    return context


def explain(error: ssl.SSLError, host: str) -> str:
    """One sentence about a failed handshake with ``host``: what is wrong and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        message = error.verify_message
        if error.verify_code in _UNKNOWN_CA:
            return (
                f"the certificate of {host} is signed by an authority that is not trusted here ({message}): "
                "name its CA file with --ca, for a server of ours the ca.pem that 'omega cert' shows"
            )
        if error.verify_code in _WRONG_NAME:
            return f"the certificate is not for {host} ({message}): connect by a name that stands in it"
        if error.verify_code == _EXPIRED:
            return (
                f"the certificate of {host} has expired: its owner must renew it; check this machine's clock"
            )
        if error.verify_code == _NOT_YET_VALID:
            return f"the certificate of {host} is not valid yet: check the clocks of both machines"
        return f"the certificate of {host} is refused: {message}"
    reason = error.reason or str(error)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"}:
        return f"{host} does not speak TLS on this port: use ws:// there, or the port for wss://"
    if reason in {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"}:
        return f"{host} speaks no TLS version that is safe: it must offer TLS 1.2 or 1.3"
    return f"the TLS handshake with {host} failed: {reason.replace('_', ' ').lower()}"


# OpenSSL's x509_vfy.h
_NOT_YET_VALID = 9
_EXPIRED = 10
_UNKNOWN_CA = frozenset({2, 18, 19, 20, 21, 27})
_WRONG_NAME = frozenset({62, 64})


def _trust(context: ssl.SSLContext, ca: Path) -> None:
    parse_certificates(read_pem(ca), str(ca))  # ssl's own errors name neither the file nor the fault
    try:
        context.load_verify_locations(cafile=ca)
    except ssl.SSLError as error:
        raise CertificateError(f"{ca} cannot be used as an authority: {error.reason}") from error
