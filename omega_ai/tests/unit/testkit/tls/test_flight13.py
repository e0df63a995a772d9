"""The server's first flight in TLS 1.3, decrypted: of a real server, and of those that are at fault."""

from __future__ import annotations

import hashlib
import ssl

import pytest

from omega_ai.testkit.tls.flight import CERTIFICATES_LIMIT, SERVER_HELLO
from omega_ai.testkit.tls.flight13 import Flight13, read_entries
from omega_ai.testkit.tls.wire import (
    ALERT,
    APPLICATION_DATA,
    HANDSHAKE,
    Malformed,
    Records,
    message,
    record,
    vector,
)
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.secure import right, whole_chain
from omega_ai.tests.unit.testkit.tls.server import RANDOM, MemoryServer, read_1_2, read_1_3

VERSION = (43, b"\x03\x04")


def hello(*extensions: tuple[int, bytes], suite: int = 0x1301, random: bytes = RANDOM) -> bytes:
    """A record with a ServerHello."""
    said = b"".join(number.to_bytes(2, "big") + vector(2, of) for number, of in extensions)
    body = b"\x03\x03" + random + b"\x00" + suite.to_bytes(2, "big") + b"\x00" + vector(2, said)
    return record(HANDSHAKE, message(SERVER_HELLO, body))


def test_a_real_server_shows_its_chain(authority: Authority) -> None:
    """The same certificates as in TLS 1.2."""
    context = whole_chain(authority)
    shown = read_1_3(context)
    assert shown.done
    assert shown.alert is None
    assert len(shown.certificates) == 2
    assert shown.staple is None


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1"])
def test_other_key_exchanges_are_understood(authority: Authority, curve: str) -> None:
    """Those that are offered."""
    context = right(authority)
    context.set_ecdh_curve(curve)
    assert read_1_3(context).done


def test_a_server_with_none_of_them_refuses(authority: Authority) -> None:
    """With an alert."""
    context = right(authority)
    context.set_ecdh_curve("secp521r1")
    assert read_1_3(context).alert == "handshake_failure"


def test_a_wish_for_another_key_share_is_refused() -> None:
    """All that are offered were sent along."""
    again = hello(VERSION, random=hashlib.sha256(b"HelloRetryRequest").digest())
    with pytest.raises(Malformed, match="a key exchange that is not offered"):
        Flight13(RANDOM, "localhost").feed(again)


def test_a_server_without_tls_1_3_refuses(authority: Authority) -> None:
    """With an alert, as one without TLS 1.2 refuses that."""
    context = right(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert read_1_3(context).alert == "protocol_version"


def test_a_stapled_answer_is_that_of_the_first_certificate() -> None:
    """Those of others are not looked at."""
    staple = b"\x00\x05" + vector(2, b"\x01" + vector(3, b"first"))
    other = b"\x00\x05" + vector(2, b"\x01" + vector(3, b"second"))
    body = b"\x00" + vector(3, vector(3, b"a") + vector(2, staple) + vector(3, b"b") + vector(2, other))
    assert read_entries(body) == ((b"a", b"b"), b"first")
    with pytest.raises(Malformed, match="certificates"):
        read_entries(b"\x00" + vector(3, (vector(3, b"a") + b"\0\0") * (CERTIFICATES_LIMIT + 1)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hello(), "version 0x0303, which was not offered"),
        (hello(VERSION), "2 bytes announced, 0 there"),
        (hello(VERSION, suite=0xC02B), "cipher suite 0xc02b, which was not offered"),
        (hello(VERSION, (51, b"\x00\x19" + vector(2, b"x"))), "a key share of group 0x0019"),
        (hello(VERSION, (51, b"\x00\x1d" + vector(2, b"x"))), "its key share is none of group 0x001d"),
        (
            hello(VERSION, (51, b"\x00\x17" + vector(2, b"\x04" * 65))),
            "its key share is none of group 0x0017",
        ),
        (record(HANDSHAKE, message(11, b"")), "type 11 before ServerHello"),
        (record(APPLICATION_DATA, b"x" * 40), "a record of type 23"),
    ],
)
def test_what_does_not_belong_there_is_refused(data: bytes, words: str) -> None:
    """With the reason."""
    with pytest.raises(Malformed, match=words):
        Flight13(RANDOM, "localhost").feed(data)


def test_a_record_that_was_altered_is_refused(authority: Authority) -> None:
    """Whatever is said under the keys must be whole."""
    shown = Flight13(RANDOM, "localhost")
    records = list(Records().feed(MemoryServer(right(authority)).answer(shown.opening)))
    first = next(item for item in records if item.kind == APPLICATION_DATA)
    shown.feed(b"".join(record(item.kind, item.data) for item in records if item.kind != APPLICATION_DATA))
    with pytest.raises(Malformed, match="cannot be decrypted"):
        shown.feed(record(APPLICATION_DATA, first.data[:-1] + bytes([first.data[-1] ^ 1])))
    shown.feed(record(APPLICATION_DATA, first.data))


def test_an_alert_ends_it() -> None:
    """Also one that calls itself a warning."""
    flight = Flight13(RANDOM, "localhost")
    flight.feed(record(ALERT, b"\x01\x28"))
    assert flight.alert == "handshake_failure"
    assert flight.over
    assert not flight.done


def test_a_flight_of_tls_1_2_is_none_of_tls_1_3(authority: Authority) -> None:
    """Each reader knows its own."""
    shown = Flight13(RANDOM, "localhost")
    answer = MemoryServer(right(authority)).answer(shown.opening)
    with pytest.raises(Malformed):
        read_1_2(answer)
