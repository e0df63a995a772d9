"""TLS as a client: whom it trusts, whom it refuses, and what it says then. Over loopback sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omega_ai.core.certificates import CertificateError
from omega_ai.core.client_tls import (
    client_context,
    development_ca,
    development_directory,
    explain,
    is_loopback,
)
from omega_ai.tests.certificates import Authority, Issued, self_signed

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority(now=NOW)


def connect(context: ssl.SSLContext, issued: Issued, tmp_path: Path, host: str = "localhost") -> str | None:
    """One real handshake with a server that shows ``issued``; the version agreed."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*issued.write(tmp_path))
    return connect_to(server, context, host)


def connect_to(server: ssl.SSLContext, context: ssl.SSLContext, host: str = "localhost") -> str | None:
    """One real handshake with whatever a server's context agrees to."""

    def accept() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            try:
                with server.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)
            except (ssl.SSLError, OSError):
                pass  # the client says what was wrong

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), timeout=5) as raw,
                context.wrap_socket(raw, server_hostname=host) as tls,
            ):
                return tls.version()
        finally:
            thread.join(10)


REFUSED: list[tuple[str, Callable[[Authority], Issued], str]] = [
    ("expired", Authority.issue_expired, "the certificate of localhost has expired"),
    ("not yet valid", Authority.issue_not_yet_valid, "is not valid yet: check the clocks"),
    ("wrong name", Authority.issue_wrong_name, "the certificate is not for localhost"),
    ("unknown authority", lambda _: Authority("another").issue(), "an authority that is not trusted here"),
    ("self-signed", lambda _: self_signed(), "an authority that is not trusted here"),
]


class TestTrust:
    """Whose certificates are accepted."""

    def test_the_authority_that_is_named(self, authority: Authority, tmp_path: Path) -> None:
        """Its certificates are accepted."""
        assert connect(client_context(authority.write(tmp_path)), authority.issue(), tmp_path) == "TLSv1.3"

    @pytest.mark.parametrize(("issue", "text"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
    def test_refused_with_the_reason(
        self, issue: Callable[[Authority], Issued], text: str, authority: Authority, tmp_path: Path
    ) -> None:
        """One sentence each: what is wrong and what to do. Unverified, the same server is reached."""
        issued = issue(authority)
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            connect(client_context(authority.write(tmp_path)), issued, tmp_path)
        assert text in explain(caught.value, "localhost")
        assert connect(client_context(verify=False), issued, tmp_path) == "TLSv1.3"

    def test_a_wrong_address(self, authority: Authority, tmp_path: Path) -> None:
        """A certificate for names does not do for an address."""
        issued = authority.issue(["localhost"])
        with pytest.raises(ssl.SSLCertVerificationError) as caught:
            connect(client_context(authority.write(tmp_path)), issued, tmp_path, "127.0.0.1")
        assert "the certificate is not for 127.0.0.1" in explain(caught.value, "127.0.0.1")

    def test_a_self_signed_certificate_that_is_named_itself(self, tmp_path: Path) -> None:
        """Trusted as it stands, and for its own names only."""
        issued = self_signed()
        certificate, _ = issued.write(tmp_path)
        assert connect(client_context(certificate), issued, tmp_path) == "TLSv1.3"
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(client_context(certificate), issued, tmp_path, "feed.example.com")

    def test_naming_an_authority_replaces_the_systems(self, authority: Authority, tmp_path: Path) -> None:
        """Whoever names one means that one."""
        assert client_context(authority.write(tmp_path)).cert_store_stats()["x509"] == 1

    def test_the_development_authority_is_trusted_for_this_machine_alone(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        """Connecting elsewhere, it counts for nothing."""
        ca = authority.write(tmp_path)
        here = client_context(host="localhost", development=ca)
        assert connect(here, authority.issue(), tmp_path) == "TLSv1.3"
        for elsewhere in ("feed.example.com", ""):
            context = client_context(host=elsewhere, development=ca)
            with pytest.raises(ssl.SSLCertVerificationError):
                connect(context, authority.issue(["feed.example.com", "localhost"]), tmp_path)

    def test_no_development_authority_is_no_error(self, tmp_path: Path) -> None:
        """There is none before the first server starts."""
        client_context(host="localhost", development=tmp_path / "ca.pem")


def test_the_development_directory_is_in_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the platform keeps state; its ``ca.pem`` is what client and server agree on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert development_directory().is_relative_to(tmp_path)
    assert development_directory().parts[-2:] == ("omega-btc-ai", "tls")
    assert development_ca() == development_directory() / "ca.pem"


class TestErrors:
    """What cannot be used as an authority, and servers that do not speak TLS."""

    @pytest.mark.parametrize("content", [None, b"", b"hello"])
    def test_a_bad_ca_file_is_named(self, content: bytes | None, tmp_path: Path) -> None:
        """Missing, empty, and not PEM."""
        path = tmp_path / "ca.pem"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(CertificateError) as caught:
            client_context(path)
        assert str(path) in str(caught.value)

    def test_a_server_that_is_too_old(self, authority: Authority, tmp_path: Path) -> None:
        """TLS 1.1 is all that it offers: not agreed to, and said so."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*authority.issue().write(tmp_path))
        server.set_ciphers("ALL:@SECLEVEL=0")
        for limit in ("minimum_version", "maximum_version"):
            with pytest.warns(DeprecationWarning, match="deprecated"):
                setattr(server, limit, ssl.TLSVersion.TLSv1_1)
        with pytest.raises(ssl.SSLError) as caught:
            connect_to(server, client_context(authority.write(tmp_path)))
        assert "it must offer TLS 1.2 or 1.3" in explain(caught.value, "localhost")

    def test_whatever_else_goes_wrong_is_named(self, authority: Authority, tmp_path: Path) -> None:
        """No cipher in common: OpenSSL's reason, in words."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(*authority.issue().write(tmp_path))
        server.maximum_version = ssl.TLSVersion.TLSv1_2
        server.set_ciphers("ECDHE-ECDSA-AES128-SHA256")
        client = client_context(authority.write(tmp_path))
        client.set_ciphers("ECDHE+AESGCM")
        with pytest.raises(ssl.SSLError) as caught:
            connect_to(server, client)
        text = explain(caught.value, "localhost")
        assert text.startswith("the TLS handshake with localhost failed: ")
        assert "handshake failure" in text

    def test_a_server_that_speaks_plain_http(self) -> None:
        """The sentence says that it is the wrong port."""

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=answer)
            thread.start()
            with (
                socket.create_connection(listener.getsockname(), timeout=5) as raw,
                pytest.raises(ssl.SSLError) as caught,
            ):
                client_context().wrap_socket(raw, server_hostname="localhost")
            thread.join(10)
        assert "does not speak TLS on this port" in explain(caught.value, "localhost")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("feed.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("0.0.0.0", False),
        ("192.168.1.2", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """Names and addresses that can only mean this machine."""
    assert is_loopback(host) is expected
