"""``ClientProtocol``: a client's side of one connection, from its request on.

It is given to ``loop.create_connection`` as what its factory returns.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from omega_ai.core.websocket.endpoint import CONNECTING, REFUSED, Options, Transport
from omega_ai.core.websocket.handshake import (
    RESPONSE_LIMIT,
    HandshakeError,
    Response,
    build_request,
    check_response,
    parse_response,
)
from omega_ai.core.websocket.protocol import HeadTooLong, StreamProtocol

BODY_LIMIT = 4096
"""Bytes of a refusal's body that are kept for its reason."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a client asks for. ``key`` is 16 random bytes in base64; see ``handshake.new_key``."""

    host: str
    target: str
    key: str
    subprotocols: tuple[str, ...] = ()
    compression: bool = False
    headers: tuple[tuple[str, str], ...] = ()


class ClientProtocol(StreamProtocol):
    """One connection to a server. ``options.mask_key`` must be set.

    Either ``on_open`` comes, after which ``subprotocol`` and ``response`` say what the server answered, or
    ``on_refused``; never both.
    """

    __slots__ = ("opening", "response", "subprotocol")

    def __init__(self, options: Options, opening: Opening) -> None:
        if options.mask_key is None:
            raise ValueError("a client must mask (RFC 6455 section 5.3): Options.mask_key is needed")
        super().__init__(options)
        self.opening = opening
        self.response: Response | None = None
        self.subprotocol: str | None = None

    def on_refused(self, error: HandshakeError) -> None:
        """There will be no WebSocket connection: what was wrong, and the server's answer if there was one."""

    def connection_made(self, transport: Transport) -> None:
        """The TCP (and TLS) connection stands: ask for the upgrade."""
        super().connection_made(transport)
        opening = self.opening
        self._send(
            build_request(
                opening.host,
                opening.target,
                opening.key,
                subprotocols=opening.subprotocols,
                compression=opening.compression,
                headers=opening.headers,
            )
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        """The TCP connection is over."""
        if self.state == CONNECTING:
            if self.response is not None:
                self._rejected(self.response)
            else:
                why = f": {exc}" if exc else ""
                self._refused(HandshakeError(f"the connection was closed during the handshake{why}"))
        super().connection_lost(exc)

    def _read_head(self, data: bytes) -> None:
        if self.response is not None:
            self._read_body(self.response, data)
            return
        try:
            parts = self._take_head(data, RESPONSE_LIMIT)
            if parts is None:
                return
            response = parse_response(parts[0])
        except (HeadTooLong, HandshakeError) as error:
            self._refused(HandshakeError(str(error)))
            return
        self.response = response
        if response.status != 101:
            self._read_body(response, parts[1])
            return
        opening = self.opening
        try:
            self.subprotocol, self._deflate = check_response(
                response, opening.key, subprotocols=opening.subprotocols, compression=opening.compression
            )
        except HandshakeError as error:
            self._refused(error)
            return
        self._stop_timer()
        self._opened()
        if parts[1]:
            self._read(parts[1])

    def _read_body(self, response: Response, data: bytes) -> None:
        """A refusal often says why in its body: wait for what it announced, within bounds."""
        self._rest += data
        length = response.header("content-length")
        announced = (
            int(length) if length is not None and length.isdecimal() and len(length) < 9 else BODY_LIMIT
        )
        if len(self._rest) >= min(announced, BODY_LIMIT):
            self._rejected(response)

    def _rejected(self, response: Response) -> None:
        body, self._rest = self._rest[:BODY_LIMIT], b""
        self._refused(HandshakeError(f"the server answered HTTP {response.status}", response, body))

    def _refused(self, error: HandshakeError) -> None:
        self.state = REFUSED
        self._stop_timer()
        self.abort()
        try:
            self.on_refused(error)
        except Exception:
            _log.exception("on_refused of %s failed", type(self).__name__)

    def _handshake_timed_out(self) -> None:
        self._timer = None
        if self.state == CONNECTING:
            if self.response is not None:
                self._rejected(self.response)
            else:
                timeout = self.options.handshake_timeout
                self._refused(HandshakeError(f"no answer to the handshake within {timeout:g} s"))
