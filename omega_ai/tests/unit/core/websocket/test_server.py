"""A server's side from the first byte: the request, its bounds, its refusals."""

from __future__ import annotations

import logging

import pytest

from omega_ai.core.websocket.deflate import DeflateParams
from omega_ai.core.websocket.handshake import REQUEST_LIMIT, Refusal, Request, Upgrade, check_upgrade
from omega_ai.core.websocket.protocol import TLS_BACKLOG
from omega_ai.tests.unit.core.websocket.wire import (
    DEFLATE,
    REQUEST,
    FakeTransport,
    RecordingServer,
    masked,
    open_server,
    options,
)


def waiting(
    kind: type[RecordingServer] = RecordingServer,
) -> tuple[RecordingServer, FakeTransport]:
    """A connection on which nothing has come yet."""
    server, transport = kind(options()[1]), FakeTransport()
    server.connection_made(transport)
    return server, transport


def test_the_upgrade_is_answered_and_the_connection_opens() -> None:
    """RFC 6455 section 4.2.2."""
    server, transport = waiting()
    server.data_received((REQUEST + DEFLATE + "\r\n").encode())
    assert transport.written.startswith(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
    assert transport.written.endswith(b"\r\n\r\n")
    assert server.events == [("open",)]
    assert server.compression == DeflateParams()


def test_the_request_may_come_byte_by_byte_and_frames_right_behind_it() -> None:
    """However TCP cuts it."""
    stream = (REQUEST + "\r\n").encode() + masked(1, b"early")
    server, _ = waiting()
    for byte in stream:
        server.data_received(bytes([byte]))
    assert server.events == [("open",), ("text", b"early")]
    server, _ = waiting()
    server.data_received(stream)
    assert server.events == [("open",), ("text", b"early")]


def test_a_refusal_is_an_http_answer_with_words() -> None:
    """Status, headers, text, and the end of the connection; no event, since there never was one to end."""
    server, transport = waiting()
    server.data_received(REQUEST.replace("13", "8").encode() + b"\r\n")
    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in head
    assert b"\r\nConnection: close\r\n" in head
    assert f"\r\nContent-Length: {len(body)}".encode() in head
    assert body == b"WebSocket version '8' is not supported; version 13 (RFC 6455) is\n"
    assert transport.ended
    server.data_received(masked(1, b"x"))
    server.connection_lost(None)
    assert server.events == []


def test_a_request_without_end_is_refused() -> None:
    """431 at the bound, in one go or bit by bit."""
    server, transport = waiting()
    server.data_received(b"GET / HTTP/1.1\r\nA: " + b"x" * REQUEST_LIMIT)
    assert transport.written.startswith(b"HTTP/1.1 431 ")
    server, transport = waiting()
    for _ in range(REQUEST_LIMIT // 64 + 1):
        server.data_received(b"x" * 64)
    assert transport.written.startswith(b"HTTP/1.1 431 ")
    server, transport = waiting()
    server.data_received(b"GET / HTTP/1.1\r\nA: " + b"x" * REQUEST_LIMIT + b"\r\n\r\n")
    assert transport.written.startswith(b"HTTP/1.1 431 ")


def test_a_request_that_does_not_come_is_answered_408() -> None:
    """After handshake_timeout; then the connection is bounded as any that closes."""
    scheduler, common = options(handshake_timeout=3.0, close_timeout=2.0)
    server, transport = RecordingServer(common), FakeTransport()
    server.connection_made(transport)
    server.data_received(b"GET / HT")
    scheduler.advance(2.9)
    assert transport.written == b""
    scheduler.advance(0.2)
    assert transport.written.startswith(b"HTTP/1.1 408 ")
    scheduler.advance(2.0)
    assert transport.aborted


def test_the_timer_stops_when_the_connection_opens() -> None:
    """An open connection has no deadline."""
    _, transport, scheduler = open_server(handshake_timeout=3.0)
    scheduler.advance(1000)
    assert not transport.aborted
    assert transport.written == b""


def test_what_is_no_http_is_refused() -> None:
    """A TLS client hello on the plain port, for example."""
    server, transport = waiting()
    server.data_received(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert transport.written.startswith(b"HTTP/1.1 400 ")


def test_the_application_decides_on_requests() -> None:
    """Before anything is spent on the client."""

    class Choosy(RecordingServer):
        def on_request(self, request: Request) -> Upgrade:
            if request.target != "/live":
                raise Refusal(404, "there is /live", (("X-Hint", "live"),))
            return check_upgrade(request, subprotocols=("omega.v2",))

    server, transport = waiting(Choosy)
    server.data_received((REQUEST + "\r\n").encode())
    assert transport.written.startswith(b"HTTP/1.1 404 Not Found\r\nX-Hint: live\r\n")
    server, transport = waiting(Choosy)
    more = "Sec-WebSocket-Protocol: omega.v2\r\n\r\n"
    server.data_received((REQUEST.replace("GET /", "GET /live") + more).encode())
    assert b"\r\nSec-WebSocket-Protocol: omega.v2\r\n" in transport.written


def test_a_defect_in_the_application_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """Logged, answered, and no exception reaches the event loop."""

    class Broken(RecordingServer):
        def on_request(self, request: Request) -> Upgrade:
            raise ValueError("defect")

    server, transport = waiting(Broken)
    with caplog.at_level(logging.ERROR):
        server.data_received((REQUEST + "\r\n").encode())
    assert transport.written.startswith(b"HTTP/1.1 500 ")
    assert b"defect" not in transport.written
    assert len(caplog.records) == 1


def test_a_client_that_leaves_during_its_handshake_is_no_event() -> None:
    """There is nothing to end."""
    server, _ = waiting()
    server.data_received(b"GET /")
    server.connection_lost(ConnectionResetError())
    assert server.events == []


@pytest.mark.parametrize(("tls", "high"), [(False, 0), (True, TLS_BACKLOG)])
def test_a_backlog_is_what_the_kernel_did_not_take(tls: bool, high: int) -> None:
    """Over TLS every write passes through a buffer, which is a backlog only from some size on."""
    _, transport, _ = open_server(tls=tls)
    assert transport.high == high
