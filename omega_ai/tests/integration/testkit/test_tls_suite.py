"""The cases of the TLS suite that read handshakes by hand, put to real servers and to stranger ones."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from omega_ai.testkit.case import CaseEnded, Outcome
from omega_ai.testkit.context import Context
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.result import Severity
from omega_ai.testkit.server_process import ServerProcess
from omega_ai.testkit.suites import tls_shown
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.prove import find_case
from omega_ai.testkit.zoo.secure import right
from omega_ai.testkit.zoo.showing import Responder, Showing
from omega_ai.testkit.zoo.site import EchoSite
from omega_ai.tests.integration.deploy.proxies import Proxy

CASES = ("tls.chain", "tls.ocsp", "tls.renegotiation")
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
PASS, FAIL, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.UNKNOWN


async def put(port: int, ca: Path | None, case: str) -> Outcome:
    """One case, put once to what listens on a port of this machine."""
    target = Target(f"wss://localhost:{port}/", load_profile("echo"), None, ca)
    async with Context(target, seed=1) as context:
        try:
            return await find_case(case).run(context)
        except CaseEnded as ended:
            return ended.outcome


class Files(NamedTuple):
    """What a stapling server is configured with."""

    ca: Path
    chain: Path
    key: Path
    staple: Path


def write_files(directory: Path) -> Files:
    """A certificate that demands a stapled answer, its chain, and the answer."""
    directory.mkdir(exist_ok=True)
    authority = Authority(directory)
    middle = authority.below("intermediate")
    issued = middle.issue(extensions=[MUST_STAPLE])
    files = Files(authority.ca, *(directory / name for name in ("chain.pem", "key.pem", "staple.der")))
    pem = serialization.Encoding.PEM
    files.chain.write_bytes(issued.certificate.public_bytes(pem) + middle.certificate.public_bytes(pem))
    files.key.write_bytes(
        issued.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files.staple.write_bytes(middle.staple(issued.certificate))
    return files


class Nginx(Proxy):
    """nginx that staples: in TLS 1.2 and 1.3 on one port, in TLS 1.3 alone on the other."""

    program = "nginx"

    def text(self) -> str:
        """See Proxy."""
        self.files = write_files(self.directory / "zoo")
        files = self.files
        servers = "".join(
            f"server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {versions};\n"
            f"ssl_certificate {files.chain}; ssl_certificate_key {files.key};\n"
            f"ssl_stapling on; ssl_stapling_file {files.staple}; return 404; }}\n"
            for port, versions in ((self.port, "TLSv1.2 TLSv1.3"), (self.plain_port, "TLSv1.3"))
        )
        paths = "".join(
            f"{kind}_temp_path {self.directory}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        return (
            f"{user}worker_processes 1;\ndaemon off;\npid {self.directory}/nginx.pid;\nerror_log stderr;\n"
            f"events {{ worker_connections 64; }}\nhttp {{\naccess_log off;\n{paths}{servers}}}\n"
        )

    def command(self) -> list[str]:
        """See Proxy."""
        return ["nginx", "-p", str(self.directory), "-c", str(self.configuration)]


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One for all."""
    if shutil.which("nginx") is None:
        pytest.skip("no nginx here")
    with Nginx(tmp_path_factory.mktemp("nginx"), [], []) as server:
        yield server


@pytest.mark.parametrize(
    ("case", "words", "words_1_3"),
    [
        ("tls.chain", "TLS 1.2: CN=localhost; CN=intermediate", "TLS 1.3: CN=localhost; CN=intermediate"),
        ("tls.ocsp", "TLS 1.2: stapled: good", "TLS 1.3: stapled: good"),
        ("tls.renegotiation", "a second handshake is refused", "TLS 1.3 alone is spoken"),
    ],
)
async def test_nginx_is_right(nginx: Nginx, case: str, words: str, words_1_3: str) -> None:
    """With its chain and its stapled answer, in both versions."""
    for port, expected in ((nginx.port, words), (nginx.plain_port, words_1_3)):
        result = await put(port, nginx.files.ca, case)
        assert (result.verdict, result.findings) == (PASS, ()), result.finding
        assert expected in result.finding


@asynccontextmanager
async def s_server(files: Files, *options: str) -> AsyncIterator[int]:
    """OpenSSL's own server."""
    command = ["openssl", "s_server", "-accept", "127.0.0.1:{port}", "-www", "-key", str(files.key)]
    server = ServerProcess([*command, *options], url="ws://127.0.0.1:{port}/")
    await server.start()
    try:
        yield int((server.url or "").rpartition(":")[2].strip("/"))
    finally:
        await server.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssls_own_server_is_judged_by_what_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Without the answer it fails; without the intermediate certificate, who signed the answer is open."""
    monkeypatch.setattr(tls_shown, "FETCH_S", 0.0)
    files = write_files(tmp_path)
    chain = ["-cert", str(files.chain)]
    async with s_server(files, *chain, "-cert_chain", str(files.chain), version) as port:
        assert (await put(port, files.ca, "tls.ocsp")).findings[0].kind == "no staple"
    async with s_server(files, *chain, "-status_file", str(files.staple), version) as port:
        assert (await put(port, files.ca, "tls.ocsp")).verdict is UNKNOWN  # its issuer was not sent
        (found,) = (await put(port, files.ca, "tls.chain")).findings
        assert (found.kind, found.severity) == ("incomplete", Severity.FAILURE)


async def test_tls_1_3_alone_is_read_too(tmp_path: Path) -> None:
    """Of a server that speaks nothing else."""
    authority = Authority(tmp_path)
    context = right(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with EchoSite(tls=context) as site:
        assert site.secure_url is not None
        results = [await put(int(site.secure_url.split(":")[2][:-1]), authority.ca, case) for case in CASES]
    assert [result.verdict for result in results] == [PASS] * 3
    assert results[0].finding == "TLS 1.3: CN=localhost"
    assert results[1].finding == "TLS 1.3: no OCSP: nothing to check"
    assert results[2].finding.startswith("TLS 1.3 alone")


@pytest.mark.parametrize("case", CASES)
async def test_what_speaks_no_tls_is_never_passed(case: str) -> None:
    """A server of HTTP, and a port where nobody listens."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        result = await put(server.sockets[0].getsockname()[1], None, case)
    finally:
        server.close()
        await asyncio.sleep(0)
    assert result.verdict is UNKNOWN
    assert "no TLS record: it begins with 48 54 54 50 2f" in result.finding
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        result = await put(held.getsockname()[1], None, case)
    assert result.verdict is UNKNOWN


@asynccontextmanager
async def showing(*turns: Showing) -> AsyncIterator[int]:
    """A server that shows this to the first that comes, that to the second, and the last to all others."""
    shown: set[asyncio.Transport] = set()
    left = list(turns)

    def protocol() -> Responder:
        return Responder(left.pop(0) if len(left) > 1 else left[0], bytes(32), shown)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in list(shown):
            transport.abort()
        await asyncio.sleep(0)


async def test_an_answer_that_comes_with_the_second_handshake_alone_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers fetch it when they are first asked."""
    monkeypatch.setattr(tls_shown, "FETCH_S", 0.0)
    authority = Authority(tmp_path)
    issued = authority.issue(extensions=[MUST_STAPLE])
    certificates = (issued.certificate.public_bytes(serialization.Encoding.DER),)
    late = Showing(certificates, authority.staple(issued.certificate))
    async with showing(Showing(certificates), late) as port:
        result = await put(port, authority.ca, "tls.ocsp")
    assert result.verdict is PASS
    assert [(item.kind, item.severity) for item in result.findings] == [("no staple", Severity.WARNING)]


def _garbage(_: Authority) -> Showing:
    return Showing((b"no certificate at all",))


def _nothing(_: Authority) -> Showing:
    return Showing(())


@pytest.mark.parametrize(
    ("make", "words"), [(_garbage, "a certificate that cannot be read"), (_nothing, "shows no certificate")]
)
@pytest.mark.parametrize("case", ["tls.chain", "tls.ocsp"])
async def test_certificates_that_cannot_be_read_are_undecided(
    tmp_path: Path, make: Callable[[Authority], Showing], words: str, case: str
) -> None:
    """Never a pass, never a stumble."""
    authority = Authority(tmp_path)
    async with showing(make(authority)) as port:
        result = await put(port, authority.ca, case)
    assert result.verdict is UNKNOWN
    assert words in result.finding


async def test_a_server_with_old_ciphers_alone_leaves_renegotiation_open(tmp_path: Path) -> None:
    """We can only go on under AES-GCM and ChaCha20, and it is said that nothing was asked."""
    authority = Authority(tmp_path)
    context = right(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    async with EchoSite(tls=context) as site:
        assert site.secure_url is not None
        result = await put(int(site.secure_url.split(":")[2][:-1]), authority.ca, "tls.renegotiation")
    assert result.verdict is UNKNOWN
    assert "a second handshake could not be asked for" in result.finding


async def test_a_server_that_ends_every_connection_is_not_said_to_refuse(tmp_path: Path) -> None:
    """What it does is no answer to what was asked."""
    authority = Authority(tmp_path)
    context = right(authority)

    async def served(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=context)
    try:
        result = await put(server.sockets[0].getsockname()[1], authority.ca, "tls.renegotiation")
    finally:
        server.close()
        await asyncio.sleep(0)
    assert result.verdict is UNKNOWN
    assert "it ends every connection" in result.finding
