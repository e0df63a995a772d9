"""The engine without a network: a transport that remembers, endpoints that record, frames read back."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import ManualScheduler
from omega_ai.core.websocket.client import ClientProtocol, Opening
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import apply_mask, build_frame
from omega_ai.core.websocket.handshake import HandshakeError, accept_value
from omega_ai.core.websocket.server import ServerProtocol

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x12\x34\x56\x78"
REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


class FakeTransport:
    """An asyncio transport of which the other end is a list."""

    def __init__(self, *, tls: bool = False, sock: socket.socket | None = None) -> None:
        self.protocol: ServerProtocol | ClientProtocol | None = None
        self.written = b""
        self.kept = b""
        self.full = False
        self.ended = False
        self.closed = False
        self.aborted = False
        self.tls = tls
        self.sock = sock
        self.high: int | None = None

    def pause_reading(self) -> None:
        """Nothing is received by itself."""

    def resume_reading(self) -> None:
        """Nothing is received by itself."""

    def write(self, data: bytes, /) -> None:
        assert not self.ended, "written after the end of output"
        if self.full:
            first = not self.kept
            self.kept += data
            if first and self.protocol is not None:
                self.protocol.pause_writing()
        else:
            self.written += data

    def drain(self) -> None:
        """The peer reads again."""
        self.full = False
        self.written, self.kept = self.written + self.kept, b""
        if self.protocol is not None:
            self.protocol.resume_writing()

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return not self.tls

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return len(self.kept)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"sslcontext": object() if self.tls else None, "socket": self.sock}.get(name, default)


class Recording:
    """Remembers every event, in order."""

    events: list[tuple[Any, ...]]

    def on_open(self) -> None:
        self.events.append(("open",))

    def on_text(self, data: bytes) -> None:
        self.events.append(("text", data))

    def on_binary(self, data: bytes) -> None:
        self.events.append(("binary", data))

    def on_ping(self, payload: bytes) -> None:
        self.events.append(("ping", payload))

    def on_pong(self, payload: bytes) -> None:
        self.events.append(("pong", payload))

    def on_close(self, code: int, reason: str) -> None:
        self.events.append(("close", code, reason))

    def on_protocol_error(self, code: int, reason: str) -> None:
        self.events.append(("error", code))

    def on_drained(self) -> None:
        self.events.append(("drained",))

    def on_disconnected(self) -> None:
        self.events.append(("disconnected",))

    def on_refused(self, error: HandshakeError) -> None:
        self.events.append(("refused", error))


class RecordingServer(Recording, ServerProtocol):
    """A server's connection that records."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.events = []


class RecordingClient(Recording, ClientProtocol):
    """A client's connection that records."""

    def __init__(self, options: Options, opening: Opening) -> None:
        super().__init__(options, opening)
        self.events = []


class Frame(NamedTuple):
    """One frame as it was on the wire, unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    rsv1: bool = False
    masked: bool = False


def options(**changes: Any) -> tuple[ManualScheduler, Options]:
    """Options on a clock that stands still until told."""
    scheduler = ManualScheduler(ManualClock())
    return scheduler, Options(scheduler=scheduler, **changes)


def open_server(
    kind: type[RecordingServer] = RecordingServer,
    *,
    compression: bool = False,
    tls: bool = False,
    **changes: Any,
) -> tuple[RecordingServer, FakeTransport, ManualScheduler]:
    """A server's connection just after the handshake; neither events nor output so far."""
    scheduler, common = options(**changes)
    server = kind(common)
    transport = FakeTransport(tls=tls)
    transport.protocol = server
    server.connection_made(transport)
    server.data_received((REQUEST + (DEFLATE if compression else "") + "\r\n").encode())
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    server.events.clear()
    transport.written = b""
    return server, transport, scheduler


def open_client(
    *, answer: str = "", opening: dict[str, Any] | None = None, **changes: Any
) -> tuple[RecordingClient, FakeTransport, ManualScheduler]:
    """A client's connection just after the handshake; neither events nor output so far."""
    client, transport, scheduler = begin_client(opening, **changes)
    client.data_received(response(answer))
    assert client.events == [("open",)]
    client.events.clear()
    transport.written = b""
    return client, transport, scheduler


def begin_client(
    opening: dict[str, Any] | None = None, **changes: Any
) -> tuple[RecordingClient, FakeTransport, ManualScheduler]:
    """A client's connection that has sent its request."""
    scheduler, common = options(mask_key=lambda: MASK, **changes)
    client = RecordingClient(common, Opening(host="localhost", target="/", key=KEY, **(opening or {})))
    transport = FakeTransport()
    transport.protocol = client
    client.connection_made(transport)
    return client, transport, scheduler


def response(more: str = "", status: str = "101 Switching Protocols") -> bytes:
    """A server's answer to ``KEY``."""
    return (
        f"HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_value(KEY)}\r\n{more}\r\n"
    ).encode()


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A frame from a client."""
    return build_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=MASK)


def read_frames(data: bytes) -> list[Frame]:
    """Frames out of what was written, by a reader of its own."""
    frames = []
    while data:
        first, second = data[0], data[1]
        size, start = second & 127, 2
        if size > 125:
            wide = 2 if size == 126 else 8
            size, start = int.from_bytes(data[2 : 2 + wide], "big"), 2 + wide
        is_masked = second > 127
        mask = b""
        if is_masked:
            mask, start = data[start : start + 4], start + 4
        payload = data[start : start + size]
        assert len(payload) == size, "an incomplete frame was written"
        if is_masked:
            payload = apply_mask(payload, mask)
        frames.append(Frame(first & 15, payload, first > 127, bool(first & 64), is_masked))
        data = data[start + size :]
    return frames
