"""``omega cert``: which certificate wss serves, for whom, how long, and how clients come to trust it."""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.output import write_json
from omega_ai.cli.terminal import say
from omega_ai.core.certificates import CertificateError, CertificateInfo
from omega_ai.data_feed.websocket.tls import (
    CertificatePaths,
    development_certificate,
    find_certificate,
    load_server_context,
)


def cert(
    *,
    cert: Path | None = None,
    key: Path | None = None,
    directory: Path | None = None,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    config: Path | None = None,
) -> int:
    """Show the certificate that wss serves, and make the development certificate if there is none.

    Without --cert it is the development certificate: good for localhost, 127.0.0.1, ::1 and this machine's
    name, signed by an authority that was made on this machine and is trusted by nobody until you say so.

    Args:
        cert: Your own certificate instead: a PEM file or a directory. Also SSL_CERT_PATH.
        key: Its private key, if it is not in the same file or beside it.
        directory: Where the development certificate is kept.
        json: Write the facts as JSON to this file; - is standard output.
        config: TOML file with a [cert] table of options.
    """
    del config  # read while the options were gathered
    now = datetime.now(UTC)
    try:
        if cert is None:
            paths = development_certificate(directory, now=now)
        else:
            paths = find_certificate(cert.expanduser(), key)
        # Loading is the one proof that certificate and key can be served together.
        load_server_context(paths.certificate, paths.key, now=now, warn=lambda text: say(f"Warning: {text}."))
        info = CertificateInfo.from_file(paths.certificate, now=now)
    except CertificateError as error:
        raise UsageError(f"{error}.") from None
    if json is not None:
        write_json(json, facts(paths, info))
    else:
        _show(paths, info)
    return 0


def facts(paths: CertificatePaths, info: CertificateInfo) -> dict[str, Any]:
    """What a machine wants to know about a certificate; paths as text, times in ISO 8601."""
    return {
        "certificate": str(paths.certificate),
        "key": str(paths.key),
        "ca": None if paths.ca is None else str(paths.ca),
        "development": paths.ca is not None,
        "subject": info.subject,
        "issuer": info.issuer,
        "names": list(info.names),
        "not_before": info.not_before.isoformat(),
        "not_after": info.not_after.isoformat(),
        "days_left": info.days_left,
        "fingerprint": info.fingerprint,
    }


def _show(paths: CertificatePaths, info: CertificateInfo) -> None:
    say("Development certificate" if paths.ca is not None else "Certificate")
    say(f"  for          {', '.join(info.names) or 'no name: browsers and most clients will refuse it'}")
    say(f"  signed by    {'itself' if info.self_signed else info.issuer}")
    say(f"  valid until  {info.not_after:%Y-%m-%d %H:%M} UTC ({info.days_left} days)")
    say(f"  fingerprint  SHA-256 {info.fingerprint}")
    say(f"  certificate  {paths.certificate}")
    say(f"  private key  {paths.key}")
    if paths.ca is None:
        return
    ca = shlex.quote(str(paths.ca))
    say(f"  authority    {paths.ca}")
    say()
    say("To trust it, on this machine:")
    say("  omega watch, and our Python client on localhost, trust it already.")
    say(f"  Python       ssl.create_default_context(cafile={os.fspath(paths.ca)!r})")
    say(f"  OpenSSL      SSL_CERT_FILE={ca} python -m websockets wss://localhost:8766")
    say(f"  Node         NODE_EXTRA_CA_CERTS={ca} node client.js")
    say(f"  Debian       sudo cp {ca} /usr/local/share/ca-certificates/omega-btc-ai.crt")
    say("               sudo update-ca-certificates")
    say(f"  macOS        security add-trusted-cert -k ~/Library/Keychains/login.keychain-db {ca}")
    say("  Firefox      Settings, Privacy & Security, View Certificates, Authorities, Import")
