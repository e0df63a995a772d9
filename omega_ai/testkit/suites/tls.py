"""TLS of the wss address: versions, ciphers, certificate, and what lies around them."""

from __future__ import annotations

import contextlib
import ssl

from cryptography import x509

from omega_ai.core.certificates import CertificateInfo, utc
from omega_ai.testkit.case import Need, Outcome, Suite, Undecided, failed, judged, passed
from omega_ai.testkit.connection import Address, ConnectFailed
from omega_ai.testkit.context import Context
from omega_ai.testkit.raw import RawConnection
from omega_ai.testkit.result import Finding, Severity
from omega_ai.testkit.suites.tls_shown import SHOWN
from omega_ai.testkit.tls.certificate import judge_certificate, warning
from omega_ai.testkit.tls.handshakes import anything, only, shake

SUITE = Suite("tls", "Versions, ciphers and certificate of the wss address")


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
        findings.append(warning("version", "TLS 1.3 is not spoken"))
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
    now = utc(context.clock.time_ns())
    parsed = x509.load_der_x509_certificate(bare.certificate)
    info = CertificateInfo.from_certificate(parsed, now=now)
    verified = await shake(context, context.target.tls_context())
    findings = [] if verified.done else [Finding(kind="certificate", text=verified.error)]
    findings += judge_certificate(parsed, info)
    text = f"for {', '.join(info.names[:4]) or 'no name'}, until {info.not_after:%Y-%m-%d}"
    return judged(findings, text, examined=1, figures={"days_left": float(info.days_left)})


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


# What ssl does not tell is read by hand.
SUITE.cases.extend(SHOWN.cases)
