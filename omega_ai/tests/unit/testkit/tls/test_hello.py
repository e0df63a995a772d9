"""Our ClientHello asks for what it is meant to ask for."""

from __future__ import annotations

import pytest

from omega_ai.testkit.tls.hello import (
    EXTENDED_MASTER_SECRET,
    KEY_SHARE,
    RENEGOTIATION_INFO,
    SERVER_NAME,
    STATUS_REQUEST,
    SUPPORTED_VERSIONS,
    client_hello,
)
from omega_ai.testkit.tls.wire import Messages
from omega_ai.testkit.zoo.showing import offers_1_2, read_offer
from omega_ai.tests.unit.testkit.tls.server import RANDOM


def offer(hello: bytes) -> dict[int, bytes]:
    """Its extensions."""
    (message,) = Messages().feed(hello)
    assert message.kind == 1
    return read_offer(message.body)


def test_a_stapled_answer_and_secure_renegotiation_are_asked_for() -> None:
    """And the extended master secret, for the server's name."""
    offered = offer(client_hello(RANDOM, "example.com"))
    assert offered[STATUS_REQUEST] == b"\x01\x00\x00\x00\x00"
    assert offered[RENEGOTIATION_INFO] == b"\x00"
    assert offered[EXTENDED_MASTER_SECRET] == b""
    assert offered[SERVER_NAME].endswith(b"\x00\x0bexample.com")
    assert SUPPORTED_VERSIONS not in offered


@pytest.mark.parametrize("name", ["127.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_not_sent_as_a_name(name: str) -> None:
    """RFC 6066 section 3."""
    assert SERVER_NAME not in offer(client_hello(RANDOM, name))


def test_a_name_of_other_letters_and_one_with_a_dot_at_its_end_are_sent_as_hosts_are_called() -> None:
    """Without the dot; in ASCII."""
    assert offer(client_hello(RANDOM, "bücher.example."))[SERVER_NAME].endswith(b"xn--bcher-kva.example")


def test_a_second_handshake_is_bound_to_the_first() -> None:
    """Or not at all, to a server that does not know of that."""
    bound = client_hello(RANDOM, "example.com", renegotiated=b"finished 12b")
    assert offer(bound)[RENEGOTIATION_INFO] == b"\x0cfinished 12b"
    assert RENEGOTIATION_INFO not in offer(client_hello(RANDOM, "example.com", renegotiated=None))


def test_with_key_shares_tls_1_3_alone_is_offered() -> None:
    """A stapled answer is asked for there too."""
    (message,) = Messages().feed(client_hello(RANDOM, "example.com", shares={0x1D: b"k" * 32}))
    offered = read_offer(message.body)
    assert offered[KEY_SHARE] == b"\x00\x24\x00\x1d\x00\x20" + b"k" * 32
    assert STATUS_REQUEST in offered
    assert RENEGOTIATION_INFO not in offered
    assert not offers_1_2(message.body, offered)
