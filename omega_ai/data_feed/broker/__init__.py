"""Brokers give every published message its position, keep a bounded history, and deliver to subscribers.

Which one is told by a text, as in ``omega serve --broker``:

=========================================  ======================================================
``memory``                                 within this process; nothing outlives it
``embedded``, ``embedded:DIR``             a private Valkey, its data in the user's state directory or DIR
``redis://``, ``rediss://``, ``unix://``   a Redis (>= 6.2) or Valkey that somebody runs
``redis+sentinel://HOST:PORT,…/NAME``      the primary that Sentinel knows by that name
``redis+cluster://HOST:PORT,…``            a Redis (>= 7.0) or Valkey Cluster
=========================================  ======================================================
"""

from __future__ import annotations

import random
from pathlib import Path

from omega_ai.core.clock import Clock
from omega_ai.data_feed.broker.base import HISTORY_MESSAGES, HISTORY_SECONDS, Broker

_CHOICES = (
    "memory, embedded, embedded:DIRECTORY, redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH, "
    "redis+sentinel://HOST:PORT,HOST:PORT/NAME, redis+cluster://HOST:PORT,HOST:PORT"
)
_SERVERS = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")


class UnknownBroker(ValueError):
    """The text names no broker."""


def open_broker(
    spec: str,
    *,
    clock: Clock,
    rng: random.Random | None = None,
    history_messages: int = HISTORY_MESSAGES,
    history_seconds: float = HISTORY_SECONDS,
) -> Broker:
    """Make the broker that ``spec`` names; nothing is connected or started before its ``start``.

    Args:
        spec: see the module's text.
        clock: where its time comes from.
        rng: makes the memory broker's epochs repeatable, and spreads reconnects to a Redis.
        history_messages: messages kept a channel.
        history_seconds: age in seconds after which a message may be forgotten.

    Raises:
        UnknownBroker: ``spec`` names none; the text says what can be named.
    """
    # A broker's libraries are loaded when it is chosen: `--broker memory` starts without Redis's.
    kind, _, rest = spec.partition(":")
    if spec == "memory":
        from omega_ai.data_feed.broker.memory import MemoryBroker

        return MemoryBroker(
            clock=clock, rng=rng, history_messages=history_messages, history_seconds=history_seconds
        )
    if spec == "embedded" or (kind == "embedded" and rest):
        from omega_ai.data_feed.broker.embedded import EmbeddedBroker

        return EmbeddedBroker(
            Path(rest).expanduser() if rest else None,
            clock=clock,
            rng=rng,
            history_messages=history_messages,
            history_seconds=history_seconds,
        )
    if kind in ("redis+cluster", "rediss+cluster") and rest.startswith("//"):
        from omega_ai.data_feed.broker.cluster import ClusterBroker

        return ClusterBroker(
            spec, clock=clock, rng=rng, history_messages=history_messages, history_seconds=history_seconds
        )
    if kind in _SERVERS and rest.startswith("//"):
        from omega_ai.data_feed.broker.redis import RedisBroker

        return RedisBroker(
            spec, clock=clock, rng=rng, history_messages=history_messages, history_seconds=history_seconds
        )
    # A wrong text may hold a password; what follows the scheme is not repeated.
    shown = spec if "@" not in spec else f"{kind}:…"
    raise UnknownBroker(f"no broker is called {shown!r}; use one of: {_CHOICES}")
