"""What the client raises.

    ClientError
    ├── ConnectError                the connection could not be made
    │   ├── ServerUnavailable       refused, unreachable, no such host        (also ConnectionError)
    │   ├── ConnectTimeout          nobody answered within ``open_timeout``   (also TimeoutError)
    │   ├── TlsError                the server's certificate was not accepted, or no TLS spoken
    │   ├── HandshakeRejected       an HTTP answer other than 101: ``status``, ``body``, ``retry_after``
    │   └── HandshakeFailed         what answered does not speak WebSocket
    ├── ConnectionClosed            over, and not to be opened again: ``code``, ``reason``
    ├── ReconnectFailed             ``attempts`` in a row failed; the last error is the cause
    ├── ConnectionLost              it went while a request was under way: the outcome is unknown
    ├── RequestTimeout              no answer in time: the outcome is unknown (also TimeoutError)
    ├── RequestFailed               the server answered with an error: ``code``, ``field``, ``temporary``
    ├── MessagesLost                a ``mode: all`` channel has a hole that cannot be filled: ``event``
    └── FeedClosed                  used after it was closed

``safe_to_retry`` says whether the same call can be made again without the risk of doing its work twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from omega_ai.client.events import Gap, NotRecovered


class ClientError(Exception):
    """Base of everything that the client raises on purpose."""

    safe_to_retry: ClassVar[bool] = False


class ConnectError(ClientError):
    """The connection could not be made; ``url`` is where it was tried."""

    safe_to_retry = True

    def __init__(self, url: str, message: str) -> None:
        super().__init__(f"{url}: {message}")
        self.url = url
        self.message = message


class ServerUnavailable(ConnectError, ConnectionError):
    """Refused, unreachable, or the name is not known."""


class ConnectTimeout(ConnectError, TimeoutError):
    """Nobody answered in time: at TCP, TLS or the WebSocket handshake, as ``message`` says."""


class TlsError(ConnectError):
    """TLS did not come about; ``message`` says what is wrong with the certificate."""

    safe_to_retry = False


class HandshakeRejected(ConnectError):
    """The server answered the upgrade with an HTTP error.

    ``retry_after`` is the server's wish in seconds (429 and 503), None if it gave none.
    """

    def __init__(self, url: str, status: int, body: str, retry_after: float | None) -> None:
        text = f"HTTP {status}" + (f": {body}" if body else "")
        if retry_after is not None:
            text += f" (retry after {retry_after:g} s)"
        super().__init__(url, text)
        self.status = status
        self.body = body
        self.retry_after = retry_after


class HandshakeFailed(ConnectError):
    """What listens there does not speak WebSocket, or gave up in the middle of the handshake."""


class ConnectionClosed(ClientError):
    """The connection was closed with ``code`` (RFC 6455 section 7.4.1) and will not be opened again."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason


class ReconnectFailed(ClientError):
    """``attempts`` in a row to reconnect failed, which is as many as were allowed."""

    def __init__(self, attempts: int, last: Exception) -> None:
        super().__init__(f"{attempts} attempts to reconnect failed; the last one: {last}")
        self.attempts = attempts
        self.last = last


class ConnectionLost(ClientError):
    """The connection went while a request was under way: whether the server acted on it is unknown."""


class RequestTimeout(ClientError, TimeoutError):
    """No answer in time: whether the server acted on the request is unknown."""


class RequestFailed(ClientError):
    """The server answered a request with an ``error`` message; fields as in the wire contract."""

    def __init__(
        self, code: str, message: str, field: str | None, temporary: bool, retry_after_ms: int | None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.field = field
        self.temporary = temporary
        self.retry_after_ms = retry_after_ms


class MessagesLost(ClientError):
    """A ``mode: all`` channel is not whole; ``event`` says where. Iterate again to go on after the hole.

    Raised by iteration unless events were asked for (``connect(..., events=True)``).
    """

    def __init__(self, event: Gap | NotRecovered) -> None:
        super().__init__(
            f"{event}; iterate again to go on, or connect with events=True to be told by an event instead"
        )
        self.event = event


class FeedClosed(ClientError):
    """The feed was closed by this program and cannot be used any more."""
