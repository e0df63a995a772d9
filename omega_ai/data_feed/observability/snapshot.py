"""One reading of everything that a feed process counts: what metrics, alerts and the page are made from.

The parts on the path of a price keep plain integers. The service puts them together here only when somebody
asks, so that nothing is paid per message for being watched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from omega_ai.data_feed.market import PriceState, SourceStatus
from omega_ai.data_feed.observability.histogram import HistogramReading
from omega_ai.data_feed.observability.process import ProcessFigures

DELIVERY = "publish_to_write"
"""Stage: from the moment the broker had the message to the write on a client's socket."""

VENUE_DELIVERY = "venue_to_write"
"""Stage: from a venue's frame in to the write on a client's socket."""

BROKER = "broker"
"""Stage: from ``publish`` to the message's position being known."""


class BrokerFigures(Struct, frozen=True, kw_only=True):
    """How the broker fares. ``detail`` is one sentence; ``buffered`` counts publications that wait for it."""

    connected: bool = True
    detail: str = ""
    buffered: int = 0
    reconnects: int = 0


class WorkerFigures(Struct, frozen=True, kw_only=True):
    """One of the processes of ``--workers``, by its place among them (0 to 63), whichever process has it."""

    place: int
    running: bool
    """Alive, and not silent for longer than a healthy one ever is."""
    connections: int = 0
    process: ProcessFigures | None = None


class Snapshot(Struct, frozen=True, kw_only=True):
    """The figures of one process. Totals count from its start; times in seconds, sizes in bytes.

    A part that the process does not have (no certificate, no live source) keeps its default.
    """

    now_ns: int
    """UTC, nanoseconds since the Unix epoch."""
    uptime: float

    connections: Mapping[str, int] = {}
    """Open now, by transport: ``ws``, ``wss``."""
    max_connections: int = 0
    handshakes: Mapping[str, int] = {}
    """Upgrades that succeeded, by transport."""
    refusals: Mapping[str, int] = {}
    """Upgrades refused, by reason (a fixed word: ``origin``, ``capacity``, ``unauthorized`` ...)."""

    messages_received: int = 0
    messages_sent: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    published: Mapping[str, int] = {}
    """Messages handed to the broker, by channel: of sources and of clients."""
    publish_refused: int = 0
    """Messages that the broker, away for too long, did not take."""
    leading: bool | None = None
    """Whether this process publishes what its source gives; None where it need not ask another for that."""

    outbox_bytes: int = 0
    """What waits for all clients together."""
    conflated: int = 0
    """Messages replaced by a newer one in ``latest`` mode."""
    closes: Mapping[int, int] = {}
    """Connections ended, by close code."""
    errors: Mapping[str, int] = {}
    """Error messages sent to clients, by code."""
    resumes: Mapping[str, int] = {}
    """Subscriptions with ``since``, by outcome: ``recovered``, ``unrecovered``."""

    replays_active: int = 0
    """Clients that are being brought up to date now, by channel each."""
    replays: Mapping[str, int] = {}
    """Those begun, by where what was missed came from: ``tail``, ``broker``, ``shared``."""
    backlog_bytes: int = 0
    """Messages held for those who resume."""
    history_requests: int = 0
    """Looks back that clients asked for, in ``history`` or to resume."""
    history_reads: int = 0
    """Reads of the broker's history that these took."""
    inlet_waiting: int = 0
    """Connections of which something has arrived and waits for its turn."""
    inlet_deferred: int = 0
    """Arrivals that had to wait for another turn."""

    broker: BrokerFigures = BrokerFigures()
    sources: Sequence[SourceStatus] = ()
    price_state: PriceState | None = None
    """State of the newest price; None before the first."""
    price_age: float | None = None
    """Since the newest price was published; None before the first."""

    latencies: Mapping[str, HistogramReading] = {}
    """By stage: ``publish_to_write``, ``venue_to_write``, ``broker``."""
    loop_lag: HistogramReading | None = None
    certificate_left: float | None = None
    """Until the served certificate ends; negative when it has; None without TLS."""
    process: ProcessFigures | None = None
    """What the process itself costs; of a parent with workers, the parent's."""
    workers: Sequence[WorkerFigures] = ()
    worker_restarts: int = 0
    """Workers started anew because one had died."""

    @property
    def clients(self) -> int:
        """Open connections over all transports."""
        return sum(self.connections.values())
