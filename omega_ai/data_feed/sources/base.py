"""What the feed takes its market data from: live venues, a recording, or a seeded walk.

A source speaks through three callables that its owner hands to ``run``. Calls to ``emit`` and ``report`` are
made from the event loop, in one order: a ``report`` that says ``reconnecting`` or names a gap stands exactly
where the stream was broken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from omega_ai.data_feed.market import MarketEvent, SourceStatus

Emit = Callable[[MarketEvent], None]
"""Takes one event. It must not block; what it raises ends the source."""

Report = Callable[[SourceStatus], None]
"""Takes a venue's state: upon each change, and at least every five seconds while the source runs."""

Drain = Callable[[], Awaitable[None]]
"""Returns once what was emitted has been taken on (``Broker.flush``). A source that can outrun its consumer
(a recording at full speed) awaits it between batches, so that no bound downstream is hit."""


class SourceError(Exception):
    """The source cannot begin. The text is one sentence that says what is wrong and what to do."""


class Source(Protocol):
    """One origin of market data. Constructing it opens nothing; settings that cannot work raise
    ``SourceError``."""

    @property
    def name(self) -> str:
        """How it is called in logs: ``live``, ``simulated``, ``replay:btc.jsonl.gz``."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether the prices are not of now: then the consolidated price says ``simulated``, always."""
        ...

    @property
    def venues(self) -> tuple[str, ...]:
        """The venues it may speak for, as known so far."""
        ...

    async def run(self, emit: Emit, report: Report, drain: Drain = ...) -> None:
        """Produce until the end (a recording), or until cancelled (anything else).

        On cancellation it lets go of every socket and file before it returns. After a normal return every
        venue was reported ``stopped``.

        Raises:
            SourceError: the input cannot be used at all. Trouble with single messages, with a venue or with
            the
                network is reported and survived, never raised.
        """
        ...


async def no_drain() -> None:
    """For consumers that take everything at once."""
