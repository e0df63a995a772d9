"""What every request passes: whose name it used, what the browser may do with the answer, and error answers.

A page of another origin can make a browser talk to a loopback server by pointing its own name at 127.0.0.1
(DNS rebinding). Such a request carries that name in ``Host``, so a loopback server answers only to names of
this machine and to those that were configured.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from omega_ai.core.identifiers import new_connection_id
from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.websocket.origins import HostPolicy, parse_host

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_log = structlog.get_logger("omega.http")
_encode = msgspec.json.Encoder().encode

SECURITY_HEADERS = {
    "Server": "omega",  # no need to tell which library, in which version
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def json_response(fields: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """``fields`` as JSON that no cache keeps."""
    return web.Response(
        body=fields if isinstance(fields, bytes) else _encode(fields),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def error_response(
    status: int,
    code: str,
    message: str,
    now_ns: int,
    *,
    field: str | None = None,
    temporary: bool = False,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """An error in the shape of the wire contract's ``error`` message."""
    fields: dict[str, Any] = {"type": "error", "code": code, "message": message}
    if field is not None:
        fields["field"] = field
    fields |= {"temporary": temporary, "timestamp": format_utc(now_ns)}
    return json_response(fields, status=status, headers=headers)


def asked_host(request: web.Request) -> str:
    """The name or address under which the asker reached us; without ``Host``, ``localhost``.

    aiohttp's own answer to a missing ``Host`` is a look-up in the DNS, which would hold up the event loop.
    """
    place = parse_host(request.headers.get(hdrs.HOST, ""))
    return "localhost" if place is None else place.host


def guard(allowed: HostPolicy, now_ns: Callable[[], int]) -> Middleware:
    """The middleware: checks ``Host``, adds headers, turns every failure into a JSON error."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        header = request.headers.get(hdrs.HOST)
        host = None if header is None else parse_host(header)
        # Health checkers of old speak HTTP/1.0 without Host; a browser never does.
        if header is not None and (host is None or not allowed.allows(host)):
            response: web.StreamResponse = error_response(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown_host",
                f"this server does not answer to the name {header[:100]!r}; "
                "use localhost or an address of it, or add the name with --hostname",
                now_ns(),
            )
        else:
            try:
                response = await handler(request)
            except web.HTTPException as error:
                response = _refusal(request, error, now_ns())
            except Exception:
                incident = new_connection_id()
                _log.exception("http_request_failed", path=request.path[:100], incident=incident)
                response = error_response(
                    500,
                    "internal",
                    f"the server failed on this request; its log says why under {incident}",
                    now_ns(),
                    temporary=True,
                )
        response.headers.update(SECURITY_HEADERS)
        return response

    return middleware


def _refusal(request: web.Request, error: web.HTTPException, now_ns: int) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(error.allowed_methods))
        return error_response(
            405, "method_not_allowed", f"{request.path[:100]} takes {allow}", now_ns, headers={"Allow": allow}
        )
    if error.status == 404:
        return error_response(404, "not_found", f"there is no {request.path[:100]} here; see /", now_ns)
    return error_response(error.status, "refused", error.reason, now_ns)
