"""What is said about a certificate, from PEM, DER and files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.certificates import CertificateError, CertificateInfo, parse_certificates, utc
from omega_ai.tests.certificates import Authority, new_key, self_signed

NOW = datetime.now(UTC).replace(microsecond=0)


def test_pem_der_and_file_say_the_same(tmp_path: Path) -> None:
    """Whichever way the certificate comes."""
    issued = Authority(now=NOW).issue()
    der = issued.certificate.public_bytes(serialization.Encoding.DER)
    certificate, _ = issued.write(tmp_path)
    expected = CertificateInfo.from_certificate(issued.certificate, now=NOW)
    assert CertificateInfo.from_der(der, now=NOW) == expected
    assert CertificateInfo.from_pem(issued.certificate_pem, now=NOW) == expected
    assert CertificateInfo.from_file(certificate, now=NOW) == expected
    assert expected.names == ("localhost", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("seconds", "days", "expired"), [(90_000, 1, False), (1, 0, False), (0, 0, False), (-1, -1, True)]
)
def test_days_left_are_whole_days(seconds: int, days: int, expired: bool) -> None:
    """A certificate on its last day has 0 left, and a negative number is one that has expired."""
    certificate = Authority(now=NOW).issue(end=NOW + timedelta(seconds=seconds)).certificate
    info = CertificateInfo.from_certificate(certificate, now=NOW)
    assert (info.days_left, info.expired) == (days, expired)


def test_naming_itself_as_issuer_is_not_being_self_signed() -> None:
    """The signature decides: here another key made it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "same")])
    key, other = new_key(), new_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(other, hashes.SHA256())
    )
    info = CertificateInfo.from_certificate(certificate, now=NOW)
    assert not info.self_signed
    assert info.names == ()
    assert CertificateInfo.from_pem(self_signed(now=NOW).certificate_pem, now=NOW).self_signed


@given(st.binary(max_size=300))
def test_bytes_that_are_no_certificate_are_an_error_in_words(data: bytes) -> None:
    """From a peer or from a file: never another exception."""
    with pytest.raises(CertificateError):
        CertificateInfo.from_der(data, now=NOW)
    pem = b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----END CERTIFICATE-----\n"
    with pytest.raises(CertificateError, match="the text"):
        parse_certificates(pem, "the text")


def test_a_clocks_time_is_aware() -> None:
    """Nanoseconds since 1970, in UTC."""
    assert utc(1_767_225_600_500_000_000) == datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
