"""The server's TLS: certificates found, refused and exchanged, in real handshakes over loopback sockets."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import stat
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import uvloop

from omega_ai.core.certificates import CertificateInfo
from omega_ai.core.client_tls import client_context
from omega_ai.data_feed.websocket.tls import (
    CertificateError,
    ReloadableContext,
    find_certificate,
    load_server_context,
)
from omega_ai.tests.certificates import Authority, Issued, key_pem, new_key, new_rsa_key, self_signed

NOW = datetime.now(UTC).replace(microsecond=0)  # a certificate's times have whole seconds


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now=NOW)


@pytest.fixture
def ca(authority: Authority, tmp_path: Path) -> Path:
    return authority.write(tmp_path)


def quiet(_: str) -> None:
    """Takes warnings that the test is not about."""


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A TLS server that returns each line; yields its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    # A refused handshake is the client's to report; asyncio would log it here as well.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Connection:
    """A client's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.tls: ssl.SSLObject = writer.get_extra_info("ssl_object")

    @property
    def certificate(self) -> CertificateInfo:
        der = self.tls.getpeercert(binary_form=True)
        assert der is not None
        return CertificateInfo.from_der(der, now=NOW)

    async def echo(self, line: bytes = b"price\n") -> bytes:
        self.writer.write(line)
        return await asyncio.wait_for(self.reader.readline(), 5)


@asynccontextmanager
async def connected(port: int, context: ssl.SSLContext, host: str = "localhost") -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await asyncio.wait_for(writer.wait_closed(), 5)


class TestHandshake:
    """What the server agrees to."""

    async def test_a_client_that_trusts_the_authority_gets_tls_1_3_and_its_line_back(
        self, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """The certificate is verified, for a name and for an address."""
        context = load_server_context(*authority.issue().write(tmp_path), now=NOW)
        async with serving(context) as port:
            for host in ("localhost", "127.0.0.1"):
                async with connected(port, client_context(ca), host) as client:
                    assert await client.echo() == b"price\n"
                    assert client.tls.version() == "TLSv1.3"
                    assert client.tls.selected_alpn_protocol() == "http/1.1"
                    assert client.tls.compression() is None

    async def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption(
        self, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """Every cipher that the server agrees to in TLS 1.2 is ECDHE with AES-GCM or ChaCha20."""
        context = load_server_context(*authority.issue().write(tmp_path), now=NOW)
        names = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.2"]
        assert names
        assert all(n.startswith("ECDHE-") and ("GCM" in n or "CHACHA20" in n) for n in names)
        old = client_context(ca)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with serving(context) as port, connected(port, old) as client:
            assert client.tls.version() == "TLSv1.2"

    @pytest.mark.parametrize("ciphers", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
    async def test_a_weak_cipher_is_refused(
        self, ciphers: str, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """No CBC, and no key exchange without forward secrecy, though the client offers nothing else."""
        context = load_server_context(*authority.issue().write(tmp_path), now=NOW)
        weak = client_context(ca)
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers(ciphers)
        async with serving(context) as port:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with connected(port, weak):
                    pass

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
    async def test_tls_before_1_2_is_refused(
        self, version: ssl.TLSVersion, authority: Authority, tmp_path: Path
    ) -> None:
        """A client that can speak nothing newer gets no connection; that it can, a lax server shows."""
        certificate, key = authority.issue().write(tmp_path)
        lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        lax.load_cert_chain(certificate, key)
        for context, refused in ((lax, False), (load_server_context(certificate, key, now=NOW), True)):
            if not refused:
                with pytest.warns(DeprecationWarning, match="deprecated"):
                    context.minimum_version = version
                context.set_ciphers("ALL:@SECLEVEL=0")
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.set_ciphers("ALL:@SECLEVEL=0")
            with pytest.warns(DeprecationWarning, match="deprecated"):
                old.minimum_version = version
            with pytest.warns(DeprecationWarning, match="deprecated"):
                old.maximum_version = version
            async with serving(context) as port:
                if refused:
                    with pytest.raises((ssl.SSLError, ConnectionError)):
                        async with connected(port, old):
                            pass
                else:
                    async with connected(port, old) as client:
                        assert client.tls.version() in ("TLSv1", "TLSv1.1")

    async def test_a_plain_client_does_not_disturb_the_others(
        self, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """Somebody who speaks HTTP to the TLS port is cut off; the next TLS client is served."""
        context = load_server_context(*authority.issue().write(tmp_path), now=NOW)
        async with serving(context) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"HTTP/1.1 101" not in await asyncio.wait_for(reader.read(), 5)
            writer.close()
            async with connected(port, client_context(ca)) as client:
                assert await client.echo() == b"price\n"


class TestFind:
    """``SSL_CERT_PATH`` and ``--cert``, in all the shapes that people have."""

    def test_one_pem_with_both(self, authority: Authority, tmp_path: Path) -> None:
        """Certificate and key in one file are both found in it."""
        both = authority.issue().write_both(tmp_path / "both.pem")
        paths = find_certificate(both)
        assert (paths.certificate, paths.key) == (both, both)
        load_server_context(both, now=NOW)

    @pytest.mark.parametrize("name", ["site.key", "site-key.pem", "key.pem", "privkey.pem"])
    def test_a_key_beside_the_certificate(self, name: str, authority: Authority, tmp_path: Path) -> None:
        """A key with a usual name beside the certificate need not be named."""
        certificate, key = authority.issue().write(tmp_path, "site")
        key.rename(tmp_path / name)
        assert find_certificate(certificate).key == tmp_path / name

    @pytest.mark.parametrize(
        ("cert", "key"), [("fullchain.pem", "privkey.pem"), ("cert.pem", "key.pem"), ("tls.crt", "tls.key")]
    )
    def test_a_directory(self, cert: str, key: str, authority: Authority, tmp_path: Path) -> None:
        """A directory as certbot, this program, or Kubernetes fills it."""
        issued = authority.issue()
        (tmp_path / cert).write_bytes(issued.certificate_pem)
        (tmp_path / key).write_bytes(issued.key_pem)
        load_server_context(tmp_path, now=NOW, warn=quiet)

    def test_a_directory_without_one_says_what_was_looked_for(self, tmp_path: Path) -> None:
        """The error names the directory and the files that were wanted."""
        with pytest.raises(CertificateError) as caught:
            find_certificate(tmp_path)
        assert str(tmp_path) in str(caught.value)
        assert "fullchain.pem and privkey.pem" in str(caught.value)

    def test_a_certificate_without_its_key_says_what_was_looked_for(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        """The error names the usual names of a key, and the option."""
        certificate, key = authority.issue().write(tmp_path, "site")
        key.unlink()
        with pytest.raises(CertificateError, match=r"site\.key, site-key\.pem, key\.pem, .*--key"):
            find_certificate(certificate)


class TestRefused:
    """A bad certificate is one sentence with the path and what to do, and never a context."""

    def refusal(self, cert: Path, key: Path | None = None, password: str | None = None) -> str:
        with pytest.raises(CertificateError) as caught:
            load_server_context(cert, key, now=NOW, password=password, warn=quiet)
        text = str(caught.value)
        assert "\n" not in text
        assert "PRIVATE KEY-----\n" not in text
        return text

    def test_missing(self, tmp_path: Path) -> None:
        """A file that does not exist."""
        missing = tmp_path / "none.pem"
        assert self.refusal(missing) == f"{missing} does not exist: check the path"

    def test_missing_key(self, authority: Authority, tmp_path: Path) -> None:
        """A key that was named and does not exist."""
        certificate, key = authority.issue().write(tmp_path)
        key.unlink()
        assert str(key) in self.refusal(certificate, key)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_unreadable(self, authority: Authority, tmp_path: Path) -> None:
        """A file without read permission."""
        certificate, key = authority.issue().write(tmp_path)
        key.chmod(0)
        assert f"{key} cannot be read" in self.refusal(certificate, key)

    def test_a_path_through_a_file(self, authority: Authority, tmp_path: Path) -> None:
        """The system's own words for what is wrong with the path."""
        certificate, key = authority.issue().write(tmp_path)
        assert "cannot be read (Not a directory)" in self.refusal(certificate / "cert.pem", key)

    def test_a_directory_as_key(self, authority: Authority, tmp_path: Path) -> None:
        """A directory where a file is wanted."""
        certificate, _ = authority.issue().write(tmp_path)
        assert f"{tmp_path} is a directory" in self.refusal(certificate, tmp_path)

    def test_expired(self, authority: Authority, tmp_path: Path) -> None:
        """The error says since when."""
        issued = authority.issue_expired()
        text = self.refusal(*issued.write(tmp_path))
        assert f"expired on {issued.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC" in text

    def test_not_yet_valid(self, authority: Authority, tmp_path: Path) -> None:
        """The error says from when, and to look at the clock."""
        text = self.refusal(*authority.issue_not_yet_valid().write(tmp_path))
        assert "is not valid before" in text
        assert "clock" in text

    def test_mismatched(self, authority: Authority, tmp_path: Path) -> None:
        """A key of another certificate: both paths are named."""
        certificate, key = authority.issue_mismatched().write(tmp_path)
        assert f"{key} does not belong to the certificate {certificate}" in self.refusal(certificate, key)

    def test_mismatched_in_kind(self, authority: Authority, tmp_path: Path) -> None:
        """An RSA key for an EC certificate."""
        issued = Issued(authority.issue().certificate, new_rsa_key())
        assert "does not belong" in self.refusal(*issued.write(tmp_path))

    def test_chain_in_the_wrong_order(self, authority: Authority, tmp_path: Path) -> None:
        """The authority's certificate first, the server's second: clients would refuse it."""
        issued = authority.issue()
        certificate, key = issued.write(tmp_path)
        certificate.write_bytes(authority.issued.certificate_pem + issued.certificate_pem)
        assert "first certificate in the file must be the server's own" in self.refusal(certificate, key)

    def test_encrypted_without_password(self, authority: Authority, tmp_path: Path) -> None:
        """It is an error and not a question on the terminal; with the password it works."""
        issued = authority.issue()
        certificate, key = issued.write(tmp_path)
        key.write_bytes(key_pem(issued.key, b"secret"))
        assert f"{key} is encrypted and no password was given" in self.refusal(certificate, key)
        assert "password is wrong" in self.refusal(certificate, key, "guess")
        load_server_context(certificate, key, now=NOW, password="secret")

    @pytest.mark.parametrize("content", [b"", b"hello", b"\x30\x82\x00\xff" * 100])
    def test_not_pem(self, content: bytes, authority: Authority, tmp_path: Path) -> None:
        """Empty, text, and DER."""
        certificate, key = authority.issue().write(tmp_path)
        good = certificate.read_bytes()
        certificate.write_bytes(content)
        assert f"{certificate} holds no certificate in PEM form" in self.refusal(certificate, key)
        certificate.write_bytes(good)
        key.write_bytes(content)
        assert f"{key} holds no private key in PEM form" in self.refusal(certificate, key)

    def test_damaged(self, authority: Authority, tmp_path: Path) -> None:
        """PEM around what is no certificate, and no key."""
        certificate, key = authority.issue().write(tmp_path)
        good = certificate.read_bytes()
        certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        assert "damaged certificate" in self.refusal(certificate, key)
        certificate.write_bytes(good)
        key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        assert "cannot be read: it is damaged" in self.refusal(certificate, key)

    def test_a_key_too_short_for_openssl(self, authority: Authority, tmp_path: Path) -> None:
        """RSA with 1024 bits: OpenSSL's own refusal, in words."""
        issued = authority.issue(key=new_rsa_key(1024))
        assert "ee key too small" in self.refusal(*issued.write(tmp_path))

    def test_enormous(self, tmp_path: Path) -> None:
        """A file of megabytes is not read to its end."""
        path = tmp_path / "big.pem"
        path.write_bytes(b"x" * 2_000_000)
        assert "larger than" in self.refusal(path)


class TestWarnings:
    """What works but should not stay so."""

    def test_a_key_that_everybody_can_read(self, authority: Authority, tmp_path: Path) -> None:
        """A warning that names the command; none once it has been run."""
        warnings: list[str] = []
        certificate, key = authority.issue().write(tmp_path)
        key.chmod(0o644)
        load_server_context(certificate, key, now=NOW, warn=warnings.append)
        assert len(warnings) == 1
        assert f"chmod 600 '{key}'" in warnings[0]
        key.chmod(0o600)
        load_server_context(certificate, key, now=NOW, warn=warnings.append)
        assert len(warnings) == 1

    def test_a_certificate_near_its_end(self, authority: Authority, tmp_path: Path) -> None:
        """A warning in the last two weeks, with the days left."""
        warnings: list[str] = []
        issued = authority.issue(end=NOW + timedelta(days=3, hours=1))
        load_server_context(*issued.write(tmp_path), now=NOW, warn=warnings.append)
        assert len(warnings) == 1
        assert "expires in 3 days" in warnings[0]


class TestReload:
    """The certificate is exchanged; nobody is dropped."""

    async def test_new_connections_get_the_new_certificate_and_old_ones_live(
        self, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """The old connection still echoes after the reload, with the certificate that it began with."""
        first, second = authority.issue(), authority.issue()
        certificate, key = first.write(tmp_path)
        reloadable = ReloadableContext(certificate, key, now=NOW)
        assert reloadable.paths.certificate == certificate
        async with serving(reloadable.context) as port, connected(port, client_context(ca)) as old:
            before = old.certificate.fingerprint
            assert before == reloadable.info(NOW).fingerprint
            second.write(tmp_path)
            outcome = reloadable.reload(NOW)
            assert outcome.error is None
            assert outcome.changed
            assert not outcome.listen_again
            async with connected(port, client_context(ca)) as new:
                assert new.certificate.fingerprint == outcome.info.fingerprint != before
                assert await new.echo() == b"price\n"
            assert await old.echo() == b"price\n"

    @pytest.mark.parametrize("fault", ["missing", "mismatched", "expired", "half written", "encrypted"])
    async def test_a_bad_new_certificate_changes_nothing(
        self, fault: str, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """The error is reported, the old certificate goes on being served; a good one then takes over."""
        certificate, key = authority.issue().write(tmp_path)
        reloadable = ReloadableContext(certificate, key, now=NOW)
        fingerprint = reloadable.info(NOW).fingerprint
        match fault:
            case "missing":
                certificate.unlink()
            case "mismatched":
                authority.issue_mismatched().write(tmp_path)
            case "expired":
                authority.issue_expired().write(tmp_path)
            case "half written":
                certificate.write_bytes(certificate.read_bytes()[:300])
            case "encrypted":
                key.write_bytes(key_pem(new_key(), b"secret"))
        outcome = reloadable.reload(NOW)
        assert outcome.error is not None
        assert str(tmp_path) in str(outcome.error)
        assert not outcome.changed
        async with serving(reloadable.context) as port:
            async with connected(port, client_context(ca)) as client:
                assert client.certificate.fingerprint == fingerprint == outcome.info.fingerprint
            authority.issue().write(tmp_path)
            assert reloadable.reload(NOW).error is None
            async with connected(port, client_context(ca)) as client:
                assert client.certificate.fingerprint != fingerprint

    async def test_a_key_of_another_kind_needs_a_new_listener(
        self, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """EC to RSA: the live context would go on serving EC, so a new one is there to listen with."""
        certificate, key = authority.issue().write(tmp_path)
        reloadable = ReloadableContext(certificate, key, now=NOW)
        live = reloadable.context
        authority.issue(key=new_rsa_key()).write(tmp_path)
        outcome = reloadable.reload(NOW)
        assert outcome.listen_again
        assert reloadable.context is not live
        async with serving(reloadable.context) as port, connected(port, client_context(ca)) as client:
            assert client.certificate.fingerprint == outcome.info.fingerprint

    def test_the_same_files_are_no_change(self, authority: Authority, tmp_path: Path) -> None:
        """SIGHUP for another reason."""
        reloadable = ReloadableContext(*authority.issue().write(tmp_path), now=NOW)
        outcome = reloadable.reload(NOW)
        assert (outcome.changed, outcome.error) == (False, None)

    def test_the_event_loop_of_the_server_gets_it_too(
        self, authority: Authority, ca: Path, tmp_path: Path
    ) -> None:
        """uvloop, on which the server runs, makes connections from the same context."""
        reloadable = ReloadableContext(*authority.issue().write(tmp_path), now=NOW)

        class Greet(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                cast(asyncio.WriteTransport, transport).write(b"hello\n")

        async def fingerprints() -> tuple[str, str]:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Greet, "127.0.0.1", 0, ssl=reloadable.context)
            port = server.sockets[0].getsockname()[1]
            seen = []
            for _ in range(2):
                async with connected(port, client_context(ca)) as client:
                    assert await asyncio.wait_for(client.reader.readline(), 5) == b"hello\n"
                    seen.append(client.certificate.fingerprint)
                authority.issue().write(tmp_path)
                assert reloadable.reload(NOW).error is None
            server.close()
            return seen[0], seen[1]

        first, second = uvloop.run(fingerprints())
        assert first != second


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command here")
class TestInfo:
    """What is told about a certificate."""

    def test_it_agrees_with_openssl(self, authority: Authority, tmp_path: Path) -> None:
        """Fingerprint and validity, as another program reads them."""
        certificate, _ = authority.issue(["feed.example.com", "192.0.2.7"]).write(tmp_path)
        info = CertificateInfo.from_file(certificate, now=NOW)
        command = [
            "openssl",
            "x509",
            "-in",
            str(certificate),
            "-noout",
            "-fingerprint",
            "-sha256",
            "-enddate",
        ]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert info.fingerprint in output
        assert f"{info.not_after:%b} {info.not_after.day:2d} {info.not_after:%H:%M:%S %Y} GMT" in output
        assert info.names == ("feed.example.com", "192.0.2.7")
        assert (info.subject, info.issuer) == ("CN=server", "CN=throwaway authority")
        assert (info.days_left, info.expired, info.self_signed) == (90, False, False)

    def test_self_signed_and_expired_are_told(self, authority: Authority) -> None:
        """By the signature and by the end of the validity."""
        assert CertificateInfo.from_pem(self_signed(now=NOW).certificate_pem, now=NOW).self_signed
        expired = CertificateInfo.from_pem(authority.issue_expired().certificate_pem, now=NOW)
        assert expired.expired
        assert expired.days_left == -1


class TestMemory:
    """Where key material goes."""

    def test_no_file_is_left_and_no_descriptor(self, authority: Authority, tmp_path: Path) -> None:
        """Loading opens and closes; what was loaded stays in memory."""
        certificate, key = authority.issue().write(tmp_path)
        load_server_context(certificate, key, now=NOW)
        before = len(list(Path("/dev/fd").iterdir()))
        for _ in range(5):
            load_server_context(certificate, key, now=NOW)
        assert len(list(Path("/dev/fd").iterdir())) == before
        assert stat.S_IMODE(key.stat().st_mode) == 0o600

    async def test_a_system_without_files_in_memory_serves_too(
        self, authority: Authority, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By way of a temporary file that only we can read, gone at once."""
        certificate, key = authority.issue().write(tmp_path)
        (tmp_path / "temporary").mkdir()
        monkeypatch.delattr(os, "memfd_create", raising=False)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        context = load_server_context(certificate, key, now=NOW)
        assert list((tmp_path / "temporary").iterdir()) == []
        async with serving(context) as port, connected(port, client_context(ca)) as client:
            assert await client.echo() == b"price\n"
