"""TLS of the wss address: versions, ciphers, certificate, and what lies around them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from omega_ai.core.certificates import CertificateInfo, certificate_names
from omega_ai.core.client_tls import client_context, explain
from omega_ai.testkit.case import Need, Outcome, Suite, Undecided, failed, judged, passed
from omega_ai.testkit.connection import Address, ConnectFailed
from omega_ai.testkit.context import Context
from omega_ai.testkit.raw import RawConnection
from omega_ai.testkit.result import Finding, Severity

SUITE = Suite("tls", "Versions, ciphers and certificate of the wss address")

WAIT_S = 5.0
RENEW_DAYS = 14
NOT_HERE = frozenset(
    {"NO_PROTOCOLS_AVAILABLE", "NO_CIPHERS_AVAILABLE", "NO_CIPHER_MATCH", "UNSUPPORTED_PROTOCOL"}
)
"""Reasons of OpenSSL by which it is we who cannot, not the server who will not."""
WEAK_HASHES = frozenset({"md5", "sha1"})


class Shaken:
    """What a handshake came to."""

    def __init__(self, tls: ssl.SSLObject | None = None, error: str = "", ours: bool = False) -> None:
        self.version = None if tls is None else tls.version()
        self.cipher = None if tls is None else tls.cipher()
        self.alpn = None if tls is None else tls.selected_alpn_protocol()
        self.compression = None if tls is None else tls.compression()
        self.certificate = None if tls is None else tls.getpeercert(binary_form=True)
        self.error = error
        self.ours = ours
        """It failed here, before the server was asked."""

    @property
    def done(self) -> bool:
        """Whether the handshake succeeded."""
        return self.version is not None


async def shake(context: Context, tls: ssl.SSLContext, *, name: str | None = None) -> Shaken:
    """One TLS handshake with the secure address, and nothing after it."""
    assert context.target.secure_url is not None  # noqa: S101 - the suite's cases need it
    address = Address.of(context.target.secure_url)
    try:
        async with asyncio.timeout(WAIT_S):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=tls, server_hostname=name or address.host
            )
    except TimeoutError:
        return Shaken(error=f"no answer within {WAIT_S:g} s")
    except ssl.SSLCertVerificationError as error:
        return Shaken(error=explain(error, address.host))
    except ssl.SSLError as error:
        return Shaken(error=error.reason or str(error), ours=error.reason in NOT_HERE)
    except OSError as error:
        return Shaken(error=error.strerror or str(error))
    shaken = Shaken(writer.get_extra_info("ssl_object"))
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return shaken


def anything(change: Callable[[ssl.SSLContext], None]) -> ssl.SSLContext:
    """A context that verifies nothing and refuses no old cipher, changed by ``change``."""
    tls = client_context(verify=False)
    with warnings.catch_warnings():
        # Python warns of the old versions that we ask for on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        tls.set_ciphers("ALL:@SECLEVEL=0")
        change(tls)
    return tls


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A context for one version."""

    def change(tls: ssl.SSLContext) -> None:
        tls.minimum_version = tls.maximum_version = version

    return anything(change)


@SUITE.case(
    "versions",
    "TLS 1.2 or 1.3, and nothing older",
    expectation="TLS 1.0 and 1.1 are refused, TLS 1.2 or 1.3 is spoken; best both",
    spec="RFC 8996; RFC 9325 section 3.1.1",
    needs=[Need.TLS],
)
async def versions(context: Context) -> Outcome:
    """A handshake with each version."""
    names = {
        "TLS 1.0": ssl.TLSVersion.TLSv1,
        "TLS 1.1": ssl.TLSVersion.TLSv1_1,
        "TLS 1.2": ssl.TLSVersion.TLSv1_2,
        "TLS 1.3": ssl.TLSVersion.TLSv1_3,
    }
    found = {name: await shake(context, only(version)) for name, version in names.items()}
    spoken = [name for name, shaken in found.items() if shaken.done]
    findings = [
        Finding(kind="old version", text=f"{name} is spoken, which is broken and forbidden")
        for name in ("TLS 1.0", "TLS 1.1")
        if found[name].done
    ]
    findings += [
        Finding(kind="old version", text=f"this OpenSSL cannot try {name}", severity=Severity.UNKNOWN)
        for name in ("TLS 1.0", "TLS 1.1")
        if found[name].ours
    ]
    if not found["TLS 1.2"].done and not found["TLS 1.3"].done:
        raise Undecided(f"no handshake at all: {found['TLS 1.3'].error}", *findings)
    if not found["TLS 1.3"].done:
        findings.append(_warning("version", "TLS 1.3 is not spoken"))
    return judged(findings, f"spoken: {', '.join(spoken)}", examined=len(found))


WEAK = (
    ("without encryption", "eNULL", Severity.FAILURE),
    ("without authentication", "aNULL:!eNULL", Severity.FAILURE),
    ("RC4, DES, 3DES, IDEA, SEED or export", "RC4:DES:3DES:IDEA:SEED:EXPORT:LOW", Severity.FAILURE),
    ("without forward secrecy", "kRSA:!eNULL:!aNULL", Severity.WARNING),
    ("CBC with SHA-1", "ECDHE+AES+SHA1:DHE+AES+SHA1", Severity.WARNING),
)


@SUITE.case(
    "ciphers",
    "No weak cipher",
    expectation="none without encryption or authentication, no 3DES; best forward secrecy and AEAD alone",
    spec="RFC 9325 section 4",
    needs=[Need.TLS],
)
async def ciphers(context: Context) -> Outcome:
    """Offer only weak ones, kind by kind, in TLS 1.2."""
    findings: list[Finding] = []
    tried = 0
    for name, offered, severity in WEAK:

        def change(tls: ssl.SSLContext, offered: str = offered) -> None:
            tls.maximum_version = ssl.TLSVersion.TLSv1_2
            tls.set_ciphers(f"{offered}:@SECLEVEL=0")

        try:
            tls = anything(change)
        except ssl.SSLError:
            continue  # this OpenSSL has none of the kind
        shaken = await shake(context, tls)
        if shaken.ours:
            continue
        tried += 1
        if shaken.done and shaken.cipher is not None:
            findings.append(Finding(kind="cipher", text=f"{name}: {shaken.cipher[0]}", severity=severity))
    best = await shake(context, anything(lambda _: None))
    chosen = best.cipher[0] if best.cipher is not None else f"none ({best.error})"
    return judged(findings, f"chosen: {chosen}; {tried} kinds of weak cipher tried", examined=tried)


@SUITE.case(
    "certificate",
    "The certificate is valid for the name",
    expectation="trusted, for this name, not expired nor about to, a key and a signature that hold",
    spec="RFC 5280; RFC 9525",
    needs=[Need.TLS],
)
async def certificate(context: Context) -> Outcome:
    """Verify it, then read it."""
    bare = await shake(context, anything(lambda _: None))
    if bare.certificate is None:
        raise Undecided(f"no certificate was seen: {bare.error or 'the server shows none'}")
    now = datetime.fromtimestamp(context.clock.time_ns() / 1e9, tz=UTC)
    parsed = x509.load_der_x509_certificate(bare.certificate)
    info = CertificateInfo.from_certificate(parsed, now=now)
    verified = await shake(context, context.target.tls_context())
    findings = [] if verified.done else [Finding(kind="certificate", text=verified.error)]
    findings += judge_certificate(parsed, info)
    text = f"for {', '.join(info.names[:4]) or 'no name'}, until {info.not_after:%Y-%m-%d}"
    return judged(findings, text, examined=1, figures={"days_left": float(info.days_left)})


def judge_certificate(parsed: x509.Certificate, info: CertificateInfo) -> list[Finding]:
    """What is wrong with a certificate, whoever trusts it."""
    found: list[Finding] = []
    if info.expired:
        found.append(Finding(kind="expired", text=f"expired on {info.not_after:%Y-%m-%d %H:%M} UTC"))
    elif info.days_left < RENEW_DAYS:
        found.append(_warning("expiry", f"expires in {info.days_left} days"))
    if not certificate_names(parsed):
        found.append(Finding(kind="name", text="it has no subjectAltName, so it is for no name at all"))
    hashed = parsed.signature_hash_algorithm
    if hashed is not None and hashed.name in WEAK_HASHES and not info.self_signed:
        found.append(Finding(kind="signature", text=f"signed with {hashed.name}, which can be forged"))
    weak = weak_key(parsed)
    if weak is not None:
        found.append(Finding(kind="key", text=weak))
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        if parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            found.append(
                _warning("authority", "the server's certificate may sign others: it is an authority's")
            )
    with contextlib.suppress(x509.ExtensionNotFound, ValueError):
        features = parsed.extensions.get_extension_for_class(x509.TLSFeature).value
        if x509.TLSFeatureType.status_request in features:
            text = "it demands an OCSP answer in the handshake (must-staple), which is not looked at here"
            found.append(Finding(kind="ocsp", text=text, severity=Severity.NOTE))
    return found


def weak_key(parsed: x509.Certificate) -> str | None:
    """Why its key is too weak; None if it is not."""
    key = parsed.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"an RSA key of {key.key_size} bits; 2048 are the least" if key.key_size < 2048 else None
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"an EC key of {key.key_size} bits; 256 are the least" if key.key_size < 256 else None
    if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return None
    return f"a key of a kind that browsers do not take: {type(key).__name__}"


@SUITE.case(
    "compression",
    "TLS does not compress",
    expectation="no compression, by which secrets can be guessed",
    spec="RFC 9325 section 3.3",
    needs=[Need.TLS],
)
async def compression(context: Context) -> Outcome:
    """Offer it in TLS 1.2, where this OpenSSL can."""

    def change(tls: ssl.SSLContext) -> None:
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.options &= ~ssl.OP_NO_COMPRESSION

    shaken = await shake(context, anything(change))
    if not shaken.done:
        shaken = await shake(context, anything(lambda _: None))
    if not shaken.done:
        raise Undecided(f"no handshake: {shaken.error}")
    if shaken.compression is not None:
        return failed(f"it compresses with {shaken.compression}")
    return passed("not compressed")


@SUITE.case(
    "plain-on-secure-port",
    "The secure port speaks TLS alone",
    expectation="a handshake without TLS is not upgraded there",
    spec="RFC 6455 section 10.6",
    needs=[Need.TLS],
)
async def plain_on_secure_port(context: Context) -> Outcome:
    """A right WebSocket handshake, without TLS."""
    assert context.target.secure_url is not None  # noqa: S101 - the case needs it
    plain = "ws://" + context.target.secure_url.removeprefix("wss://")
    address = Address.of(plain, context.profile.connect.query)
    try:
        async with RawConnection.open(context, address) as raw:
            answer = await raw.upgrade(address)
    except ConnectFailed as error:
        raise Undecided(f"no TCP connection: {error}") from error
    if answer is not None and answer.status == 101:
        return failed("the secure port upgrades without TLS: what is said there can be read by anybody")
    return passed("refused" if answer is None else f"refused with HTTP {answer.status}")


@SUITE.case(
    "silent-handshakes",
    "TLS handshakes that are never begun keep nobody out",
    expectation="newcomers are served over TLS beside 30 silent connections",
    needs=[Need.TLS],
    destructive=True,
)
async def silent_handshakes(context: Context) -> Outcome:
    """Thirty sockets on the secure port that say nothing."""
    assert context.target.secure_url is not None  # noqa: S101 - the case needs it
    address = Address.of("ws://" + context.target.secure_url.removeprefix("wss://"))
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(30):
            await stack.enter_async_context(RawConnection.open(context, address))
        try:
            newcomer = await context.connect("newcomer", url=context.target.secure_url, must=False)
        except ConnectFailed as error:
            if error.stage == "tls":
                raise Undecided(f"no TLS at all: {error}") from error
            return failed(f"a newcomer was kept out: {error}", by_silence=error.late)
        seconds = await context.round_trip(newcomer)
    return passed(f"a newcomer was answered in {seconds * 1000:.1f} ms")


def _warning(kind: str, text: str) -> Finding:
    return Finding(kind=kind, text=text, severity=Severity.WARNING)
