"""Many sends in one system call."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from omega_ai.core.websocket.ring import SQE_SIZE, Ring, open_ring, set_length

Pairs = list[tuple[socket.socket, socket.socket]]


@pytest.fixture
def ring() -> Iterator[Ring]:
    """A small ring, so that its ends are reached."""
    opened = open_ring(4)
    if opened is None:
        pytest.skip("io_uring is not to be had here (kernel, container or OMEGA_IO_URING=0)")
    yield opened
    opened.close()


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    """Connected sockets."""
    made = [socket.socketpair() for _ in range(4)]
    for pair in made:
        for sock in pair:
            sock.setblocking(False)
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


def entries(ring: Ring, sockets: Pairs, length: int) -> memoryview:
    """Entries for the left ends."""
    return memoryview(
        b"".join(ring.entry(left.fileno(), index, length) for index, (left, _) in enumerate(sockets))
    )


def test_all_get_the_same_bytes_as_often_as_one_likes(ring: Ring, pairs: Pairs) -> None:
    """Also where the queues wrap around."""
    for turn in range(20):
        data = b"%d" % turn
        some = pairs[: turn % 4 + 1]
        assert ring.send(entries(ring, some, len(data)), data) == []
        assert [right.recv(100) for _, right in some] == [data] * len(some)


def test_a_full_socket_tells_what_it_took_and_the_others_get_all(ring: Ring, pairs: Pairs) -> None:
    """Never blocking."""
    left, right = pairs[2]
    data = b"x" * 200_000
    for _, reader in pairs:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    for writer, _ in pairs:
        writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    failed = ring.send(entries(ring, pairs, len(data)), data)
    ((index, result),) = failed
    assert index == 2
    assert result == -errno.EAGAIN or 0 < result < len(data)
    assert len(right.recv(1 << 20)) == max(result, 0) if result > 0 else True


def test_a_closed_socket_is_an_error_of_its_own(ring: Ring, pairs: Pairs) -> None:
    """And no signal."""
    pairs[1][1].close()
    assert ring.send(entries(ring, pairs, 2), b"ok") == [(1, -errno.EPIPE)]
    assert pairs[3][1].recv(10) == b"ok"


def test_the_length_is_set_in_every_entry(ring: Ring, pairs: Pairs) -> None:
    """So that entries are built once per connection, not once per message."""
    made = bytearray(entries(ring, pairs, 1))
    set_length(made, 5)
    assert bytes(made) == bytes(entries(ring, pairs, 5))
    assert len(made) == 4 * SQE_SIZE


def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """OMEGA_IO_URING=0."""
    monkeypatch.setenv("OMEGA_IO_URING", "0")
    assert open_ring() is None


def test_where_the_kernel_refuses_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in most containers: no error, no ring."""

    def refuse(self: Ring, entries: int = 0) -> None:
        raise PermissionError(errno.EPERM, "forbidden")

    monkeypatch.setattr(Ring, "__init__", refuse)
    assert open_ring() is None
