"""The Python client of the feed: connects, resumes, backs off, and tells whatever it could not get.

    async with connect("ws://localhost:8765", channels=["btc_price"]) as feed:
        async for price in feed:
            print(price.symbol, price.price)

In plain code, ``omega_ai.client.sync.connect`` gives the same without ``async``.
"""

from omega_ai.client.errors import (
    ClientError,
    ConnectError,
    ConnectionClosed,
    ConnectionLost,
    ConnectTimeout,
    FeedClosed,
    HandshakeFailed,
    HandshakeRejected,
    MessagesLost,
    ReconnectFailed,
    RequestFailed,
    RequestTimeout,
    ServerUnavailable,
    TlsError,
)
from omega_ai.client.events import Connected, Disconnected, Event, Gap, NotRecovered, Position, Recovered
from omega_ai.client.feed import Feed, connect
from omega_ai.client.messages import (
    Authenticated,
    Broadcast,
    Candle,
    Echo,
    ErrorMessage,
    Heartbeat,
    History,
    Message,
    Pong,
    Price,
    Published,
    Quote,
    Source,
    Status,
    Trade,
)
from omega_ai.client.settings import ClientSettings

__all__ = [
    "Authenticated",
    "Broadcast",
    "Candle",
    "ClientError",
    "ClientSettings",
    "ConnectError",
    "ConnectTimeout",
    "Connected",
    "ConnectionClosed",
    "ConnectionLost",
    "Disconnected",
    "Echo",
    "ErrorMessage",
    "Event",
    "Feed",
    "FeedClosed",
    "Gap",
    "HandshakeFailed",
    "HandshakeRejected",
    "Heartbeat",
    "History",
    "Message",
    "MessagesLost",
    "NotRecovered",
    "Pong",
    "Position",
    "Price",
    "Published",
    "Quote",
    "ReconnectFailed",
    "Recovered",
    "RequestFailed",
    "RequestTimeout",
    "ServerUnavailable",
    "Source",
    "Status",
    "TlsError",
    "Trade",
    "connect",
]
