"""The same bytes to many connections: order is kept, whatever a connection does meanwhile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.frames import EMPTY_CLOSE, TEXT, text_frame
from omega_ai.core.websocket.lane import MIN_SENDS, Lane
from omega_ai.core.websocket.ring import DATA_LIMIT, Ring, RingError, open_ring
from omega_ai.core.websocket.server import ServerProtocol
from omega_ai.tests.unit.core.websocket.wire import REQUEST, masked, open_server, read_frames

MANY = 11


class Member(ServerProtocol):
    """A connection that joins the lane when it opens."""

    __slots__ = ("lane_to_join",)

    def __init__(self, options: Options, lane: Lane[Member]) -> None:
        super().__init__(options)
        self.lane_to_join = lane

    def on_open(self) -> None:
        self.lane_to_join.add(self, self)

    def on_disconnected(self) -> None:
        self.lane_to_join.remove(self)


@pytest.fixture
def ring() -> Ring:
    """A ring smaller than the number of connections."""
    opened = open_ring(4)
    if opened is None:
        pytest.skip("io_uring is not to be had here (kernel, container or OMEGA_IO_URING=0)")
    return opened


@asynccontextmanager
async def clients(
    lane: Lane[Member], count: int
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """A server on loopback whose connections are in ``lane``, and clients of it."""
    loop = asyncio.get_running_loop()
    options = Options(scheduler=LoopScheduler(loop), close_timeout=0.5)
    server = await loop.create_server(
        lambda: cast(asyncio.BaseProtocol, Member(options, lane)), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    made = []
    for _ in range(count):
        # Small buffers and a small limit, so that a client which does not read fills the server's soon.
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
        writer.write((REQUEST + "\r\n").encode())
        await reader.readuntil(b"\r\n\r\n")
        made.append((reader, writer))
    try:
        yield made
    finally:
        for _, writer in made:
            writer.close()
        server.close()
        await _until(lambda: len(lane) == 0)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


def send(lane: Lane[Member], data: bytes) -> None:
    """What the owner of a lane does: the ready ones by the lane, the others itself."""
    for member in lane.send(data):
        member.write(data)


@pytest.mark.parametrize("count", [1, MIN_SENDS, MANY])
async def test_every_connection_gets_everything_in_order(ring: Ring, count: int) -> None:
    """With sizes that change, and one larger than a ring can send."""
    lane: Lane[Member] = Lane(ring)
    sizes = [1, 1, 200, 70_000, 3, DATA_LIMIT + 1, 5]
    frames = [text_frame(b"%d " % number + b"x" * size) for number, size in enumerate(sizes)]
    async with clients(lane, count) as readers:
        assert lane.ready == count
        for frame in frames:
            send(lane, frame)
        for reader, _ in readers:
            assert await reader.readexactly(sum(map(len, frames))) == b"".join(frames)
        await _until(lambda: lane.ready == count)


async def test_a_connection_with_a_backlog_waits_and_comes_back(ring: Ring) -> None:
    """Nothing overtakes what its transport holds, and the others are served all the while."""
    lane: Lane[Member] = Lane(ring)
    frames = [text_frame(b"%4d " % number + b"x" * 50_000) for number in range(200)]
    whole = b"".join(frames)
    async with clients(lane, MANY) as readers:
        slow = readers[3][0]
        others = [
            asyncio.ensure_future(reader.readexactly(len(whole)))
            for reader, _ in readers
            if reader is not slow
        ]
        for frame in frames:
            send(lane, frame)
            await asyncio.sleep(0)
        assert [bytes(data) for data in await asyncio.gather(*others)] == [whole] * (MANY - 1)
        assert len(lane.waiting) == 1
        assert await slow.readexactly(len(whole)) == whole
        await _until(lambda: lane.ready == MANY)
        send(lane, text_frame(b"end"))
        assert await slow.readexactly(5) == text_frame(b"end")


async def test_a_connection_that_closes_gets_nothing_after_its_close_frame(ring: Ring) -> None:
    """RFC 6455 section 5.5.1; and one that was cut is forgotten."""
    lane: Lane[Member] = Lane(ring)
    async with clients(lane, MANY) as readers:
        readers[0][1].write(masked(8))
        await _until(lambda: lane.ready < MANY)
        send(lane, text_frame(b"late"))
        assert await readers[0][0].read() == EMPTY_CLOSE
        readers[4][1].transport.abort()
        await _until(lambda: lane.ready == MANY - 2)
        send(lane, text_frame(b"on"))
        for reader, _ in readers[5:]:
            assert await reader.readexactly(10) == text_frame(b"late") + text_frame(b"on")


async def test_without_a_ring_all_wait() -> None:
    """The owner's own loop serves them: the same code everywhere."""
    lane: Lane[Member] = Lane(None)
    async with clients(lane, 3) as readers:
        assert (lane.ready, len(lane.waiting)) == (0, 3)
        send(lane, text_frame(b"x"))
        for reader, _ in readers:
            assert await reader.readexactly(3) == text_frame(b"x")


async def test_a_ring_that_breaks_cuts_those_of_whom_nothing_is_known(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes might be missing or be there: the connection cannot go on. Later ones are served without it."""
    lane: Lane[Member] = Lane(ring)

    def broken(self: Ring, entries: memoryview, data: bytes) -> list[tuple[int, int]]:
        self.broken = True
        raise RingError("broken")

    async with clients(lane, MANY) as readers:
        monkeypatch.setattr(Ring, "send", broken)
        lane.send(text_frame(b"x"))
        await _until(lambda: len(lane) == 0)
        for reader, _ in readers:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)


async def test_a_ring_that_broke_elsewhere_is_done_without(ring: Ring) -> None:
    """Nothing of this lane was under way: all its connections go on, by their owner's writes."""
    lane: Lane[Member] = Lane(ring)
    async with clients(lane, MANY) as readers:
        ring.broken = True
        send(lane, text_frame(b"x"))
        assert lane.ready == 0
        for reader, _ in readers:
            assert await reader.readexactly(3) == text_frame(b"x")


def test_tls_and_closing_connections_are_never_ready(ring: Ring) -> None:
    """TLS is the transport's to write; and a connection is in one lane only."""
    lane: Lane[str] = Lane(ring)
    secure, transport, _ = open_server(tls=True)
    lane.add(secure, "secure")
    assert (lane.ready, list(lane.waiting.values())) == (0, ["secure"])
    lane.send(text_frame(b"x"))
    assert transport.written == b""
    with pytest.raises(ValueError, match="already"):
        Lane[str](ring).add(secure, "again")
    lane.remove(secure)
    lane.remove(secure)
    assert len(lane) == 0


def test_members_leave_and_come_in_any_order(ring: Ring) -> None:
    """The entries follow: each connection's bytes go to its own socket."""
    lane: Lane[int] = Lane(ring)
    pairs = [socket.socketpair() for _ in range(8)]
    servers = []
    for number, (left, _) in enumerate(pairs):
        server, transport, _ = open_server()
        transport.sock = left
        lane.add(server, number)
        servers.append(server)
    for number in (0, 7, 3):
        lane.remove(servers[number])
    lane.add(servers[3], 3)
    lane.send(text_frame(b"hello"))
    got = {}
    for number, (left, right) in enumerate(pairs):
        right.setblocking(False)
        try:
            got[number] = [frame.payload for frame in read_frames(right.recv(100)) if frame.opcode == TEXT]
        except BlockingIOError:
            got[number] = []
        left.close()
        right.close()
    assert got == {number: [] if number in (0, 7) else [b"hello"] for number in range(8)}
