"""The development certificate: made once, kept private, renewed in time, trusted by name."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from omega_ai.core.certificates import CertificateError, CertificateInfo
from omega_ai.core.client_tls import client_context
from omega_ai.data_feed.websocket.development_certificate import CertificatePaths, development_certificate
from omega_ai.data_feed.websocket.tls import load_server_context

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def make(directory: Path, now: datetime = NOW, hostname: str = "desk") -> CertificatePaths:
    return development_certificate(directory, now=now, hostname=hostname)


def info(path: Path, now: datetime = NOW) -> CertificateInfo:
    return CertificateInfo.from_file(path, now=now)


def handshake(paths: CertificatePaths, host: str, ca: bytes | None = None) -> None:
    """A whole handshake in memory; raises what the client makes of the certificate."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    assert paths.ca is not None
    trust = client_context(paths.ca)
    if ca is not None:
        trust = ssl.create_default_context(cadata=ca.decode())
    client = trust.wrap_bio(to_client, to_server, server_hostname=host)
    server = load_server_context(paths.certificate, paths.key, now=NOW).wrap_bio(
        to_server, to_client, server_side=True
    )
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert client.version() == "TLSv1.3"


class TestFirst:
    """Made from nothing."""

    def test_names_and_authority(self, tmp_path: Path) -> None:
        """For this machine by every name, signed by an authority of its own."""
        paths = make(tmp_path / "tls")
        server = info(paths.certificate)
        assert set(server.names) == {"localhost", "desk", "127.0.0.1", "::1"}
        assert paths.ca is not None
        assert server.issuer == info(paths.ca).subject
        assert not server.self_signed
        assert info(paths.ca).self_signed
        assert server.days_left > 300

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "desk"])
    def test_a_client_that_trusts_the_authority_is_satisfied(self, host: str, tmp_path: Path) -> None:
        """Chain and name verify, whichever way this machine is called."""
        handshake(make(tmp_path), host)

    @pytest.mark.parametrize("host", ["example.com", "127.0.0.2"])
    def test_another_name_is_refused(self, host: str, tmp_path: Path) -> None:
        """It is a certificate for this machine alone."""
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(make(tmp_path), host)

    def test_the_authority_cannot_vouch_for_others(self, tmp_path: Path) -> None:
        """Even signed with its key, a certificate for another name is refused: the key is worth little."""
        paths = make(tmp_path / "a", hostname="desk")
        # A machine renamed would be given its new name, were it not outside the authority's constraints...
        again = development_certificate(tmp_path / "a", now=NOW + 360 * DAY, hostname="bank.example.com")
        assert "bank.example.com" not in info(again.certificate).names
        # ...and if somebody signs it nevertheless, a client finds the constraint violated.
        assert paths.ca is not None
        ca = x509.load_pem_x509_certificate(paths.ca.read_bytes())
        ca_key = serialization.load_pem_private_key((tmp_path / "a" / "ca-key.pem").read_bytes(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        forged = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(ca.subject)
            .public_key(x509.load_pem_x509_certificate(paths.certificate.read_bytes()).public_key())
            .serial_number(1)
            .not_valid_before(NOW - DAY)
            .not_valid_after(NOW + DAY)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("bank.example.com")]), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        paths.certificate.write_bytes(forged.public_bytes(serialization.Encoding.PEM))
        with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
            handshake(paths, "bank.example.com")

    def test_nobody_else_can_read_the_keys(self, tmp_path: Path) -> None:
        """0600 in a directory with 0700, whatever the umask."""
        old = os.umask(0)
        try:
            paths = make(tmp_path / "tls")
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
        for key in (paths.key, tmp_path / "tls" / "ca-key.pem"):
            assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert {p.name for p in (tmp_path / "tls").iterdir()} == {
            "cert.pem",
            "key.pem",
            "ca.pem",
            "ca-key.pem",
            ".lock",
        }

    @pytest.mark.parametrize(
        "hostname", ["", "localhost", "a" * 300, "täglich", "under_score", "-x", "12", "a..b"]
    )
    def test_a_hostname_that_no_certificate_can_carry_is_left_out(
        self, hostname: str, tmp_path: Path
    ) -> None:
        """It does not keep the feed from starting."""
        paths = make(tmp_path, hostname=hostname)
        assert set(info(paths.certificate).names) == {"localhost", "127.0.0.1", "::1"}
        handshake(paths, "localhost")


class TestAgain:
    """What a second start does."""

    def test_used_again_while_it_lasts(self, tmp_path: Path) -> None:
        """Nothing is written with 31 days left."""
        paths = make(tmp_path)
        before = [path.read_bytes() for path in sorted(tmp_path.glob("*.pem"))]
        make(tmp_path, NOW + (365 - 31) * DAY)
        assert [path.read_bytes() for path in sorted(tmp_path.glob("*.pem"))] == before
        assert paths.ca is not None

    def test_renewed_in_time_by_the_same_authority(self, tmp_path: Path) -> None:
        """With less than 30 days left there is a new one, which whoever trusts the authority accepts."""
        paths = make(tmp_path, NOW - 340 * DAY)
        assert paths.ca is not None
        ca, certificate = paths.ca.read_bytes(), paths.certificate.read_bytes()
        make(tmp_path)
        assert paths.ca.read_bytes() == ca
        assert paths.certificate.read_bytes() != certificate
        handshake(paths, "localhost", ca)

    def test_a_new_authority_when_the_old_one_ends(self, tmp_path: Path) -> None:
        """After ten years."""
        paths = make(tmp_path, NOW - 3640 * DAY)
        assert paths.ca is not None
        ca = paths.ca.read_bytes()
        make(tmp_path)
        assert paths.ca.read_bytes() != ca
        handshake(paths, "localhost")

    @pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem"])
    @pytest.mark.parametrize("content", [None, b"", b"damaged"])
    def test_whatever_is_missing_or_damaged_is_made_anew(
        self, name: str, content: bytes | None, tmp_path: Path
    ) -> None:
        """The next start mends it."""
        paths = make(tmp_path)
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        make(tmp_path)
        handshake(paths, "localhost")

    def test_the_authoritys_key_is_needed_only_to_sign(self, tmp_path: Path) -> None:
        """Whoever takes it away, to be safe, keeps a working certificate until it must be renewed."""
        paths = make(tmp_path)
        before = paths.certificate.read_bytes()
        (tmp_path / "ca-key.pem").unlink()
        make(tmp_path)
        assert paths.certificate.read_bytes() == before

    def test_keys_left_open_are_closed(self, tmp_path: Path) -> None:
        """As after a careless copy."""
        paths = make(tmp_path)
        paths.key.chmod(0o644)
        make(tmp_path)
        assert stat.S_IMODE(paths.key.stat().st_mode) == 0o600


class TestUnusable:
    """Where it cannot be kept."""

    def test_a_file_in_the_way(self, tmp_path: Path) -> None:
        """The error names it, and the way out."""
        (tmp_path / "tls").write_text("in the way")
        with pytest.raises(CertificateError, match=r"tls.*--cert"):
            make(tmp_path / "tls")

    @pytest.mark.parametrize("name", ["cert.pem", "key.pem", "ca.pem", ".lock"])
    def test_a_directory_where_a_file_should_be(self, name: str, tmp_path: Path) -> None:
        """It is not removed, since somebody made it; the error names it."""
        (tmp_path / name).mkdir()
        with pytest.raises(CertificateError, match=re.escape(name)):
            make(tmp_path)

    def test_a_certificate_of_another_authority_is_replaced(self, tmp_path: Path) -> None:
        """As when files of two machines were mixed."""
        paths = make(tmp_path / "a")
        other = make(tmp_path / "b")
        assert paths.ca is not None
        assert other.ca is not None
        other.ca.replace(paths.ca)
        (tmp_path / "b" / "ca-key.pem").replace(tmp_path / "a" / "ca-key.pem")
        make(tmp_path / "a")
        handshake(paths, "localhost")

    def test_a_directory_that_others_may_write_to(self, tmp_path: Path) -> None:
        """They could exchange the key."""
        (tmp_path / "tls").mkdir()
        (tmp_path / "tls").chmod(0o777)
        with pytest.raises(CertificateError, match="chmod go-w"):
            make(tmp_path / "tls")


def _start(directory: Path, index: int) -> None:
    paths = development_certificate(directory, now=NOW, hostname="desk")
    load_server_context(paths.certificate, paths.key, now=NOW)
    (directory.parent / f"seen-{index}").write_bytes(paths.certificate.read_bytes())


def test_servers_that_start_together_share_one(tmp_path: Path) -> None:
    """Six processes at once: each loads a pair that fits, and all have the same."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_start, args=(tmp_path / "tls", i)) for i in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 6
    assert len({path.read_bytes() for path in tmp_path.glob("seen-*")}) == 1
