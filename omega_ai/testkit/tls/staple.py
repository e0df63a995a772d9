"""Judges a stapled OCSP answer: is it there, about this certificate, good, of now, signed by who may? Pure.

RFC 6066 section 8 (how it is asked for), RFC 6960 (what it says), RFC 7633 (a certificate that demands it).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import ExtendedKeyUsageOID

from omega_ai.testkit.result import Finding
from omega_ai.testkit.tls.certificate import UNREADABLE, called, issued, note, undecided, warning
from omega_ai.testkit.tls.chain import access

SKEW: Final = timedelta(minutes=5)
"""By so much may clocks differ."""


def demands_staple(certificate: x509.Certificate) -> bool:
    """Whether it has the TLS feature ``status_request`` (RFC 7633), known as must-staple."""
    with contextlib.suppress(x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        features = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
        return x509.TLSFeatureType.status_request in features
    return False


def responders(certificate: x509.Certificate) -> list[str]:
    """Where its status can be asked for."""
    return access(certificate, Access.OCSP)


def judge_staple(
    staple: bytes | None, certificate: x509.Certificate, others: Sequence[x509.Certificate], now: datetime
) -> tuple[str, list[Finding]]:
    """What there is to say, in a few words, and what is wrong.

    Args:
        staple: the answer, DER; None: there was none.
        certificate: the server's own.
        others: among them its issuer, sent or trusted.
        now: an aware time.
    """
    if staple is None:
        return _judge_absence(certificate)
    try:
        response = ocsp.load_der_ocsp_response(staple)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            text = f"an error is stapled in place of an answer: {response.response_status.name.lower()}"
            return "stapled", [Finding(kind="staple", text=text)]
        return _judge_response(response, certificate, others, now)
    except UnsupportedAlgorithm as error:
        return "stapled", [undecided("staple", f"what is stapled is of a kind not known here: {error}")]
    except UNREADABLE as error:
        return "stapled", [Finding(kind="staple", text=f"what is stapled cannot be read: {error}")]


def _judge_absence(certificate: x509.Certificate) -> tuple[str, list[Finding]]:
    if demands_staple(certificate):
        text = "the certificate demands a stapled answer (must-staple), and none came: some clients refuse it"
        return "nothing stapled", [Finding(kind="no staple", text=text)]
    where = responders(certificate)
    if not where:
        return "no OCSP: nothing to check", []
    text = f"nothing is stapled, though a responder is named: who wants to know must ask {where[0][:200]}"
    return "nothing stapled", [note("no staple", text)]


def _judge_response(
    response: ocsp.OCSPResponse,
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    now: datetime,
) -> tuple[str, list[Finding]]:
    issuer = next((one for one in others if issued(certificate, one)), None)
    answers = list(response.responses)
    about = next((one for one in answers if _is_about(one, certificate, issuer)), None)
    if about is None:
        numbers = ", ".join(f"{one.serial_number:x}" for one in answers[:3]) or "none"
        text = f"it is about another certificate: {numbers}, not {certificate.serial_number:x}"
        return "stapled", [Finding(kind="wrong staple", text=text)]
    found = [*_judge_status(about), *_judge_times(about, now), *_judge_signer(response, issuer, now)]
    return f"stapled: {about.certificate_status.name.lower()}", found


def _is_about(
    answer: ocsp.OCSPSingleResponse, certificate: x509.Certificate, issuer: x509.Certificate | None
) -> bool:
    """The same number, and the same issuer where that is known (RFC 6960 section 4.1.1)."""
    if answer.serial_number != certificate.serial_number:
        return False
    if issuer is None:
        return True
    wanted = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, answer.hash_algorithm).build()
    return (answer.issuer_name_hash, answer.issuer_key_hash) == (
        wanted.issuer_name_hash,
        wanted.issuer_key_hash,
    )


def _judge_status(answer: ocsp.OCSPSingleResponse) -> list[Finding]:
    if answer.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return []
    if answer.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        when, why = answer.revocation_time_utc, answer.revocation_reason
        text = "the certificate is revoked"
        text += f", since {_minute(when)}" if when is not None else ""
        text += f" ({why.value})" if why is not None else ""
        return [Finding(kind="revoked", text=text)]
    return [Finding(kind="unknown status", text="the responder does not know the certificate")]


def _judge_times(answer: ocsp.OCSPSingleResponse, now: datetime) -> list[Finding]:
    begin, end = answer.this_update_utc, answer.next_update_utc
    if begin > now + SKEW:
        return [Finding(kind="early staple", text=f"the stapled answer holds from {_minute(begin)} on alone")]
    if end is None:
        return [warning("staple", f"the stapled answer of {_minute(begin)} does not say until when it holds")]
    if end < now - SKEW:
        return [Finding(kind="expired staple", text=f"the stapled answer held until {_minute(end)}")]
    return []


def _judge_signer(
    response: ocsp.OCSPResponse, issuer: x509.Certificate | None, now: datetime
) -> list[Finding]:
    """The issuer, or whom it lets answer (RFC 6960 section 4.2.2.2)."""
    if issuer is None:
        text = "the stapled answer's signature is not looked at: the issuer was not sent and is not known"
        return [undecided("staple signature", text)]
    if _signed_by(response, issuer):
        return []
    delegate = next((one for one in response.certificates if _signed_by(response, one)), None)
    if delegate is None:
        return [Finding(kind="staple signature", text="the stapled answer's signature is wrong")]
    wrong = []
    if not issued(delegate, issuer):
        wrong.append("whom the certificate's issuer did not certify")
    if not _may_answer(delegate):
        wrong.append("whose certificate does not allow it (OCSPSigning)")
    if not delegate.not_valid_before_utc - SKEW <= now <= delegate.not_valid_after_utc + SKEW:
        wrong.append("whose certificate is not valid now")
    if wrong:
        text = f"the stapled answer is signed by {called(delegate)}, {' and '.join(wrong)}"
        return [Finding(kind="staple signature", text=text)]
    return []


def _may_answer(certificate: x509.Certificate) -> bool:
    with contextlib.suppress(x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return ExtendedKeyUsageOID.OCSP_SIGNING in usage
    return False


def _signed_by(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    """Whether its signature is that of the key in ``certificate``.

    Raises:
        UnsupportedAlgorithm: by an algorithm that is not known here.
    """
    key = certificate.public_key()
    hashed = response.signature_hash_algorithm
    signature, data = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, rsa.RSAPublicKey) and hashed is not None:
            key.verify(signature, data, padding.PKCS1v15(), hashed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and hashed is not None:
            key.verify(signature, data, ec.ECDSA(hashed))
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
