"""The socket that clients connect to."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from omega_ai.testkit.proxy.address import join_host_port, listen_address

BACKLOG: Final = 1024
PAUSE: Final = 0.1
"""Seconds for which nothing is accepted when descriptors have run out."""
_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Accepts connections while ``room`` says that there is room for one more."""

    def __init__(
        self,
        sock: socket.socket,
        accepted: Callable[[socket.socket, str], None],
        room: Callable[[], bool],
    ) -> None:
        self.address = join_host_port(*sock.getsockname()[:2])
        """Where it listens, with the port that was picked."""
        self._sock = sock
        self._accepted = accepted
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._accepting = False
        self._pause: asyncio.TimerHandle | None = None
        self.look()

    @classmethod
    async def open(
        cls, listen: str, accepted: Callable[[socket.socket, str], None], room: Callable[[], bool]
    ) -> Listener:
        """Listen at ``listen``; ``accepted`` gets each client's socket and address.

        Raises:
            OSError: the address is not there, or in use.
            BadAddress: ``listen`` is no address.
        """
        loop = asyncio.get_running_loop()
        family, address = await loop.run_in_executor(None, listen_address, listen)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            sock.bind(address)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        return cls(sock, accepted, room)

    def close(self) -> None:
        """Listen no more: whoever connects is refused."""
        if self._pause is not None:
            self._pause.cancel()
        self._watch(False)
        self._sock.close()

    def look(self) -> None:
        """Accept again, if there is room."""
        self._pause = None
        if self._sock.fileno() >= 0 and self._room():
            self._watch(True)

    def _watch(self, on: bool) -> None:
        if on is not self._accepting:
            self._accepting = on
            if on:
                self._loop.add_reader(self._sock.fileno(), self._acceptable)
            else:
                self._loop.remove_reader(self._sock.fileno())

    def _acceptable(self) -> None:
        while self._accepting:
            if not self._room():
                self._watch(False)
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _OUT_OF_DESCRIPTORS:
                    raise
                self._watch(False)
                self._pause = self._loop.call_later(PAUSE, self.look)
                return
            sock.setblocking(False)
            self._accepted(sock, join_host_port(*address[:2]))
