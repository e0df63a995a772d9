"""One client's connection among many at the door: in order, in time, and nothing of it lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.frames import TEXT
from omega_ai.data_feed.access import Context, Gate
from omega_ai.data_feed.broker.memory import MemoryBroker
from omega_ai.data_feed.settings import FeedSettings
from omega_ai.data_feed.websocket.connection import Connection
from omega_ai.data_feed.websocket.hub import Hub
from omega_ai.data_feed.websocket.inlet import SHARE_SECONDS
from omega_ai.data_feed.websocket.server import FeedServer, ServerSettings
from omega_ai.tests.unit.core.websocket.wire import FakeTransport, masked

REQUEST = (
    b"GET /?channels= HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Transport(FakeTransport):
    """One that can be held."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.secure = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object" and self.secure:
            return self
        return super().get_extra_info(name, default)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Clients:
    """Connections of a server whose clock stands still, but for what a test lets pass."""

    def __init__(self) -> None:
        settings = FeedSettings(port=0, source="none", broker="memory", tls_port=None, http_port=None)
        self.clock = ManualClock()
        scheduler = LoopScheduler(asyncio.get_running_loop())
        hub = Hub(self.clock, scheduler, lambda *_: None)
        broker = MemoryBroker(clock=self.clock)
        self.server = FeedServer(
            ServerSettings(
                max_message_size=1 << 20,
                outbox_limit=1 << 20,
                ping_interval=20,
                pong_timeout=20,
                handshake_timeout=10,
                close_timeout=5,
            ),
            Context(settings, hub, broker, None, clock=self.clock),
            hub,
            Gate(settings, None, clock=self.clock, rng=random.Random(1)),
            clock=self.clock,
        )

    def connect(self) -> tuple[Connection, Transport]:
        """A connection that has sent nothing yet."""
        connection, transport = Connection(self.server), Transport()
        connection.connection_made(transport)
        return connection, transport

    def use_up_the_turn(self) -> None:
        """Somebody's message takes long."""
        connection, _ = self.connect()
        connection.data_received(REQUEST)
        self.clock.advance(2 * SHARE_SECONDS)


@pytest.fixture
async def clients() -> Clients:
    """Nobody there yet."""
    return Clients()


async def test_who_comes_in_a_full_turn_is_let_in_in_the_next(clients: Clients) -> None:
    """Nothing more is read from it until then."""
    clients.use_up_the_turn()
    connection, transport = clients.connect()
    connection.data_received(REQUEST)
    assert transport.written == b""
    assert not transport.reading
    await asyncio.sleep(0)
    assert transport.written.startswith(b"HTTP/1.1 101")
    assert transport.reading


async def test_a_handshake_that_waits_for_its_turn_came_in_time(clients: Clients) -> None:
    """It is not told that it was late because the server is."""
    clients.use_up_the_turn()
    connection, transport = clients.connect()
    connection.data_received(REQUEST)
    connection._handshake_timed_out()
    await asyncio.sleep(0)
    assert transport.written.startswith(b"HTTP/1.1 101")


async def test_a_handshake_that_did_not_come_is_given_up(clients: Clients) -> None:
    """With 408."""
    connection, transport = clients.connect()
    connection.data_received(REQUEST[:20])
    connection._handshake_timed_out()
    assert transport.written.startswith(b"HTTP/1.1 408")


async def test_messages_that_waited_are_answered_in_order(clients: Clients) -> None:
    """Each once, also when one was cut in two."""
    connection, transport = clients.connect()
    connection.data_received(REQUEST)
    await asyncio.sleep(0)
    transport.written = b""
    clients.use_up_the_turn()
    frames = b"".join(masked(TEXT, b'{"type":"ping","id":%d}' % number) for number in range(3))
    connection.data_received(frames[:40])
    connection.data_received(frames[40:])
    await asyncio.sleep(0)
    texts = [text[: text.index(b"}") + 1] for text in transport.written.split(b"{")[1:]]
    assert [json.loads(b"{" + text)["id"] for text in texts] == [0, 1, 2]


async def test_who_leaves_while_it_waits_is_forgotten(clients: Clients) -> None:
    """And nobody is hurt by it."""
    clients.use_up_the_turn()
    connection, transport = clients.connect()
    connection.data_received(REQUEST)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    assert transport.written == b""
    assert len(clients.server.inlet) == 0


class Uncounted(set[Connection]):
    """Connections that may be looked up, and not gone through."""

    def __iter__(self) -> Iterator[Connection]:
        raise AssertionError("a reading must cost the same however many clients there are")


async def test_figures_are_read_without_going_through_the_clients(clients: Clients) -> None:
    """Who is there by transport, and what waits for all of them: right after any coming and going."""
    server = clients.server
    opened = []
    for secure in (False, True, False):
        connection, transport = clients.connect()
        transport.secure = secure
        connection.data_received(REQUEST)
        opened.append(connection)
    await asyncio.sleep(0)
    server.connections = Uncounted(server.connections)
    assert server.connections_by_transport() == {"ws": 2, "wss": 1}
    assert server.outbox_bytes() == 0
    for connection, size in zip(opened, (100, 20, 3), strict=True):
        assert connection.session is not None
        connection.session.outbox.blocked = True
        connection.session.outbox.send(b"x" * size)
    assert server.outbox_bytes() == 123
    opened[0].connection_lost(None)
    assert server.outbox_bytes() == 23
    assert server.connections_by_transport() == {"ws": 1, "wss": 1}
    opened[1].on_drained()
    assert server.outbox_bytes() == 3
    for connection in opened[1:]:
        connection.connection_lost(None)
    assert server.outbox_bytes() == 0
    assert server.connections_by_transport() == {"ws": 0, "wss": 0}
