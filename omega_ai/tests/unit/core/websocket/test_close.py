"""Close codes and the payload of a close frame (RFC 6455 sections 5.5.1 and 7.4)."""

from __future__ import annotations

import pytest

from omega_ai.core.websocket.close import ProtocolError, close_name, may_be_sent, parse_close_payload


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014])
def test_registered_codes_may_be_sent(code: int) -> None:
    """Section 7.4.1 and the IANA registry."""
    assert may_be_sent(code)


@pytest.mark.parametrize("code", [3000, 3999, 4000, 4999])
def test_codes_of_libraries_and_applications_may_be_sent(code: int) -> None:
    """Section 7.4.2."""
    assert may_be_sent(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_reserved_unassigned_and_local_codes_may_not_be_sent(code: int) -> None:
    """Section 7.4.1: 1004 is reserved; 1005, 1006 and 1015 name a state, and are never on the wire."""
    assert not may_be_sent(code)


def test_every_code_has_a_name() -> None:
    """Logs and errors can always say what a code is."""
    assert close_name(1009) == "message too big"
    assert close_name(3001) == "registered by a library or framework"
    assert close_name(4001) == "private to the application"
    assert close_name(77) == "not a valid close code"


def test_an_empty_payload_means_no_status() -> None:
    """Section 7.1.5: 1005."""
    assert parse_close_payload(b"") == (1005, "")


def test_code_and_reason_are_read() -> None:
    """Section 5.5.1: two bytes in network order, then UTF-8."""
    assert parse_close_payload(b"\x03\xe8") == (1000, "")
    assert parse_close_payload(b"\x0f\xa0" + "müde".encode()) == (4000, "müde")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x03", 1002),
        (b"\x03\xec", 1002),
        (b"\x00\x00", 1002),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8\xc3", 1007),
    ],
)
def test_a_wrong_payload_is_a_protocol_error(payload: bytes, code: int) -> None:
    """One byte, a code that must not be sent (1002), a reason that is not UTF-8 (1007)."""
    with pytest.raises(ProtocolError) as caught:
        parse_close_payload(payload)
    assert caught.value.code == code
