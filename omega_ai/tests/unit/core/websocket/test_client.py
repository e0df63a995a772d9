"""A client's side: the request, the answer, and a refusal that says why."""

from __future__ import annotations

import pytest

from omega_ai.core.websocket.client import BODY_LIMIT, ClientProtocol, Opening
from omega_ai.core.websocket.deflate import DeflateParams
from omega_ai.core.websocket.frames import build_frame
from omega_ai.core.websocket.handshake import HandshakeError, parse_request
from omega_ai.tests.unit.core.websocket.wire import KEY, RecordingClient, begin_client, options, response


def error_of(client: RecordingClient) -> HandshakeError:
    """The one event: the connection was refused."""
    ((kind, error),) = client.events
    assert kind == "refused"
    assert isinstance(error, HandshakeError)
    return error


def test_the_request_asks_for_what_was_wanted() -> None:
    """RFC 6455 section 4.1."""
    _, transport, _ = begin_client(
        {"subprotocols": ("omega.v2",), "compression": True, "headers": (("Authorization", "Bearer x"),)}
    )
    request = parse_request(transport.written.removesuffix(b"\r\n\r\n"))
    assert request.header("sec-websocket-key") == KEY
    assert request.header("sec-websocket-protocol") == "omega.v2"
    assert request.header("authorization") == "Bearer x"
    assert str(request.header("sec-websocket-extensions")).startswith("permessage-deflate;")


def test_a_right_answer_opens_the_connection() -> None:
    """Also when it comes byte by byte with the first message behind it."""
    client, _, _ = begin_client({"subprotocols": ("omega.v2",), "compression": True})
    answer = "Sec-WebSocket-Protocol: omega.v2\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    for byte in response(answer) + build_frame(1, b"first"):
        client.data_received(bytes([byte]))
    assert client.events == [("open",), ("text", b"first")]
    assert client.subprotocol == "omega.v2"
    assert client.compression == DeflateParams(receive_takeover=True)
    assert client.response is not None


@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_a_refusal_tells_status_headers_and_body(cut: int) -> None:
    """Servers say in the body why."""
    client, transport, _ = begin_client()
    text = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 9\r\n\r\nslow down"
    for start in range(0, len(text), cut):
        client.data_received(text[start : start + cut])
    error = error_of(client)
    assert error.response is not None
    assert (error.response.status, error.response.header("retry-after")) == (429, "3")
    assert error.body == b"slow down"
    assert transport.aborted


def test_a_body_of_unknown_length_is_awaited_within_bounds() -> None:
    """To the end of the connection, to the bound, or to the deadline."""
    head = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    client, _, _ = begin_client()
    client.data_received(head + b"no")
    client.connection_lost(None)
    assert error_of(client).body == b"no"
    client, _, _ = begin_client()
    client.data_received(head + b"x" * 10_000)
    assert len(error_of(client).body) == BODY_LIMIT
    client, _, scheduler = begin_client(handshake_timeout=3.0)
    client.data_received(head + b"no")
    scheduler.advance(3.1)
    assert error_of(client).body == b"no"


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-x\r\n\r\n", response().replace(b"s3pP", b"S3pP"), b"x" * 20_000],
)
def test_an_answer_that_is_wrong_fails_the_handshake(answer: bytes) -> None:
    """Section 4.1: with words, and the connection is cut."""
    client, transport, _ = begin_client()
    client.data_received(answer)
    assert error_of(client).reason
    assert transport.aborted


def test_no_answer_fails_the_handshake() -> None:
    """In time, or when the server hangs up."""
    client, transport, scheduler = begin_client(handshake_timeout=3.0)
    scheduler.advance(3.1)
    assert "within 3 s" in error_of(client).reason
    assert transport.aborted
    client, _, _ = begin_client()
    client.connection_lost(ConnectionResetError("reset"))
    assert "reset" in error_of(client).reason


def test_an_open_connection_has_no_deadline() -> None:
    """The handshake's timer has stopped."""
    client, transport, scheduler = begin_client(handshake_timeout=3.0)
    client.data_received(response())
    scheduler.advance(1000)
    assert not transport.aborted


def test_a_client_cannot_be_made_without_masking() -> None:
    """Section 5.3."""
    with pytest.raises(ValueError, match="mask_key"):
        ClientProtocol(options()[1], Opening(host="x", target="/", key=KEY))
