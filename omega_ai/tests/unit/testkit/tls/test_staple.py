"""Stapled OCSP answers: good ones of both kinds of signers, and every fault they can have."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID as Access
from cryptography.x509.oid import ExtendedKeyUsageOID

from omega_ai.testkit.result import Finding, Severity
from omega_ai.testkit.tls.staple import SKEW, demands_staple, judge_staple, responders
from omega_ai.testkit.zoo.certificates import DAY, Authority, Issued

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
MAY_ANSWER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
FOR_SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])
RESPONDER = x509.AuthorityInformationAccess(
    [x509.AccessDescription(Access.OCSP, x509.UniformResourceIdentifier("http://ocsp.invalid/"))]
)


@pytest.fixture(scope="module")
def own(authority: Authority) -> x509.Certificate:
    """The server's."""
    return authority.issue().certificate


def judge(
    authority: Authority,
    own: x509.Certificate,
    staple: bytes | None,
    *,
    later: timedelta = timedelta(0),
    others: list[x509.Certificate] | None = None,
) -> list[Finding]:
    """What is found about it."""
    known = [own, authority.certificate] if others is None else others
    return judge_staple(staple, own, known, authority.now + later)[1]


def told(findings: list[Finding]) -> list[tuple[str, Severity]]:
    """Kinds and what they mean."""
    return [(finding.kind, finding.severity) for finding in findings]


class TestPresence:
    """Must it be there?"""

    def test_without_ocsp_there_is_nothing_to_check(
        self, authority: Authority, own: x509.Certificate
    ) -> None:
        """And that is said."""
        assert judge_staple(None, own, [], authority.now) == ("no OCSP: nothing to check", [])

    def test_a_certificate_that_demands_it_must_have_it(self, authority: Authority) -> None:
        """RFC 7633, whether it names a responder or not."""
        demanding = authority.issue(extensions=[MUST_STAPLE, RESPONDER]).certificate
        assert demands_staple(demanding)
        assert told(judge(authority, demanding, None)) == [("no staple", Severity.FAILURE)]
        assert judge(authority, demanding, authority.staple(demanding)) == []

    def test_a_responder_without_a_staple_is_a_note(self, authority: Authority) -> None:
        """Clients may ask it themselves."""
        asking = authority.issue(extensions=[RESPONDER]).certificate
        assert not demands_staple(asking)
        assert responders(asking) == ["http://ocsp.invalid/"]
        assert told(judge(authority, asking, None)) == [("no staple", Severity.NOTE)]

    def test_another_feature_demands_nothing(self, authority: Authority) -> None:
        """That of RFC 6961."""
        other = x509.TLSFeature([x509.TLSFeatureType.status_request_v2])
        assert not demands_staple(authority.issue(extensions=[other]).certificate)


class TestContent:
    """What does it say?"""

    def test_a_good_one_is_good(self, authority: Authority, own: x509.Certificate) -> None:
        """With its issuer sent or trusted."""
        text, found = judge_staple(authority.staple(own), own, [authority.certificate], authority.now)
        assert (text, found) == ("stapled: good", [])

    @pytest.mark.parametrize(
        ("status", "kind"),
        [(ocsp.OCSPCertStatus.REVOKED, "revoked"), (ocsp.OCSPCertStatus.UNKNOWN, "unknown status")],
    )
    def test_one_that_is_not_good_is_a_failure(
        self, authority: Authority, own: x509.Certificate, status: ocsp.OCSPCertStatus, kind: str
    ) -> None:
        """Revoked since when and why, or not known."""
        (found,) = judge(authority, own, authority.staple(own, status=status))
        assert told([found]) == [(kind, Severity.FAILURE)]
        assert ("(keyCompromise)" in found.text) == (kind == "revoked")

    def test_it_must_be_about_this_certificate(
        self, authority: Authority, own: x509.Certificate, tmp_path: Path
    ) -> None:
        """By its number and its issuer."""
        other = authority.issue().certificate
        assert told(judge(authority, own, authority.staple(other))) == [("wrong staple", Severity.FAILURE)]
        namesake = Authority(tmp_path, "another authority")
        foreign = namesake.staple(own)
        assert told(judge(authority, own, foreign)) == [("wrong staple", Severity.FAILURE)]

    def test_an_error_is_no_answer(self, authority: Authority, own: x509.Certificate) -> None:
        """It is said which."""
        error = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER)
        (found,) = judge(authority, own, error.public_bytes(serialization.Encoding.DER))
        assert found.text == "an error is stapled in place of an answer: try_later"

    @pytest.mark.parametrize("staple", [b"", b"rubbish", b"\x30\x03\x0a\x01\x00"])
    def test_rubbish_is_none(self, authority: Authority, own: x509.Certificate, staple: bytes) -> None:
        """A failure."""
        assert told(judge(authority, own, staple)) == [("staple", Severity.FAILURE)]


class TestTimes:
    """Does it hold now, give or take what clocks differ by?"""

    @pytest.mark.parametrize(
        ("later", "kind"),
        [
            (DAY + SKEW - SECOND, None),
            (DAY + SKEW + SECOND, "expired staple"),
            (-HOUR - SKEW + SECOND, None),
            (-HOUR - SKEW - SECOND, "early staple"),
        ],
    )
    def test_before_and_after(
        self, authority: Authority, own: x509.Certificate, later: timedelta, kind: str | None
    ) -> None:
        """To the second: OCSP has no parts of one."""
        at = authority.now.replace(microsecond=0) - authority.now + later
        found = judge(authority, own, authority.staple(own, begin=-HOUR, end=DAY), later=at)
        assert told(found) == ([] if kind is None else [(kind, Severity.FAILURE)])

    def test_one_without_an_end_is_a_warning(self, authority: Authority, own: x509.Certificate) -> None:
        """Nobody can say when it is old."""
        staple = authority.staple(own, end=None)
        assert told(judge(authority, own, staple)) == [("staple", Severity.WARNING)]


class TestSigner:
    """May who signed it say so?"""

    def test_a_responder_that_the_issuer_certified_may(
        self, authority: Authority, own: x509.Certificate
    ) -> None:
        """With OCSPSigning."""
        signer = authority.issue(names=("ocsp.invalid",), extensions=[MAY_ANSWER])
        assert judge(authority, own, authority.staple(own, signer=signer)) == []

    def test_others_may_not(self, authority: Authority, own: x509.Certificate, tmp_path: Path) -> None:
        """Without OCSPSigning, of another authority, expired: each with its reason."""
        stranger = Authority(tmp_path, "another authority")
        signers: list[tuple[Issued, str]] = [
            (authority.issue(), "does not allow it (OCSPSigning)"),
            (authority.issue(extensions=[FOR_SERVERS]), "does not allow it (OCSPSigning)"),
            (stranger.issue(extensions=[MAY_ANSWER]), "whom the certificate's issuer did not certify"),
            (authority.issue(begin=-3 * DAY, end=-DAY, extensions=[MAY_ANSWER]), "is not valid now"),
        ]
        for signer, words in signers:
            (found,) = judge(authority, own, authority.staple(own, signer=signer))
            assert told([found]) == [("staple signature", Severity.FAILURE)]
            assert words in found.text

    def test_a_signature_that_fits_nobody_is_wrong(self, authority: Authority, own: x509.Certificate) -> None:
        """One bit is enough."""
        staple = bytearray(authority.staple(own))
        staple[-1] ^= 1
        assert told(judge(authority, own, bytes(staple))) == [("staple signature", Severity.FAILURE)]

    def test_without_the_issuer_it_is_open(self, authority: Authority, own: x509.Certificate) -> None:
        """But what it says is looked at."""
        revoked = authority.staple(own, status=ocsp.OCSPCertStatus.REVOKED)
        assert told(judge(authority, own, authority.staple(own), others=[])) == [
            ("staple signature", Severity.UNKNOWN)
        ]
        assert ("revoked", Severity.FAILURE) in told(judge(authority, own, revoked, others=[]))
