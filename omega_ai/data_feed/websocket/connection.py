"""One client's connection: the engine's protocol, a ``Session`` and an ``Outbox`` tied together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import structlog

from omega_ai.core.identifiers import new_connection_id
from omega_ai.core.websocket.deflate import MAX_WINDOW_BITS
from omega_ai.core.websocket.endpoint import CONNECTING, Transport
from omega_ai.core.websocket.frames import PING, build_frame
from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade, check_upgrade
from omega_ai.core.websocket.server import ServerProtocol
from omega_ai.data_feed.websocket.auth import UNPROVEN
from omega_ai.data_feed.websocket.close_codes import CloseCode
from omega_ai.data_feed.websocket.context import Identity
from omega_ai.data_feed.websocket.messages import SUBPROTOCOL
from omega_ai.data_feed.websocket.outbox import Outbox
from omega_ai.data_feed.websocket.session import Session

if TYPE_CHECKING:
    from omega_ai.data_feed.websocket.server import FeedServer

AUTH_SECONDS = 10.0
"""So long a browser may take to show the token that is required."""

REASON_LENGTH = 80
"""Characters of a close reason that the log keeps; a client may have written it."""

_PING = build_frame(PING, b"")

_log = structlog.get_logger(__name__)


class Admitted(Protocol):
    """What admission grants to a connection before its upgrade."""

    @property
    def identity(self) -> Identity:
        """Who it is."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Its first channels."""
        ...

    @property
    def address(self) -> str:
        """Who it is counted as, for logs: behind a trusted proxy, whom the proxy names."""
        ...


class Gate(Protocol):
    """Decides who comes in, and counts them."""

    @property
    def refusals(self) -> Mapping[str, int]:
        """How many were not let in, by reason."""
        ...

    def admit(self, request: Request, peer: str, *, secure: bool) -> Admitted:
        """Admit the client at address ``peer``, or raise ``Refusal``, before the upgrade."""
        ...

    def identify(self, admitted: Admitted, identity: Identity) -> Identity | None:
        """Who an admitted client is from now on, that has shown ``identity`` since; None: it may not."""
        ...

    def release(self, admitted: Admitted) -> None:
        """Its connection is over."""
        ...


class Connection(ServerProtocol):
    """One client, from its TCP connection to its end."""

    __slots__ = (
        "_admitted",
        "_heard",
        "_marked",
        "_opened_at",
        "_pinged_at",
        "_received",
        "_refused_for",
        "close_code",
        "close_reason",
        "closed_by",
        "held",
        "id",
        "peer",
        "secure",
        "server",
        "session",
        "slot",
    )

    def __init__(self, server: FeedServer) -> None:
        super().__init__(server.options)
        self.server = server
        self.session: Session | None = None
        self.held = b""
        self.id = ""
        self.peer = ""
        self.secure = False
        self.slot = 0
        self.close_code = 1006
        self.close_reason = ""
        self.closed_by = "network"
        """Who ended it: ``client``, ``server``, or the network, with no close frame."""
        self._opened_at = 0.0
        self._received = 0
        self._refused_for: str | None = "handshake"
        """How a refusal would be counted here; None when it has been, by the gate."""
        self._admitted: Admitted | None = None
        self._heard = True
        self._marked = False
        self._pinged_at = 0.0

    # From the event loop

    def data_received(self, data: bytes) -> None:
        """Bytes came; they are taken in when it is their turn."""
        self.server.inlet.arrived(self, data, new=self.state == CONNECTING)

    def _handshake_timed_out(self) -> None:
        """The time for the handshake is over; one that has come and waits for its turn came in time."""
        if self.held:
            self._timer = self.options.scheduler.later(
                self.options.handshake_timeout, self._handshake_timed_out
            )
        else:
            super()._handshake_timed_out()

    # From the inlet

    def take_in(self, data: bytes) -> None:
        """It is their turn."""
        if self.state == CONNECTING:
            self._read_head(data)
        else:
            self._read(data)

    def hold_reading(self) -> None:
        """Read nothing more for the time being."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read again."""
        if not self.transport.is_closing():
            self.transport.resume_reading()

    # From the engine

    def connection_made(self, transport: Transport) -> None:
        """A TCP (or TLS) connection; what the client wants is not known yet."""
        self.server.arriving.add(self)
        super().connection_made(transport)

    def on_request(self, request: Request) -> Upgrade:
        """Check the handshake's form first, then whether this client may come in."""
        server = self.server
        if server.closing:
            self._refused_for = "draining"
            raise Refusal(503, "the server is stopping: connect again", (("Retry-After", "1"),))
        name = self.transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        self.secure = self.transport.get_extra_info("ssl_object") is not None
        upgrade = check_upgrade(request, subprotocols=(SUBPROTOCOL,), compression=server.settings.compression)
        self._refused_for = None
        self._admitted = server.gate.admit(request, self.peer, secure=self.secure)
        return upgrade

    def on_refusal(self, refusal: Refusal) -> None:
        """All that there is of this connection: a count, and a line."""
        if self._refused_for is not None:
            refusals = self.server.stats.refusals
            refusals[self._refused_for] = refusals.get(self._refused_for, 0) + 1
        name = self.transport.get_extra_info("peername")
        _log.info(
            "connection_refused",
            peer=str(name[0]) if name else "",
            status=refusal.status,
            reason=refusal.reason,
        )

    def on_open(self) -> None:
        """The upgrade is done: the conversation begins. The server never speaks first."""
        server = self.server
        admitted = self._admitted
        assert admitted is not None  # noqa: S101 - on_request ran, or the upgrade would not have happened
        outbox = Outbox(
            self.write,
            limit=server.settings.outbox_limit,
            on_overflow=self._overflowed,
            waiting=server.waiting,
        )
        # One compressed frame serves all who take the full window; the others get plain frames, which is
        # always allowed (RFC 7692 section 6).
        agreed = self.compression
        deflate = agreed is not None and agreed.send_window_bits == MAX_WINDOW_BITS
        self.id = new_connection_id()
        self._opened_at = server.clock.monotonic()
        self.session = Session(
            server.context,
            outbox,
            self._close_session,
            identity=admitted.identity,
            identify=self._identify,
            connection=self,
            deflate=deflate,
            name=self.id,
        )
        server.opened(self)
        if admitted.identity is UNPROVEN:
            self.options.scheduler.later(AUTH_SECONDS, self._must_have_shown_a_token)
        self.session.open(admitted.channels)

    def on_text(self, data: bytes) -> None:
        """A message; its answers leave at the end of this turn, in one write."""
        session = self.session
        if session is None:
            return
        self._heard = True
        self._received += 1
        stats = self.server.stats
        stats.messages_in += 1
        stats.bytes_in += len(data)
        session.receive(data)
        if not self._marked:
            self._marked = True
            self.server.mark(self)

    def on_binary(self, data: bytes) -> None:
        """There are no binary messages in this protocol (RFC 6455 section 7.4.1: 1003)."""
        self.end(CloseCode.UNSUPPORTED_DATA, "binary messages are not supported: send JSON in text frames")

    def on_ping(self, payload: bytes) -> None:
        """The engine has answered it."""
        self._heard = True

    def on_pong(self, payload: bytes) -> None:
        """The client lives."""
        self._heard = True

    def on_drained(self) -> None:
        """The kernel takes bytes again."""
        if self.session is not None:
            self.session.drained()

    def on_close(self, code: int, reason: str) -> None:
        """The client said goodbye, or answers ours; it gets nothing more."""
        if self.closed_by == "network":
            self.close_code, self.close_reason, self.closed_by = code, reason, "client"
        if self.session is not None:
            self.session.end()

    def on_protocol_error(self, code: int, reason: str) -> None:
        """The client broke RFC 6455 or a size limit, and was told."""
        self.close_code, self.close_reason, self.closed_by = code, reason, "server"
        if self.session is not None:
            self.session.end()

    def on_disconnected(self) -> None:
        """The connection is over, from whichever side: its life is one line of the log."""
        session = self.session
        if session is not None:
            session.end()
            session.outbox.abandon()
        self.server.gone(self)
        _log.info(
            "connection_closed",
            connection=self.id,
            peer=self.peer,
            client="" if self._admitted is None else self._admitted.address,
            transport="wss" if self.secure else "ws",
            subject="" if session is None else session.identity.subject,
            seconds=round(self.server.clock.monotonic() - self._opened_at, 3),
            received=self._received,
            code=int(self.close_code),
            reason=self.close_reason[:REASON_LENGTH],
            by=self.closed_by,
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give back what admission counted, also for a client that left during its handshake."""
        self.held = b""
        super().connection_lost(exc)
        self.server.arriving.discard(self)
        self.session = None  # it and its outbox hold us: without this, only the garbage collector ends it
        if self._admitted is not None:
            self.server.gate.release(self._admitted)
            self._admitted = None

    # From the server

    def flush(self) -> None:
        """Send the answers of this turn."""
        self._marked = False
        if self.session is not None and not self.session.closed:
            self.session.flush()

    def end(self, code: CloseCode, reason: str) -> None:
        """Close in order: what was answered goes out first."""
        if self.session is not None:
            self.session.close(code, reason)

    def turn(self, now: float) -> None:
        """This connection's slot of the ping wheel has come round."""
        session = self.session
        if session is None or session.closed:
            return
        session.tick()
        if self._heard:
            self._heard = False
            self._pinged_at = now
            session.outbox.send_control(_PING)
        elif now - self._pinged_at >= self.server.settings.pong_timeout:
            self.end(CloseCode.NO_PONG, f"no answer to a ping within {self.server.settings.pong_timeout:g} s")

    def _overflowed(self) -> None:
        session = self.session
        if session is None or session.closed:
            return
        self.server.stats.slow_closes += 1
        limit = self.server.settings.outbox_limit
        _log.warning("slow_consumer", connection=self.id, peer=self.peer, limit_bytes=limit)
        session.close(
            CloseCode.SLOW_CONSUMER, f"more than {limit} bytes wait for you: read faster, or use mode latest"
        )

    def _must_have_shown_a_token(self) -> None:
        if self.session is not None and self.session.identity is UNPROVEN:
            self.end(
                CloseCode.BAD_TOKEN, f"a token is required: send an auth message within {AUTH_SECONDS:g} s"
            )

    def _identify(self, identity: Identity) -> Identity | None:
        """A token was shown by message: count its user as if it had come with the upgrade."""
        return None if self._admitted is None else self.server.gate.identify(self._admitted, identity)

    def _close_session(self, code: CloseCode, reason: str) -> None:
        self.close_code, self.close_reason, self.closed_by = code, reason, "server"
        self.close(code, reason)
