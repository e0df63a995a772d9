"""An echo server with any set of faults in how it speaks WebSocket: what the conformance suite has to catch.

Without a fault it is right. It does not read frames with the engine, whose mistakes it would share.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import ClassVar, Final, Protocol, cast

from omega_ai.core.websocket.close import may_be_sent
from omega_ai.core.websocket.deflate import negotiate
from omega_ai.core.websocket.frames import apply_mask, build_frame
from omega_ai.core.websocket.handshake import Refusal, accept_value, check_upgrade, parse_request
from omega_ai.core.websocket.headers import Extension, parse_extensions

RULES: Final[dict[str, str]] = {
    "mask": "takes frames that are not masked",
    "rsv": "overlooks reserved bits",
    "opcode": "overlooks frames with a reserved opcode",
    "sign-bit": "takes a length of 2^63 or more for an empty frame",
    "control-size": "takes control frames of more than 125 bytes",
    "control-fragment": "takes control frames without FIN",
    "lone-continuation": "takes a continuation without a message for a message",
    "interleaved": "takes a new message inside of a fragmented one",
    "utf8": "does not look whether text is UTF-8",
    "close-code": "answers any close code with the same",
    "close-one-byte": "takes a close frame with a payload of one byte for a right one",
    "close-utf8": "does not look whether the reason of a close is UTF-8",
    "deflate-data": "takes compressed data that is none for an empty message",
    "deflate-rsv": "overlooks RSV1 where it must not be",
}
"""What it does when it leaves out a check."""

DEEDS: Final[dict[str, str]] = {
    "corrupts": "changes the last byte of what it echoes",
    "cuts-long": "loses the last byte of messages of more than 65,535 bytes",
    "swaps-kind": "echoes text as binary",
    "loses-fragments": "forgets every fragment but the last",
    "masks": "masks its frames",
    "sets-rsv": "sets RSV2 on its frames",
    "long-lengths": "writes every length in eight bytes",
    "wrong-pong": "answers pings without their payload",
    "late-pong": "answers pings when the message under way is complete",
    "pongs-twice": "answers every ping twice",
    "answers-pongs": "answers pongs",
    "wrong-code": "fails connections with 1011, whatever was wrong",
    "hangs": "does nothing more on a connection after a breach, and leaves it open",
    "harms": "drops all connections when one breaks the protocol",
    "falls": "drops all connections when one goes without a close frame",
    "no-close": "does not answer a close frame",
    "wrong-close": "answers a close with 1002",
    "keeps-tcp": "leaves the end of TCP to the client",
    "goes-on": "works off what comes after a close frame",
    "upgrades-all": "upgrades any request that it can read",
    "refuses-all": "refuses every request",
    "refuses-odd": "refuses a request whose headers are not spelt as it would",
    "wrong-accept": "answers every key with the same Sec-WebSocket-Accept",
    "chooses": "chooses an extension and a subprotocol that nobody offered",
    "agrees-all": "agrees to any offer of compression, as if it were a plain one",
    "wide-window": "compresses with a window of 32 KiB, whatever was agreed",
    "keeps-context": "refers back to earlier messages, whatever was agreed",
    "forgets-context": "forgets the context that it agreed to keep",
    "bad-deflate": "loses a byte of what it compresses",
    "wrong-limit": "closes with 1002 where a message is too big",
    "slow-to-others": "lets every connection wait while one is in its handshake",
}
FAULTS: Final = {**RULES, **DEEDS}
MESSAGE_LIMIT: Final = 32 << 20


class _Breach(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Owner(Protocol):
    """What a peer belongs to: a server, or a client that comes again and again."""

    faults: frozenset[str]
    peers: set[FaultyPeer]

    def drop_all(self, but: FaultyPeer | None = None) -> None:
        """Cut every connection (but one)."""
        ...


class FaultyPeer(asyncio.Protocol):
    """One connection."""

    reads_masked: ClassVar[bool] = True

    def __init__(self, server: Owner) -> None:
        self._server = server
        self._faults = server.faults
        self._buffer = bytearray()
        self._open = False
        self._closed = False
        self._dead = False
        self._opcode = 0
        self._compressed = False
        self._parts: list[bytes] = []
        self._size = 0
        self._waiting: list[bytes] = []
        self._deflate: dict[str, str | None] | None = None
        self._inflater: zlib._Decompress | None = None
        self._deflater: zlib._Compress | None = None

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self.transport = cast(asyncio.Transport, transport)
        self._server.peers.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._server.peers.discard(self)
        if "falls" in self._faults and not self._closed:
            self._server.drop_all()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        self._buffer += data
        if not self._open and not self._greet():
            return
        try:
            while not self._dead and self._next():
                pass
        except _Breach as breach:
            self._fail(breach.code)

    # The handshake.

    def _greet(self) -> bool:
        if "slow-to-others" in self._faults and b"\r\n\r\n" not in self._buffer:
            self._server.drop_all(but=self)
        head, mark, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not mark:
            if len(head) > 16_384:
                self._refuse(431)
            return False
        self._buffer = bytearray(rest)
        try:
            if "refuses-all" in self._faults:
                raise Refusal(400, "no")
            if "refuses-odd" in self._faults and not head.endswith(b"\r\nSec-WebSocket-Version: 13"):
                raise Refusal(400, "odd")
            request = parse_request(head)
            check_upgrade(request)
            key = request.header("sec-websocket-key") or ""
            offers = parse_extensions(request.headers.get("sec-websocket-extensions", ()))
        except Refusal as refusal:
            if "upgrades-all" not in self._faults:
                self._refuse(refusal.status, refusal.headers)
                return False
            key, offers = "", []
        except ValueError:
            if "upgrades-all" not in self._faults:
                self._refuse(400)
                return False
            key, offers = "", []
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        right = "dGhlIHNhbXBsZSBub25jZQ==" if "wrong-accept" in self._faults else key
        lines.append(f"Sec-WebSocket-Accept: {accept_value(right)}")
        if "chooses" in self._faults:
            lines += ["Sec-WebSocket-Extensions: x-mine", "Sec-WebSocket-Protocol: mine"]
        elif answer := self._agree(offers):
            lines.append(f"Sec-WebSocket-Extensions: {answer}")
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        self._open = True
        return True

    def _refuse(self, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.transport.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n{more}\r\n".encode())
        self._dead = self._closed = True
        self.transport.close()

    def _agree(self, offers: list[Extension]) -> str | None:
        for offer in offers:
            if offer.name != "permessage-deflate":
                continue
            if "agrees-all" in self._faults:
                self._deflate = {}
                return offer.name
            if negotiate([offer]) is None:
                continue
            params = dict(offer.params)
            if params.get("client_max_window_bits", "") is None:
                del params["client_max_window_bits"]
            self._deflate = params
            return "; ".join([offer.name, *(n if v is None else f"{n}={v}" for n, v in params.items())])
        return None

    # Frames in.

    def _must(self, rule: str, right: object, code: int = 1002) -> None:
        if not right and rule not in self._faults:
            raise _Breach(code)

    def _next(self) -> bool:
        data = self._buffer
        if len(data) < 2:
            return False
        first, second = data[0], data[1]
        opcode, fin, rsv = first & 15, first >= 128, first >> 4 & 7
        size, start = second & 127, 2
        self._must("mask", bool(second & 128) is self.reads_masked)
        self._must("opcode", opcode in (0, 1, 2, 8, 9, 10))
        allowed = 4 if self._deflate is not None and opcode in (1, 2) else 0
        self._must("deflate-rsv" if self._deflate is not None and not rsv & 3 else "rsv", not rsv & ~allowed)
        if opcode > 7:
            self._must("control-size", size < 126)
            self._must("control-fragment", fin)
        if size > 125:
            wide = 2 if size == 126 else 8
            start += wide
            if len(data) < start:
                return False
            size = int.from_bytes(data[2:start], "big")
            if size >> 63:
                self._must("sign-bit", False)
                size = 0
            elif size < (126 if wide == 2 else 65_536):
                raise _Breach(1002)
            if size > MESSAGE_LIMIT:
                raise _Breach(1002 if "wrong-limit" in self._faults else 1009)
        masked = second & 128
        end = start + (4 if masked else 0) + size
        if opcode == 1 and rsv == 0 and "utf8" not in self._faults and len(data) > start + 4 and self._doomed(
            bytes(data[start : min(end, start + 1024)]), bool(masked)
        ):  # fmt: skip
            raise _Breach(1007)
        if len(data) < end:
            return False
        payload = bytes(data[end - size : end])
        if masked:
            payload = apply_mask(payload, bytes(data[start : start + 4]))
        del data[:end]
        if opcode > 7:
            self._control(opcode, payload)
        elif opcode < 3:
            self._piece(opcode, fin, bool(rsv & 4) and self._deflate is not None, payload)
        return True

    def _doomed(self, seen: bytes, masked: bool) -> bool:
        """Whether text that has come so far can never become right."""
        text = apply_mask(seen[4:], seen[:4]) if masked else seen
        return _utf8(text, final=False) is False

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == 9:
            answer = b"" if "wrong-pong" in self._faults else payload
            if "late-pong" in self._faults and self._opcode:
                self._waiting.append(answer)
            else:
                for _ in range(2 if "pongs-twice" in self._faults else 1):
                    self._write(10, answer)
        elif opcode == 10 and "answers-pongs" in self._faults:
            self._write(10, payload)
        elif opcode == 8:
            self._must("close-one-byte", len(payload) != 1)
            if len(payload) > 1:
                self._must("close-code", may_be_sent(int.from_bytes(payload[:2], "big")))
                self._must("close-utf8", _utf8(payload[2:], final=True), 1007)
            if "no-close" in self._faults:
                self._dead = True
                return
            code = b"" if not payload else payload[:2] if len(payload) > 1 else b"\x03\xe8"
            self._end(b"\x03\xea" if "wrong-close" in self._faults else code)

    def _piece(self, opcode: int, fin: bool, compressed: bool, payload: bytes) -> None:
        if opcode == 0:
            if not self._opcode:
                self._must("lone-continuation", False)
                self._opcode = 1
        else:
            if self._opcode:
                self._must("interleaved", False)
                self._parts = []
            self._opcode, self._compressed, self._size = opcode, compressed, 0
        self._size += len(payload)
        if self._size > MESSAGE_LIMIT:
            raise _Breach(1002 if "wrong-limit" in self._faults else 1009)
        self._parts.append(payload)
        if self._opcode == 1 and not self._compressed and "utf8" not in self._faults:
            tail = b"".join(self._parts[-4:]) if len(self._parts) > 4 else b"".join(self._parts)
            if len(self._parts) <= 4 and _utf8(tail, final=False) is False:
                raise _Breach(1007)
        if not fin:
            return
        data = b"".join(self._parts[-1:] if "loses-fragments" in self._faults else self._parts)
        opcode, self._opcode, self._parts = self._opcode, 0, []
        if self._compressed:
            data = self._inflate(data)
        if opcode == 1:
            self._must("utf8", _utf8(data, final=True), 1007)
        self._echo(opcode, data)
        while self._waiting:
            self._write(10, self._waiting.pop(0))

    def _inflate(self, data: bytes) -> bytes:
        agreed = self._deflate or {}
        if (
            self._inflater is None
            or "client_no_context_takeover" in agreed
            or "forgets-context" in self._faults
            or self._inflater.eof
        ):
            self._inflater = zlib.decompressobj(-15)
        try:
            out = self._inflater.decompress(data + b"\x00\x00\xff\xff", MESSAGE_LIMIT + 1)
        except zlib.error:
            self._must("deflate-data", False, 1007)
            self._inflater = None
            return b""
        if len(out) > MESSAGE_LIMIT:
            raise _Breach(1009)
        return out

    # Frames out.

    def _echo(self, opcode: int, data: bytes) -> None:
        if "corrupts" in self._faults:
            data = data[:-1] + bytes(((data[-1] if data else 0) ^ 1,))
        if "cuts-long" in self._faults and len(data) > 65_535:
            data = data[:-1]
        if "swaps-kind" in self._faults and opcode == 1:
            opcode = 2
        if self._deflate is None:
            self._write(opcode, data)
        else:
            self._write(opcode, self._pack(data, self._deflate), rsv1=True)

    def _pack(self, data: bytes, agreed: dict[str, str | None]) -> bytes:
        forget = "server_no_context_takeover" in agreed and "keeps-context" not in self._faults
        if self._deflater is None or forget:
            bits = int(agreed.get("server_max_window_bits") or 15)
            self._deflater = zlib.compressobj(
                6, zlib.DEFLATED, -15 if "wide-window" in self._faults else -bits
            )
        packed = self._deflater.compress(data) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        packed = packed.removesuffix(b"\x00\x00\xff\xff")
        return packed[:3] + packed[4:] if "bad-deflate" in self._faults and len(packed) > 8 else packed

    def _write(self, opcode: int, data: bytes, *, rsv1: bool = False) -> None:
        mask = self._key()
        made = bytearray(build_frame(opcode, data, rsv1=rsv1, mask=mask))
        if "sets-rsv" in self._faults:
            made[0] |= 0x20
        if "long-lengths" in self._faults and len(data) < 65_536:
            start = 2 if len(data) < 126 else 4
            made[1:start] = bytes((made[1] & 0x80 | 0x7F,)) + len(data).to_bytes(8, "big")
        self.transport.write(bytes(made))

    def _key(self) -> bytes | None:
        return b"mask" if "masks" in self._faults else None

    def _fail(self, code: int) -> None:
        self._dead = True
        if "harms" in self._faults:
            self._server.drop_all(but=self)
        if "hangs" not in self._faults:
            self._end((1011 if "wrong-code" in self._faults else code).to_bytes(2, "big"))
            self._dead = True

    def _end(self, code: bytes) -> None:
        if not self._closed:
            self._write(8, code)
        self._closed = True
        if "goes-on" in self._faults:
            asyncio.get_running_loop().call_later(0.2, self.transport.close)
            return
        self._dead = True
        if "keeps-tcp" not in self._faults:
            self.transport.close()


def _utf8(data: bytes, *, final: bool) -> bool | None:
    """Whether it is UTF-8; for a beginning (not ``final``), False only if no rest could make it so."""
    try:
        data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        return not final and error.reason == "unexpected end of data" and error.end == len(data)
    return True


class FaultyEcho:
    """The server, on a free port of loopback. ``async with FaultyEcho("utf8", "harms") as server``.

    Raises ``ValueError`` for a fault that does not exist.
    """

    peer: ClassVar[type[FaultyPeer]] = FaultyPeer

    def __init__(self, *faults: str) -> None:
        unknown = set(faults) - FAULTS.keys()
        if unknown:
            raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
        self.faults = frozenset(faults)
        self.peers: set[FaultyPeer] = set()
        self.url = ""
        self._listening: asyncio.Server | None = None

    async def __aenter__(self) -> FaultyEcho:
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: self.peer(self), "127.0.0.1", 0, backlog=256)
        self.url = f"ws://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        self.drop_all()
        with contextlib.suppress(RuntimeError):
            await asyncio.sleep(0)

    def drop_all(self, but: FaultyPeer | None = None) -> None:
        """Cut every connection (but one)."""
        for peer in list(self.peers):
            if peer is not but:
                peer.transport.abort()
