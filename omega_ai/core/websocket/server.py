"""``ServerProtocol``: a server's side of one connection, from its first byte on.

It is given to ``loop.create_server`` as what its factory returns.
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from omega_ai.core.websocket.endpoint import CONNECTING, REFUSED
from omega_ai.core.websocket.handshake import (
    REQUEST_LIMIT,
    Refusal,
    Request,
    Upgrade,
    check_upgrade,
    parse_request,
)
from omega_ai.core.websocket.protocol import HeadTooLong, StreamProtocol

_log = logging.getLogger(__name__)


class ServerProtocol(StreamProtocol):
    """One client's connection: override ``on_request`` and the other ``on_...``, with ``__slots__``."""

    __slots__ = ()

    def on_request(self, request: Request) -> Upgrade:
        """Decide on a request: return ``check_upgrade(...)``'s result, or raise ``Refusal``.

        Here the target, the origin, caps and tokens are looked at, before anything is spent on the client.
        """
        return check_upgrade(request)

    def on_refusal(self, refusal: Refusal) -> None:
        """The client was answered with ``refusal`` instead of an upgrade, whoever raised it."""

    def _read_head(self, data: bytes) -> None:
        try:
            parts = self._take_head(data, REQUEST_LIMIT)
            if parts is None:
                return
            upgrade = self.on_request(parse_request(parts[0]))
        except Refusal as refusal:
            self._refuse(refusal)
            return
        except HeadTooLong as error:
            self._refuse(Refusal(431, f"the request is too long: {error}"))
            return
        except Exception:
            _log.exception("on_request of %s failed", type(self).__name__)
            self._refuse(Refusal(500, "internal error"))
            return
        self._deflate = upgrade.deflate
        self._stop_timer()
        self._send(_response(101, upgrade.headers))
        self._opened()
        if parts[1]:
            self._read(parts[1])

    def _refuse(self, refusal: Refusal) -> None:
        self.state = REFUSED
        try:
            self.on_refusal(refusal)
        except Exception:
            _log.exception("on_refusal of %s failed", type(self).__name__)
        self._stop_timer()
        self._start_timer()
        body = (refusal.reason + "\n").encode()
        headers = (
            *refusal.headers,
            ("Connection", "close"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
        )
        self._send(_response(refusal.status, headers) + body)
        self._end_output()

    def _handshake_timed_out(self) -> None:
        self._timer = None
        if self.state == CONNECTING:
            self._refuse(Refusal(408, "the handshake did not come in time"))


def _response(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
