"""A running feed tells of what is wrong with it."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from omega_ai.tests.feed_server import FeedThread, quiet_settings


def short_lived_certificate(path: Path, days: int) -> Path:
    """Self-signed, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    path.write_bytes(pem)
    path.chmod(0o600)
    return path


async def test_a_certificate_near_its_end_reaches_the_webhook_the_command_and_the_page(
    tmp_path: Path,
) -> None:
    """``--alert-webhook`` and ``--alert-command``, and ``alerts`` in ``/api/status``."""
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hook(request: web.Request) -> web.Response:
        await received.put(await request.json())
        return web.Response()

    receiver = web.Application()
    receiver.router.add_post("/", hook)
    runner = web.AppRunner(receiver)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told = tmp_path / "told by the command"
    feed = FeedThread(
        quiet_settings(
            tls_port=0,
            http_port=0,
            cert=short_lived_certificate(tmp_path / "short.pem", days=3),
            alert_webhook=f"http://127.0.0.1:{runner.addresses[0][1]}/",
            alert_command=f"sh -c 'cat > \"{told}\"'",
        )
    )
    await asyncio.to_thread(feed.__enter__)
    try:
        async with asyncio.timeout(20):
            message = await received.get()
            async with aiohttp.ClientSession() as http, http.get(f"{feed.at.http}/api/status") as response:
                status = await response.json()
            while not told.exists() or not told.read_text():
                await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(feed.__exit__, None, None, None)
        await runner.cleanup()
    assert message["alerts"][0]["labels"]["alertname"] == "OmegaCertificateEnding"
    assert message["alerts"][0]["annotations"]["summary"] == "the certificate ends in 3.0 days"
    assert [alert["name"] for alert in status["alerts"]] == ["OmegaCertificateEnding"]
    assert "OmegaCertificateEnding" in told.read_text()
