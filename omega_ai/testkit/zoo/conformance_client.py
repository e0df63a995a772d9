"""A client with any set of faults that sends back what it is sent, and comes again when a connection ends.

What the suite for clients has to catch. Without a fault it is right. Its frames are the faulty server's, the
roles changed: neither reads them with the engine.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
from typing import ClassVar, Final
from urllib.parse import urlsplit

from omega_ai.core.websocket.handshake import accept_value
from omega_ai.core.websocket.headers import parse_extensions
from omega_ai.testkit.zoo.conformance_server import DEEDS, RULES, FaultyPeer

OWN: Final[dict[str, str]] = {
    "no-mask": "does not mask its frames",
    "same-mask": "masks every frame with the same key",
    "counting-mask": "counts its masking keys up",
    "any-accept": "does not look at Sec-WebSocket-Accept",
    "any-status": "takes any status for 101",
    "any-upgrade": "does not look at Upgrade",
    "any-connection": "does not look at Connection",
    "any-extension": "takes an extension that it did not offer",
    "any-parameters": "does not look at the parameters of what was agreed",
    "any-subprotocol": "takes a subprotocol that it did not offer",
    "case-of-headers": "finds headers only if they are spelt as it would",
    "one-packet": "forgets frames that come in one packet with the answer",
    "same-key": "uses one Sec-WebSocket-Key for all connections",
    "short-key": "sends a Sec-WebSocket-Key of 8 bytes",
    "old-version": "asks for version 8",
    "no-host": "sends no Host",
    "http-1.0": "asks in HTTP/1.0",
    "no-pong": "answers no ping",
    "stays": "does not end its side of TCP when the server has ended its own",
}
"""Faults that only a client can have."""
SHARED: Final = (
    "mask", "rsv", "opcode", "sign-bit", "control-size", "control-fragment", "lone-continuation",
    "interleaved", "utf8", "close-code", "close-one-byte", "close-utf8", "deflate-data", "deflate-rsv",
    "corrupts", "cuts-long", "swaps-kind", "loses-fragments", "sets-rsv", "long-lengths", "wrong-pong",
    "late-pong", "pongs-twice", "answers-pongs", "wrong-code", "hangs", "no-close", "wrong-close", "goes-on",
    "wide-window", "keeps-context", "forgets-context", "bad-deflate", "wrong-limit",
)  # fmt: skip
"""Those of the faulty server that a client can have too."""
CLIENT_FAULTS: Final = {**{name: (RULES | DEEDS)[name] for name in SHARED}, **OWN} | {
    "mask": "takes frames that are masked"
}
_OFFER: Final = "permessage-deflate; client_max_window_bits"
_SAME_KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="


class FaultyCaller(FaultyPeer):
    """One connection of the client."""

    reads_masked: ClassVar[bool] = False

    def __init__(self, client: FaultyClient) -> None:
        super().__init__(client)
        self._client = client
        self._count = 0
        self.over = asyncio.Event()
        faults = self._faults
        size = 8 if "short-key" in faults else 16
        self._asked = (
            _SAME_KEY if "same-key" in faults else base64.b64encode(client.rng.randbytes(size)).decode()
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once."""
        super().connection_made(transport)
        faults = self._faults
        lines = [
            f"GET {self._client.target} HTTP/{'1.0' if 'http-1.0' in faults else '1.1'}",
            *([] if "no-host" in faults else [f"Host: {self._client.host}"]),
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._asked}",
            f"Sec-WebSocket-Version: {8 if 'old-version' in faults else 13}",
            f"Sec-WebSocket-Extensions: {_OFFER}",
        ]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        super().connection_lost(exc)
        self.over.set()

    def eof_received(self) -> bool:
        """The server has ended its side."""
        return "stays" in self._faults

    def _greet(self) -> bool:
        head, mark, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not mark:
            if len(head) > 65_536:
                self.transport.abort()
            return False
        self._buffer = bytearray() if "one-packet" in self._faults else bytearray(rest)
        lines = head.decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            spelt = name if "case-of-headers" in self._faults else name.lower()
            headers[spelt.lower() if name == name.title() or name in _KNOWN else spelt] = value.strip(" \t")
        if not self._is_right(lines[0].split(" "), headers):
            self._dead = True
            self.transport.close()
            return False
        self._open = True
        return True

    def _is_right(self, status: list[str], headers: dict[str, str]) -> bool:
        faults = self._faults
        right = {
            "any-status": status[:2] == ["HTTP/1.1", "101"],
            "any-upgrade": headers.get("upgrade", "").lower() == "websocket",
            "any-connection": "upgrade" in headers.get("connection", "").lower(),
            "any-accept": headers.get("sec-websocket-accept") == accept_value(self._asked),
            "any-subprotocol": "sec-websocket-protocol" not in headers,
        }
        if any(not good and fault not in faults for fault, good in right.items()):
            return False
        agreed = headers.get("sec-websocket-extensions")
        return agreed is None or self._take(agreed)

    def _take(self, agreed: str) -> bool:
        try:
            chosen = parse_extensions([agreed])
        except ValueError:
            return False
        if len(chosen) != 1 or chosen[0].name != "permessage-deflate":
            return "any-extension" in self._faults
        params = dict(chosen[0].params)
        if not _are_right(params, len(chosen[0].params)) and "any-parameters" not in self._faults:
            return False
        # What the faulty server calls server is the one with the fault.
        other = {"server": "client", "client": "server"}
        self._deflate = {
            other[name[:6]] + name[6:]: value for name, value in params.items() if name[:6] in other
        }
        return True

    def _key(self) -> bytes | None:
        faults = self._faults
        self._count += 1
        if "no-mask" in faults:
            return None
        if "same-mask" in faults:
            return b"\x37\xfa\x21\x3d"
        return self._count.to_bytes(4, "big") if "counting-mask" in faults else self._client.rng.randbytes(4)

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode != 9 or "no-pong" not in self._faults:
            super()._control(opcode, payload)

    def _end(self, code: bytes) -> None:
        """Send the close frame; the end of TCP is for the server."""
        if not self._closed:
            self._write(8, code)
        self._closed = True
        self._dead = "goes-on" not in self._faults


_KNOWN: Final = ("Sec-WebSocket-Accept", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")
_BITS: Final = tuple(str(bits) for bits in range(8, 16))


def _are_right(params: dict[str, str | None], count: int) -> bool:
    if len(params) != count:
        return False
    flags = ("server_no_context_takeover", "client_no_context_takeover")
    bits = ("server_max_window_bits", "client_max_window_bits")
    return all(
        (name in flags and value is None) or (name in bits and value in _BITS)
        for name, value in params.items()
    )


class FaultyClient:
    """Comes to ``url`` again and again. ``async with FaultyClient(url, "no-mask")``.

    Raises ``ValueError`` for a fault that does not exist.
    """

    def __init__(self, url: str, *faults: str, at_once: int = 4) -> None:
        unknown = set(faults) - CLIENT_FAULTS.keys()
        if unknown:
            raise ValueError(
                f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(CLIENT_FAULTS)}"
            )
        self.faults = frozenset(faults)
        self.peers: set[FaultyPeer] = set()
        self.rng = random.Random(f"{url}{faults}")
        parts = urlsplit(url)
        self.host, self.target = parts.netloc, parts.path or "/"
        self._address = (parts.hostname or "", parts.port or 80)
        self._at_once = at_once
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> FaultyClient:
        self._tasks = [asyncio.create_task(self._come()) for _ in range(self._at_once)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.drop_all()
        await asyncio.sleep(0)

    async def _come(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, caller = await loop.create_connection(lambda: FaultyCaller(self), *self._address)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            await caller.over.wait()

    def drop_all(self, but: FaultyPeer | None = None) -> None:
        """Cut every connection (but one)."""
        for peer in list(self.peers):
            if peer is not but:
                with contextlib.suppress(RuntimeError):
                    peer.transport.abort()
