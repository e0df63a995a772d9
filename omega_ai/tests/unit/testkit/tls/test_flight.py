"""The server's first flight in TLS 1.2: of a real server, of one that staples, of those that are at fault."""

from __future__ import annotations

import pytest

from omega_ai.testkit.tls.flight import BYTES_LIMIT, CERTIFICATES_LIMIT, Flight, read_certificates
from omega_ai.testkit.tls.hello import EXTENDED_MASTER_SECRET, RENEGOTIATION_INFO, STATUS_REQUEST
from omega_ai.testkit.tls.wire import ALERT, HANDSHAKE, Malformed, message, record, vector
from omega_ai.testkit.zoo.certificates import Authority
from omega_ai.testkit.zoo.secure import whole_chain
from omega_ai.testkit.zoo.showing import Showing
from omega_ai.tests.unit.testkit.tls.server import RANDOM, flight_of, read_1_2

ASKED = {STATUS_REQUEST: b"", RENEGOTIATION_INFO: b"", EXTENDED_MASTER_SECRET: b""}
SHOWING = Showing((b"a certificate", b"another" * 2000), b"an OCSP answer")
HELLO = b"\x03\x03" + RANDOM + b"\x00\xc0\x2b\x00"


def test_a_real_server_shows_its_chain(authority: Authority) -> None:
    """And that its renegotiation is secure; it cannot staple."""
    flight = read_1_2(flight_of(whole_chain(authority)))
    assert flight.done
    assert flight.alert is None
    assert len(flight.certificates) == 2
    assert flight.staple is None
    assert flight.hello is not None
    assert flight.hello.secure_renegotiation
    assert flight.hello.extended_master_secret


def test_a_stapled_answer_is_read() -> None:
    """From a flight that is cut anywhere."""
    stream = SHOWING.flight(RANDOM, ASKED)
    flight = Flight()
    for at in range(0, len(stream), 7):
        assert not flight.over
        flight.feed(stream[at : at + 7])
    assert flight.done
    assert flight.certificates == SHOWING.certificates
    assert flight.staple == b"an OCSP answer"


def test_what_was_not_asked_for_is_not_said() -> None:
    """No staple, no secure renegotiation."""
    flight = read_1_2(SHOWING.flight(RANDOM, {}))
    assert flight.done
    assert flight.staple is None
    assert flight.hello is not None
    assert not flight.hello.secure_renegotiation
    assert not flight.hello.extended_master_secret


def test_what_follows_the_end_is_not_looked_at() -> None:
    """Whether it comes with it or later."""
    assert read_1_2(SHOWING.flight(RANDOM, ASKED) + b"rubbish").done


def test_a_fatal_alert_ends_it_and_a_warning_does_not() -> None:
    """What comes after the end is not looked at."""
    flight = read_1_2(record(ALERT, b"\x01\x70"))
    assert not flight.over
    flight.feed(record(ALERT, b"\x02\x46") + record(HANDSHAKE, message(2, b"rubbish")))
    assert flight.alert == "protocol_version"
    assert flight.over
    assert not flight.done
    assert read_1_2(record(ALERT, b"\x02\xc8")).alert == "alert 200"
    assert read_1_2(record(ALERT, b"\x01\x00")).alert == "close_notify"


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (record(23, b"x"), "a record of type 23"),
        (record(HANDSHAKE, message(11, b"\0\0\0")), "a handshake message of type 11 before ServerHello"),
        (record(HANDSHAKE, message(2, HELLO[:-1])), "1 bytes announced, 0 there"),
        (record(HANDSHAKE, message(2, HELLO + b"\0\0\0")), "1 bytes too many"),
        (record(HANDSHAKE, message(2, HELLO) * 2), "type 2, which does not belong there"),
        (record(HANDSHAKE, message(2, HELLO) + message(20, b"")), "type 20, which does not belong there"),
        (record(HANDSHAKE, message(2, HELLO) + message(22, b"\x01\0\0\0")), "type 22, which does not belong"),
        (
            record(HANDSHAKE, message(2, HELLO + vector(2, b"\x00\x2b\x00\x02\x03\x04"))),
            "version 0x0304, which was not offered",
        ),
    ],
)
def test_what_does_not_belong_there_is_refused(records: bytes, words: str) -> None:
    """With the reason."""
    with pytest.raises(Malformed, match=words):
        read_1_2(records)


def test_a_status_of_another_kind_is_refused() -> None:
    """We asked for OCSP."""
    shown = message(2, HELLO) + message(11, vector(3, vector(3, b"x"))) + message(22, b"\x02\0\0\x01x")
    with pytest.raises(Malformed, match="a certificate's status of type 2"):
        read_1_2(record(HANDSHAKE, shown))


def test_too_much_is_refused() -> None:
    """Certificates without number, a flight without end."""
    with pytest.raises(Malformed, match=f"more than {CERTIFICATES_LIMIT} certificates"):
        read_certificates(vector(3, b"x") * (CERTIFICATES_LIMIT + 1))
    endless = record(HANDSHAKE, message(0, b"") * 1000)
    times = BYTES_LIMIT // len(endless)
    flight = read_1_2(endless * times)
    assert not flight.over
    with pytest.raises(Malformed, match=f"more than {BYTES_LIMIT} bytes"):
        flight.feed(endless)
