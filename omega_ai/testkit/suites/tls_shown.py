"""What the server shows in the TLS handshake and `ssl` does not tell: its chain, OCSP answer, renegotiation.

The TLS suite takes these cases in. TLS 1.2 is asked first, TLS 1.3 where that is not spoken.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from cryptography import x509

from omega_ai.core.certificates import utc
from omega_ai.testkit.case import Need, Outcome, Suite, Undecided, judged, passed
from omega_ai.testkit.context import Context
from omega_ai.testkit.result import Finding
from omega_ai.testkit.tls.certificate import called, readable, undecided, warning
from omega_ai.testkit.tls.chain import ISSUER_UNKNOWN, judge_chain
from omega_ai.testkit.tls.handshakes import NotShown, Shown, only, shake, show
from omega_ai.testkit.tls.renegotiation import Answer
from omega_ai.testkit.tls.second_handshake import ask_again
from omega_ai.testkit.tls.staple import demands_staple, judge_staple, responders
from omega_ai.testkit.tls.wire import Malformed

SHOWN = Suite("tls", "What the handshake shows")

FETCH_S: Final = 1.0
"""How long a server that fetches its OCSP answer when it is first asked is given for it."""


@SHOWN.case(
    "chain",
    "The chain of certificates is whole and in order",
    expectation="the server's own first, each signed by the next, up to an authority that is trusted",
    spec="RFC 5246 section 7.4.2; RFC 8446 section 4.4.2",
    needs=[Need.TLS],
)
async def chain(context: Context) -> Outcome:
    """Read what is sent, link by link; whether its end is trusted is for OpenSSL to say.

    Looked at are order, links, gaps, validity, hashes and keys of what stands above the server's own
    certificate; that itself is the matter of ``tls.certificate``, as is whether its name and root are right.
    """
    shown, sent = await _shown(context)
    verified = await shake(context, context.target.tls_context())
    if verified.done:
        anchored: bool | None = True
    elif verified.verify_code is not None:
        # Another fault (expired, wrong name) is only found once the chain is built.
        anchored = verified.verify_code not in ISSUER_UNKNOWN
    else:
        anchored = None
    findings = judge_chain(
        sent,
        anchored=anchored,
        authority_named=context.target.ca is not None,
        now=utc(context.clock.time_ns()),
    )
    text = f"{shown.version}: {'; '.join(map(called, sent[:6]))}"
    return judged(findings, text, examined=len(sent), figures={"certificates": float(len(sent))})


@SHOWN.case(
    "ocsp",
    "The stapled OCSP answer is there where it must be, and good",
    expectation="there if the certificate demands it; about this certificate, good, of now, rightly signed",
    spec="RFC 6066 section 8; RFC 6960; RFC 7633; RFC 9325 section 7.5",
    needs=[Need.TLS],
)
async def stapled(context: Context) -> Outcome:
    """Ask for it (``status_request``) and judge what comes; the responder itself is not asked.

    A server that fetches the answer only when a client asks is given a second chance, with a warning. Answers
    about intermediate certificates (RFC 6961, and the further entries of TLS 1.3) are not looked at.
    """
    shown, sent = await _shown(context)
    findings = []
    if shown.staple is None and (demands_staple(sent[0]) or responders(sent[0])):
        await asyncio.sleep(FETCH_S)
        shown, sent = await _shown(context)
        if shown.staple is not None:
            findings.append(warning("no staple", "the first handshake had no stapled answer, the second had"))
    others = sent[1:] if shown.staple is None else [*sent[1:], *_trusted(context)]
    text, found = judge_staple(shown.staple, sent[0], others, utc(context.clock.time_ns()))
    return judged([*findings, *found], f"{shown.version}: {text}", examined=1)


@SHOWN.case(
    "renegotiation",
    "Renegotiation is secure, and not for clients to begin",
    expectation="TLS 1.2 announces secure renegotiation, and refuses a client's wish for a second handshake",
    spec="RFC 5746; RFC 7627; RFC 9325 section 3.5",
    needs=[Need.TLS],
)
async def renegotiation(context: Context) -> Outcome:
    """Look for RFC 5746 in ServerHello; then finish one handshake and ask for another within it, once.

    Whoever may do so again and again makes the server do the costly half of a handshake for very little. A
    server is found to allow it as soon as it answers with a second ServerHello; that handshake is not
    finished, so what comes of it, and whether only so many are allowed, is not looked at. It can be asked
    only under AES-GCM or ChaCha20-Poly1305. TLS 1.3 has no renegotiation.
    """
    try:
        shown = await show(context, versions=("TLS 1.2",))
    except NotShown as error:
        if (await shake(context, only(ssl.TLSVersion.TLSv1_3))).done:
            return passed("TLS 1.3 alone is spoken, which has no renegotiation")
        raise Undecided(f"no handshake could be read: {error}") from error
    findings = []
    if not shown.secure_renegotiation:
        text = "secure renegotiation is not announced: clients of today refuse such a server"
        findings.append(Finding(kind="no secure renegotiation", text=text))
    if not shown.extended_master_secret:
        findings.append(warning("master secret", "the extended master secret is not spoken (RFC 7627)"))
    try:
        asked = await ask_again(context, bound=shown.secure_renegotiation)
    except NotShown as error:
        findings.append(
            undecided("client renegotiation", f"a second handshake could not be asked for: {error}")
        )
        return judged(findings, shown.version, examined=1)
    if asked.answer is Answer.ACCEPTED:
        text = (
            "a client may begin a second handshake within a connection: much work for the server, for little"
        )
        findings.append(Finding(kind="client renegotiation", text=text))
        return judged(findings, shown.version, examined=2)
    return judged(findings, f"a second handshake is refused: {asked.how}", examined=2)


async def _shown(context: Context) -> tuple[Shown, list[x509.Certificate]]:
    try:
        shown = await show(context)
    except NotShown as error:
        raise Undecided(f"no handshake could be read: {error}") from error
    if not shown.certificates:
        raise Undecided(f"{shown.version}: the server shows no certificate")
    try:
        return shown, [readable(der) for der in shown.certificates]
    except Malformed as error:
        raise Undecided(f"{shown.version}: {error}") from error


def _trusted(context: Context) -> list[x509.Certificate]:
    """The authorities that are trusted here, as far as they can be listed: one may have signed the answer."""
    found = []
    for der in context.target.tls_context().get_ca_certs(binary_form=True):
        try:
            found.append(readable(der))
        except Malformed:
            continue  # an old root that is not quite right is no matter of this server
    return found
