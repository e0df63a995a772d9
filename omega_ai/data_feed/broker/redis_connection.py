"""One connection to a Redis: commands out in a pipeline, replies in by callback, publications to a listener.

Written on the socket itself and not on a client library, for two reasons. A library that repeats a command
by itself after a broken connection would publish twice. And between the arrival of a publication and its
delivery lies no task switch: ``data_received`` calls the listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from omega_ai.data_feed.broker.base import BrokerError, BrokerUnreachable
from omega_ai.data_feed.broker.redis_address import InvalidAddress, RedisAddress

Command = tuple[bytes | str | int, ...]
Replies = Callable[[list[Any] | None], None]
"""Gets a pipeline's replies, or None when the connection ended before they were whole."""


ELSEWHERE = ("READONLY", "MASTERDOWN", "MOVED", "ASK ")
"""What a server answers that does not take the writes, or not any more."""

# Its type stub knows tuples of one element only.
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)


class ConnectionLost(BrokerError):
    """The connection ended before the reply; whether the command was carried out is unknown."""


class _Pending:
    __slots__ = ("asked", "callback", "count", "replies")

    def __init__(self, count: int, callback: Replies, asked: float) -> None:
        self.count = count
        self.callback = callback
        self.asked = asked
        self.replies: list[Any] = []


class RedisConnection(asyncio.Protocol):
    """A connection that has been let in (``open_connection`` makes them)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: RedisAddress) -> None:
        self._loop = loop
        self.address = address
        self._on_push: Callable[[list[Any]], None] | None = None
        self._reader = hiredis.Reader()
        self._pending: deque[_Pending] = deque()
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = loop.create_future()
        """Done when the connection has ended."""
        self._heard = loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        """Called by the event loop."""
        self._transport = None
        pending, self._pending = self._pending, deque()
        if not self.lost.done():
            self.lost.set_result(None)
        for waiting in pending:
            waiting.callback(None)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: cut the bytes into replies and hand each to whom it belongs."""
        self._heard = self._loop.time()
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not False:
                if self._on_push is not None and type(reply) is list:
                    self._on_push(reply)
                elif self._pending:
                    waiting = self._pending[0]
                    waiting.replies.append(reply)
                    if len(waiting.replies) == waiting.count:
                        self._pending.popleft()
                        waiting.callback(waiting.replies)
                elif self._on_push is not None:
                    self._on_push([b"error", str(reply).encode()])
        except hiredis.ProtocolError:
            self.abort()

    def listen(self, on_push: Callable[[list[Any]], None] | None) -> None:
        """Hand what arrives unasked (after SUBSCRIBE) to ``on_push``."""
        self._on_push = on_push

    @property
    def is_open(self) -> bool:
        """Whether commands can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def waited(self) -> float:
        """Seconds that the oldest unanswered command has waited."""
        return self._loop.time() - self._pending[0].asked if self._pending else 0.0

    def silent(self) -> float:
        """Seconds since anything arrived."""
        return self._loop.time() - self._heard

    def pipeline(self, commands: Sequence[Command], callback: Replies) -> None:
        """Send ``commands`` in one write; ``callback`` gets their replies, errors among them as values."""
        if self._transport is None or self._transport.is_closing():
            self._loop.call_soon(callback, None)
            return
        self._pending.append(_Pending(len(commands), callback, self._loop.time()))
        self._transport.write(b"".join([_pack(command) for command in commands]))

    def write(self, *command: bytes | str | int) -> None:
        """Send a command whose answer comes to the listener (SUBSCRIBE, and PING after it)."""
        if self._transport is not None:
            self._transport.write(_pack(command))

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send ``commands`` in one write and wait for all replies; errors are among them as values.

        Raises:
            ConnectionLost: the connection ended first.
        """
        future: asyncio.Future[list[Any] | None] = self._loop.create_future()

        def answer(replies: list[Any] | None) -> None:
            if not future.done():
                future.set_result(replies)

        self.pipeline(commands, answer)
        replies = await future
        if replies is None:
            raise ConnectionLost("the connection to Redis was lost")
        if any(
            isinstance(reply, hiredis.ReplyError) and str(reply).startswith(ELSEWHERE) for reply in replies
        ):
            self.abort()  # The next connection leads to whoever takes the writes now.
        return replies

    async def call(self, *command: bytes | str | int) -> Any:
        """Send one command and wait for its reply.

        Raises:
            ConnectionLost: the connection ended first.
            hiredis.ReplyError: Redis refused it.
        """
        (reply,) = await self.call_all([command])
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the connection and wait until it has ended."""
        if self._transport is not None:
            self._transport.close()
        await asyncio.wait([self.lost], timeout=1.0)
        self.abort()


async def open_connection(
    address: RedisAddress,
    *,
    timeout: float,  # noqa: ASYNC109 - named in the error
    name: str,
    on_push: Callable[[list[Any]], None] | None = None,
) -> RedisConnection:
    """Connect, enter and choose the database.

    Args:
        address: where.
        timeout: seconds for all of it.
        name: how the connection shows in ``CLIENT LIST``.
        on_push: gets what arrives after SUBSCRIBE.

    Raises:
        BrokerUnreachable: the text says why not and what to do.
    """
    loop = asyncio.get_running_loop()
    connection = RedisConnection(loop, address)
    try:
        async with asyncio.timeout(timeout):
            if address.path is not None:
                await loop.create_unix_connection(lambda: connection, address.path)
            else:
                await loop.create_connection(
                    lambda: connection, address.host, address.port, ssl=address.ssl_context()
                )
            await _enter(connection, address, name)
    except BaseException as error:
        connection.abort()
        if isinstance(error, (OSError, TimeoutError, ConnectionLost, hiredis.ReplyError, InvalidAddress)):
            raise BrokerUnreachable(explain(error, address, timeout)) from error
        raise
    connection.listen(on_push)
    return connection


async def _enter(connection: RedisConnection, address: RedisAddress, name: str) -> None:
    if address.password is not None:
        who = (address.username,) if address.username else ()
        await connection.call("AUTH", *who, address.password)
    if address.db:
        await connection.call("SELECT", address.db)
    # A user with few rights may not be allowed to name itself; a name is only for those who look.
    with contextlib.suppress(hiredis.ReplyError):
        await connection.call("CLIENT", "SETNAME", name)
    await connection.call("PING")


def explain(error: BaseException, address: RedisAddress, timeout: float = 0.0) -> str:
    """Say in one sentence or two what went wrong at ``address`` and what to do about it."""
    if isinstance(error, InvalidAddress):
        return str(error)
    if isinstance(error, hiredis.ReplyError):
        return explain_reply(str(error), address)
    text = f"Redis at {address} does not answer: "
    remedy = "Start it, or run with --broker embedded"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of Redis at {address} is not trusted: {error.verify_message}. "
            "Name its CA with ?ssl_ca_certs=FILE in the URL, and the host as the certificate does"
        )
    if isinstance(error, ssl.SSLError):
        return f"no TLS with Redis at {address}: {error.reason or error}. Is it a redis:// server?"
    if isinstance(error, TimeoutError):
        tls = ", and that it expects TLS (else redis://)" if address.tls is not None else ""
        return f"{text}nothing within {timeout:g} s. Check host and port{tls}, or run with --broker embedded"
    if isinstance(error, ConnectionLost):
        return f"{text}it closed the connection. If it expects TLS, use rediss://"
    if isinstance(error, FileNotFoundError):
        return f"{text}no such socket. {remedy}"
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return f"{text}connection refused. {remedy}"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return f"{text}permission denied. Let this user use the socket, or run with --broker embedded"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{text}{reason}. {remedy}"


_REMEDIES = {
    "WRONGPASS": "it refuses the user name or password: correct them in the URL",
    "NOAUTH": "it wants a password: put it into the URL, redis://:PASSWORD@HOST:PORT",
    "NOPERM": "this user may not do what is needed: allow ~omega:* &omega:* +@all, or use another user",
    "LOADING": "it is reading its data from disk; this goes on by itself once it is ready",
    "READONLY": "it is a read-only replica: name the primary in the URL (or the sentinels, redis+sentinel://)",
    "MASTERDOWN": "it is a replica that has lost its primary: name the primary in the URL",
    "OOM": "its memory is full (maxmemory): raise the limit or remove data",
    "MISCONF": "it cannot write to its disk and takes no writes: see its log and free space",
    "MOVED": "it is a node of a cluster: use redis+cluster://HOST:PORT",
    "BUSY": "it is busy with a script; this goes on by itself when that ends",
    "WRONGTYPE": "keys named omega:{…} hold other data: remove them or use another database",
}


def explain_reply(text: str, address: RedisAddress) -> str:
    """The same for an error that Redis itself answered."""
    code = text.split(" ", 1)[0]
    remedy = _REMEDIES.get(code)
    if remedy is None and "without any password configured" in text:
        remedy = "it has no password set, but the URL has one: remove it from the URL"
    if remedy is None and "DB index" in text:
        remedy = f"it has no database {address.db}: use a smaller number"
    return f"Redis at {address}: {remedy} ({text})" if remedy else f"Redis at {address} refuses: {text}"
