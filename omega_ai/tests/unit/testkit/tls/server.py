"""A real TLS server in memory: OpenSSL, without a socket."""

from __future__ import annotations

import contextlib
import ssl

from omega_ai.testkit.tls.flight import Flight
from omega_ai.testkit.tls.flight13 import Flight13
from omega_ai.testkit.tls.hello import client_hello, first_record

RANDOM = bytes(range(32))


class MemoryServer:
    """One connection to it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def answer(self, data: bytes) -> bytes:
        """What it says to ``data``."""
        self._incoming.write(data)
        with contextlib.suppress(ssl.SSLError):
            self._tls.do_handshake()
            self._tls.read(1)
        return self._outgoing.read()


def flight_of(context: ssl.SSLContext, name: str = "localhost") -> bytes:
    """All that a server says to our ClientHello for TLS 1.2."""
    return MemoryServer(context).answer(first_record(client_hello(RANDOM, name)))


def read_1_2(data: bytes) -> Flight:
    """A flight, read."""
    flight = Flight()
    flight.feed(data)
    return flight


def read_1_3(context: ssl.SSLContext) -> Flight13:
    """What a server says to our ClientHello for TLS 1.3, read."""
    flight = Flight13(RANDOM, "localhost")
    flight.feed(MemoryServer(context).answer(flight.opening))
    return flight
