"""``StrictListener``: an ``Endpoint`` on picows, which owns the transport, the handshake and the parser.

picows looks one frame ahead and answers some errors by itself (masking, opcodes, lengths, most close codes):
it sends the close frame before what came ahead of the error is handed out, and ends the connection after
10 ms. ``on_protocol_error`` then comes with the next frame, or with the end. ``server.ServerProtocol``, which
parses by itself, has none of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import picows

from omega_ai.core.websocket.assembler import check_utf8
from omega_ai.core.websocket.close import PROTOCOL_ERROR, ProtocolError
from omega_ai.core.websocket.deflate import DeflateParams, accept_answer
from omega_ai.core.websocket.endpoint import CLOSED, CONNECTING, ENDPOINT_SLOTS, OPEN, Endpoint, Options
from omega_ai.core.websocket.handshake import Refusal, Request, Upgrade, check_upgrade, fold_headers
from omega_ai.core.websocket.headers import parse_extensions

_TEXT: Final = picows.WSMsgType.TEXT


class StrictListener(Endpoint, picows.WSListener):
    """A connection whose frames picows parses.

    For ``picows.ws_connect`` and ``picows.ws_create_server`` with ``enable_auto_pong=False``,
    ``max_frame_size=options.message_limit`` and ``read_buffer_init_size=2048``.
    """

    __slots__ = (*ENDPOINT_SLOTS, "transport")

    transport: picows.WSTransport

    def __init__(self, options: Options, deflate: DeflateParams | None = None) -> None:
        self.options = options
        self.state = CONNECTING
        self.blocked = False
        self._assembler = None
        self._deflate = deflate
        self._pong = None
        self._timer = None

    # What picows calls.

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """The handshake is over."""
        self.transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=0)
        self._opened()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """A frame came."""
        if transport.is_close_frame_sent:
            # We never let picows send a close frame, so it has found an error, and this frame came before it.
            self._picows_failed()
        elif (
            frame.msg_type == _TEXT
            and frame.fin
            and self._assembler is None
            and self.state == OPEN
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            # An uncompressed text message in one frame: what nearly every message is.
            payload = frame.get_payload_as_bytes()
            try:
                check_utf8(payload)
                self.on_text(payload)
            except ProtocolError as error:
                self._fail(error)
            except Exception as error:
                self._crashed(error)
        else:
            rsv = frame.rsv1 << 2 | frame.rsv2 << 1 | frame.rsv3
            self._receive(frame.msg_type.value, bool(frame.fin), rsv, frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """The TCP connection is over."""
        if transport.is_close_frame_sent:
            self._picows_failed()
        self._lost()

    def pause_writing(self) -> None:
        """The transport has a backlog."""
        self._paused()

    def resume_writing(self) -> None:
        """The transport's backlog is gone."""
        self._resumed()

    # What the endpoint calls.

    def write(self, data: bytes) -> bool:
        """Hand whole frames to the transport; see ``Endpoint.write``."""
        if self.state == OPEN:
            self.transport.underlying_transport.write(data)
        return not self.blocked

    def _send(self, data: bytes) -> None:
        self.transport.underlying_transport.write(data)

    def abort(self) -> None:
        """Cut the TCP connection, leaving unsent what is unsent."""
        self.transport.disconnect(graceful=False)

    def _end_output(self) -> None:
        # No half-close here: picows would go on parsing, and answer an error with a second close frame.
        self.transport.disconnect()

    def _picows_failed(self) -> None:
        if self.state >= CLOSED:
            return
        self.state = CLOSED
        sent = self.transport.close_handshake.sent
        code, reason = (sent.code.value, sent.reason) if sent is not None else (PROTOCOL_ERROR, "")
        self.on_protocol_error(code, reason or "")


def upgrade_for_picows(
    request: picows.WSUpgradeRequest, *, subprotocols: Sequence[str] = (), compression: bool = True
) -> Upgrade | picows.WSUpgradeResponse:
    """Check a request in a listener factory of ``ws_create_server``.

    picows refuses ``Connection: keep-alive, Upgrade`` (Firefox sends it), so the header is put as it wants
    it. Returns the upgrade, or the response that refuses it.
    """
    ours = Request(
        request.method.decode("latin-1"),
        request.path.decode("latin-1"),
        request.version.decode("latin-1"),
        fold_headers(request.headers.items()),
    )
    try:
        upgrade = check_upgrade(ours, subprotocols=subprotocols, compression=compression)
    except Refusal as refusal:
        response: picows.WSUpgradeResponse = picows.WSUpgradeResponse.create_error_response(
            refusal.status, refusal.reason.encode() + b"\n", refusal.headers
        )
        return response
    request.headers["Connection"] = "Upgrade"
    request.headers["Upgrade"] = "websocket"
    return upgrade


def accept_with(listener: StrictListener, upgrade: Upgrade) -> picows.WSUpgradeResponseWithListener:
    """What a listener factory returns for an upgrade that it accepts."""
    listener._deflate = upgrade.deflate
    chosen = [
        (name, value)
        for name, value in upgrade.headers
        if name in ("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")
    ]
    response = picows.WSUpgradeResponse.create_101_response(chosen)
    return picows.WSUpgradeResponseWithListener(response, listener)


def agreed_deflate(response: picows.WSUpgradeResponse) -> DeflateParams | None:
    """What a server answered to ``deflate.OFFER``; raises ``ValueError`` as ``accept_answer`` does."""
    return accept_answer(parse_extensions(response.headers.getall("Sec-WebSocket-Extensions", [])))
