"""Keys and records, against vectors that others published, and against each other."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from omega_ai.testkit.tls.protection import Protection12, Scheme, expand_label, prf, scheme_of
from omega_ai.testkit.tls.wire import APPLICATION_DATA, HANDSHAKE, Malformed, Record, Records


def test_the_function_of_tls_1_2_is_that_of_the_published_vector() -> None:
    """For SHA-256, as it goes round on the IETF's list for TLS."""
    out = prf(
        "sha256",
        bytes.fromhex("9bbe436ba940f017b17652849a71db35"),
        b"test label",
        bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c"),
        100,
    )
    assert out.hex() == (
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af"
        "0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )


def test_the_labels_of_tls_1_3_are_those_of_rfc_8448() -> None:
    """Section 3: the early secret without a key, and what is derived from it."""
    early = hmac.digest(bytes(32), bytes(32), "sha256")
    assert early.hex() == "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"
    derived = expand_label("sha256", early, b"derived", hashlib.sha256().digest(), 32)
    assert derived.hex() == "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba"
    with pytest.raises(ValueError, match="33 bytes are more than a block"):
        expand_label("sha256", early, b"key", b"", 33)


@pytest.mark.parametrize(
    ("cipher", "scheme"),
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", Scheme("sha256", 16)),
        ("AES256-GCM-SHA384", Scheme("sha384", 32)),
        ("DHE-RSA-CHACHA20-POLY1305", Scheme("sha256", 32, chacha=True)),
        ("ECDHE-RSA-AES128-SHA256", None),
        ("ECDHE-ECDSA-AES128-CCM", None),
    ],
)
def test_a_suite_is_known_by_its_name(cipher: str, scheme: Scheme | None) -> None:
    """Or is not ours."""
    assert scheme_of(cipher) == scheme


@pytest.mark.parametrize("scheme", [Scheme("sha256", 16), Scheme("sha256", 32, chacha=True)])
def test_what_is_sealed_can_be_opened_once_and_in_turn(scheme: Scheme) -> None:
    """Out of turn, altered, cut off or as another type it cannot."""
    key, prefix = bytes(range(scheme.key_bytes)), bytes(range(scheme.prefix_bytes))
    ours, theirs = Protection12(scheme, key, prefix), Protection12(scheme, key, prefix)
    first, second = Records().feed(ours.seal(HANDSHAKE, b"first") + ours.seal(APPLICATION_DATA, b""))
    for wrong in (
        second,
        Record(APPLICATION_DATA, first.version, first.data),
        first._replace(data=first.data[:-1] + bytes([first.data[-1] ^ 1])),
        first._replace(data=first.data[:10]),
    ):
        with pytest.raises(Malformed):
            theirs.open(wrong)
    assert theirs.open(first) == b"first"
    assert theirs.open(second) == b""
    with pytest.raises(Malformed):
        theirs.open(first)
