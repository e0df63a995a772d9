"""One certificate, judged whoever trusts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from omega_ai.core.certificates import CertificateInfo
from omega_ai.testkit.tls.certificate import called, issued, judge_certificate, readable, weak_key
from omega_ai.testkit.tls.wire import Malformed
from omega_ai.testkit.zoo.certificates import DAY, Authority


def kinds(authority: Authority, certificate: x509.Certificate) -> set[str]:
    """Of what is found about it."""
    info = CertificateInfo.from_certificate(certificate, now=authority.now)
    return {finding.kind for finding in judge_certificate(certificate, info)}


def test_a_right_one_is_not_accused(authority: Authority) -> None:
    """Of nothing at all; one that demands a stapled answer neither."""
    must_staple = x509.TLSFeature([x509.TLSFeatureType.status_request])
    assert kinds(authority, authority.issue().certificate) == set()
    assert kinds(authority, authority.issue(extensions=[must_staple]).certificate) == set()


def test_each_fault_is_named(authority: Authority) -> None:
    """By a word of its own."""
    short = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    assert kinds(authority, authority.issue(begin=-3 * DAY, end=-DAY).certificate) == {"expired"}
    assert kinds(authority, authority.issue(end=5 * DAY).certificate) == {"expiry"}
    assert kinds(authority, authority.issue(names=()).certificate) == {"name"}
    assert kinds(authority, authority.issue(key=short).certificate) == {"key"}
    assert "authority" in kinds(authority, authority.certificate)


def test_keys_that_hold_are_not_weak(authority: Authority) -> None:
    """EC of 256 bits and more, RSA of 2048 and more."""
    assert weak_key(authority.issue().certificate) is None
    small = authority.issue(key=ec.generate_private_key(ec.SECP224R1())).certificate
    assert weak_key(small) == "an EC key of 224 bits; 256 are the least"


def test_who_signed_it_is_known_by_name_and_key(authority: Authority, tmp_path: Path) -> None:
    """An authority of the same name with another key did not."""
    certificate = authority.issue().certificate
    other = Authority(tmp_path, "authority of the zoo")
    assert issued(certificate, authority.certificate)
    assert other.certificate.subject == authority.certificate.subject
    assert not issued(certificate, other.certificate)
    assert not issued(authority.certificate, certificate)


def test_what_cannot_be_read_is_said(authority: Authority) -> None:
    """When it is loaded, not later."""
    der = authority.issue().certificate.public_bytes(serialization.Encoding.DER)
    assert called(readable(der)) == "CN=localhost"
    broken = der.replace(b"\x2a\x86\x48\xce\x3d\x03\x01\x07", b"\x2a\x86\x48\xce\x3d\x03\x01\x7f")
    assert broken != der
    for data in (b"", b"rubbish", der[:-1], broken):
        with pytest.raises(Malformed, match="a certificate that cannot be read"):
            readable(data)
