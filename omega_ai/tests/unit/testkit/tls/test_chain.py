"""Chains as they are sent: right ones, in disorder, with gaps, with too much."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID as Access

from omega_ai.testkit.result import Finding, Severity
from omega_ai.testkit.tls.chain import access, judge_chain, path_from
from omega_ai.testkit.zoo.certificates import DAY, Authority


@dataclass(frozen=True)
class Chain:
    """Root, two intermediates, a server, and one that has nothing to do with them."""

    root: x509.Certificate
    upper: x509.Certificate
    lower: x509.Certificate
    own: x509.Certificate
    stranger: x509.Certificate


@pytest.fixture(scope="module")
def chain(authority: Authority) -> Chain:
    """One for all."""
    upper = authority.below("upper")
    lower = upper.below("lower")
    stranger = authority.below("stranger")
    own = lower.issue().certificate
    return Chain(authority.certificate, upper.certificate, lower.certificate, own, stranger.certificate)


def judge(
    authority: Authority,
    *sent: x509.Certificate,
    anchored: bool | None = True,
    named: bool = True,
    later: timedelta = timedelta(0),
) -> list[Finding]:
    """What is found about what was sent."""
    return judge_chain(sent, anchored=anchored, authority_named=named, now=authority.now + later)


def told(findings: list[Finding]) -> list[tuple[str, Severity]]:
    """Kinds and what they mean."""
    return [(finding.kind, finding.severity) for finding in findings]


def test_a_whole_chain_is_right(authority: Authority, chain: Chain) -> None:
    """Up to below the root, which need not be sent."""
    assert judge(authority, chain.own, chain.lower, chain.upper) == []


def test_the_root_itself_is_a_note(authority: Authority, chain: Chain) -> None:
    """It is allowed, and useless."""
    found = judge(authority, chain.own, chain.lower, chain.upper, chain.root)
    assert told(found) == [("root", Severity.NOTE)]


def test_one_that_signed_itself_lacks_nothing(authority: Authority) -> None:
    """Whether it is trusted is another question."""
    assert judge(authority, authority.issue(self_signed=True).certificate, anchored=False) == []


def test_a_gap_is_named(authority: Authority, chain: Chain) -> None:
    """By the certificate that is missing, wherever it is missing."""
    (found,) = judge(authority, chain.own, anchored=False)
    assert told([found]) == [("incomplete", Severity.FAILURE)]
    assert found.text == (
        "an intermediate certificate is missing: CN=lower, which signed CN=localhost, was not sent, "
        "and is no authority that is trusted here"
    )
    (found,) = judge(authority, chain.own, chain.lower, anchored=False)
    assert "CN=upper, which signed CN=lower" in found.text


def test_with_the_systems_authorities_it_may_be_the_root_that_is_not_known(
    authority: Authority, chain: Chain
) -> None:
    """Then it is open; unless the certificate says where its signer's can be had."""
    assert told(judge(authority, chain.own, anchored=False, named=False)) == [
        ("incomplete", Severity.UNKNOWN)
    ]
    where = x509.AuthorityInformationAccess(
        [x509.AccessDescription(Access.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.invalid/c"))]
    )
    own = authority.issue(extensions=[where]).certificate
    assert access(own, Access.CA_ISSUERS) == ["http://ca.invalid/c"]
    assert access(own, Access.OCSP) == []
    (found,) = judge(authority, own, anchored=False, named=False)
    assert told([found]) == [("incomplete", Severity.FAILURE)]
    assert "http://ca.invalid/c" in found.text


def test_what_could_not_be_seen_is_open(authority: Authority, chain: Chain) -> None:
    """Never a pass."""
    assert told(judge(authority, chain.own, anchored=None)) == [("incomplete", Severity.UNKNOWN)]


def test_disorder_is_named(authority: Authority, chain: Chain) -> None:
    """With the right order; also something strange in between."""
    (found,) = judge(authority, chain.own, chain.upper, chain.lower)
    assert told([found]) == [("order", Severity.FAILURE)]
    assert found.text.endswith("signed it: CN=localhost, CN=lower, CN=upper")
    (found,) = judge(authority, chain.own, chain.stranger, chain.lower, chain.upper)
    assert told([found]) == [("order", Severity.FAILURE)]


def test_the_servers_own_must_be_first(authority: Authority, chain: Chain) -> None:
    """It is said if it is not."""
    (found,) = judge(authority, chain.lower, chain.own)
    assert told([found]) == [("order", Severity.FAILURE)]
    assert "begins with CN=lower, which signed CN=localhost" in found.text


@pytest.mark.parametrize("extra", ["stranger", "own"])
def test_what_is_too_much_is_a_warning(authority: Authority, chain: Chain, extra: str) -> None:
    """A stranger at the end, or one twice."""
    found = judge(authority, chain.own, chain.lower, chain.upper, getattr(chain, extra))
    assert told(found) == [("superfluous", Severity.WARNING)]


def test_an_intermediate_that_expired_is_named(authority: Authority, chain: Chain) -> None:
    """The server's own is the matter of another case."""
    found = judge(authority, chain.own, chain.lower, chain.upper, later=40 * DAY)
    assert told(found) == [("expired", Severity.FAILURE)] * 2
    assert found[0].text.startswith("CN=lower expired on ")


def test_a_circle_has_an_end(authority: Authority, chain: Chain) -> None:
    """However often it is sent."""
    sent = [chain.root, chain.root, chain.upper, chain.upper]
    assert path_from(sent) == [chain.root]
