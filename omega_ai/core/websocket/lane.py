"""``Lane``: connections that get the same bytes at the same time, in one system call where that can be."""

from __future__ import annotations

import sys
from typing import Final, Generic, TypeVar

from omega_ai.core.websocket.endpoint import OPEN
from omega_ai.core.websocket.protocol import StreamProtocol
from omega_ai.core.websocket.ring import DATA_LIMIT, SQE_SIZE, Ring, RingError, set_length

MIN_SENDS: Final = 4
"""With fewer ready connections than this, single writes are cheaper than preparing one call."""

Member = TypeVar("Member")


class Lane(Generic[Member]):
    """A group of connections; each may be in one lane, and stands for a ``Member`` of the caller's.

    A connection is *ready* while the kernel can be given bytes for it directly: it is open, not TLS, and its
    transport has no backlog that would be overtaken. ``send`` serves the ready ones. All others are in
    ``waiting``, and are the caller's to write to (through their outboxes): ``send`` returns them. A
    connection moves from one to the other by itself; without a ring, all wait always.
    """

    __slots__ = ("_connections", "_entries", "_length", "_ring", "waiting")

    def __init__(self, ring: Ring | None) -> None:
        self._ring = ring
        self._connections: list[
            tuple[StreamProtocol, Member]
        ] = []  # the ready ones, in the order of _entries
        self._entries = bytearray()
        self._length = 0
        self.waiting: dict[StreamProtocol, Member] = {}

    def __len__(self) -> int:
        return len(self._connections) + len(self.waiting)

    @property
    def ready(self) -> int:
        """How many connections ``send`` serves."""
        return len(self._connections)

    def add(self, connection: StreamProtocol, member: Member) -> None:
        """Let ``connection`` get what is sent from now on."""
        if connection.lane is not None:
            raise ValueError("the connection is in a lane already")
        connection.lane = self
        connection.lane_index = -1
        self.waiting[connection] = member
        self.resume(connection)

    def remove(self, connection: StreamProtocol) -> None:
        """Let ``connection`` get nothing any more; nothing happens if it is not in this lane."""
        if connection.lane is self:
            self.hold(connection)
            del self.waiting[connection]
            connection.lane = None

    def hold(self, connection: StreamProtocol) -> None:
        """``connection`` cannot be written to directly any more. Called by the connection."""
        index = connection.lane_index
        if index < 0:
            return
        connection.lane_index = -1
        self.waiting[connection] = self._connections[index][1]
        # The last entry takes the place of the one that goes.
        last = self._connections.pop()
        entry = self._entries[-SQE_SIZE:]
        del self._entries[-SQE_SIZE:]
        if last[0] is not connection and self._ring is not None:
            fd = int.from_bytes(entry[4:8], sys.byteorder, signed=True)
            self._connections[index] = last
            last[0].lane_index = index
            start = index * SQE_SIZE
            self._entries[start : start + SQE_SIZE] = self._ring.entry(fd, index, self._length)

    def resume(self, connection: StreamProtocol) -> None:
        """``connection`` may be ready again. Called by the connection when its backlog is gone."""
        ring = self._ring
        if (
            ring is None
            or ring.broken
            or connection.lane_index >= 0
            or connection.blocked
            or connection.state != OPEN
        ):
            return
        fd = connection.direct_fd()
        if fd < 0:
            return
        connection.lane_index = index = len(self._connections)
        self._connections.append((connection, self.waiting.pop(connection)))
        self._entries += ring.entry(fd, index, self._length)

    def send(self, data: bytes) -> list[Member]:
        """Give ``data``, whole frames, to all connections that are ready.

        Returns the members that waited before: those the caller has to write to. What a full socket did not
        take goes to its transport, which makes the connection wait from now on.
        """
        ring = self._ring
        if ring is not None and ring.broken:
            self._hold_all()
        others = list(self.waiting.values())
        count = len(self._connections)
        if ring is None or count < MIN_SENDS or len(data) > DATA_LIMIT:
            for connection, _ in list(self._connections):
                connection.write(data)
            return others
        if len(data) != self._length:
            self._length = len(data)
            set_length(self._entries, self._length)
        rests: list[tuple[StreamProtocol, int]] = []
        start = 0
        try:
            with memoryview(self._entries) as entries:
                for start in range(0, count, ring.entries):
                    with entries[start * SQE_SIZE : (start + ring.entries) * SQE_SIZE] as chunk:
                        failed = ring.send(chunk, data)
                    rests += [(self._connections[index][0], result) for index, result in failed]
        except RingError:
            self._give_up(start)
        for connection, result in rests:
            # An error other than "full" is found again, and dealt with, by the transport.
            connection.write(data[max(result, 0) :])
        return others

    def _give_up(self, start: int) -> None:
        """The ring broke. Who got what since ``start`` is unknown: those connections cannot go on."""
        lost = [connection for connection, _ in self._connections[start:]]
        self._hold_all()
        for connection in lost:
            connection.abort()

    def _hold_all(self) -> None:
        for connection, _ in self._connections[::-1]:
            self.hold(connection)
        self._ring = None
