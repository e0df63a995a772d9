"""The opening handshake (RFC 6455 section 4): a server's judgement of a request, a client's of the answer."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from omega_ai.core.websocket import deflate
from omega_ai.core.websocket.headers import is_token, parse_extensions, tokens

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

REQUEST_LIMIT: Final = 8192
"""Bytes that a request's head may have, the blank line included."""
RESPONSE_LIMIT: Final = 16_384
"""Bytes that an answer's head may have."""
HEADERS_LIMIT: Final = 64
"""Header lines that a request, or an answer, may have."""


class Refusal(Exception):
    """Why a request cannot become a WebSocket, as an HTTP answer; ``reason`` is the text of its body."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"HTTP {status}: {reason}")
        self.status = status
        self.reason = reason
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request. ``headers`` has lower-case names and the values of all their lines."""

    method: str
    target: str
    version: str
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """The header's value, its lines joined by commas; None if there is none."""
        values = self.headers.get(name)
        return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A valid upgrade: what to answer (``headers``, for the 101) and what was agreed."""

    headers: tuple[tuple[str, str], ...]
    subprotocol: str | None = None
    deflate: deflate.DeflateParams | None = None
    offered: tuple[str, ...] = field(default=())


def parse_request(head: bytes) -> Request:
    """Parse a request's head, up to but without the blank line (RFC 9112 sections 3 and 5).

    Raises ``Refusal``: 400 for what is not HTTP, 431 for too many headers.
    """
    lines = head.split(b"\r\n")
    if len(lines) - 1 > HEADERS_LIMIT:
        raise Refusal(431, f"the request has more than {HEADERS_LIMIT} headers")
    try:
        method, target, version = lines[0].decode("ascii").split(" ")
    except ValueError:
        raise Refusal(400, "the request line is not METHOD TARGET HTTP/1.1") from None
    if not is_token(method) or not target or not version.startswith("HTTP/") or not target.isprintable():
        raise Refusal(400, "the request line is not METHOD TARGET HTTP/1.1")
    try:
        headers = _parse_headers(lines[1:])
    except ValueError as error:
        raise Refusal(400, str(error)) from None
    return Request(method, target, version, headers)


def fold_headers(items: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Header lines as ``Request.headers`` has them."""
    headers: dict[str, list[str]] = {}
    for name, value in items:
        headers.setdefault(name.lower(), []).append(value)
    return headers


def check_upgrade(request: Request, *, subprotocols: Sequence[str] = (), compression: bool = True) -> Upgrade:
    """Check a client's handshake (section 4.2.1) and choose what to answer (section 4.2.2).

    ``subprotocols`` are those the server knows, the preferred first; none of them is ever demanded.
    Raises ``Refusal``.
    """
    _check_http(request)
    key = _single(request, "sec-websocket-key")
    try:
        if len(base64.b64decode(key, validate=True)) != 16 or len(key) != 24:
            raise ValueError(key)
    except (binascii.Error, ValueError):
        raise Refusal(400, "Sec-WebSocket-Key is not 16 bytes in base64") from None
    if "sec-websocket-version" not in request.headers:
        text = "the request must have a Sec-WebSocket-Version header; version 13 (RFC 6455) is supported"
        raise Refusal(400, text, (("Sec-WebSocket-Version", "13"),))
    version = _single(request, "sec-websocket-version")
    if version != "13":
        raise Refusal(
            426,
            f"WebSocket version {version[:16]!r} is not supported; version 13 (RFC 6455) is",
            (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
        )
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_value(key)),
    ]
    offered = _offered_subprotocols(request)
    subprotocol = next((name for name in subprotocols if name in offered), None)
    if subprotocol is not None:
        headers.append(("Sec-WebSocket-Protocol", subprotocol))
    agreed = None
    values = request.headers.get("sec-websocket-extensions")
    if values:
        try:
            offers = parse_extensions(values)
        except ValueError as error:
            raise Refusal(400, f"Sec-WebSocket-Extensions: {error}") from None
        answer = deflate.negotiate(offers) if compression else None
        if answer is not None:
            headers.append(("Sec-WebSocket-Extensions", answer[0]))
            agreed = answer[1]
    return Upgrade(tuple(headers), subprotocol, agreed, offered)


def accept_value(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (section 4.2.2)."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def _check_http(request: Request) -> None:
    if request.method != "GET":
        raise Refusal(405, f"a handshake is a GET, not {request.method[:16]!r}", (("Allow", "GET"),))
    if request.version != "HTTP/1.1":
        raise Refusal(505, f"a handshake is HTTP/1.1, not {request.version[:16]!r}")
    if len(request.headers.get("host", ())) != 1:
        raise Refusal(400, "the request must have exactly one Host header")
    if "transfer-encoding" in request.headers or request.header("content-length") not in (None, "0"):
        raise Refusal(400, "a WebSocket handshake has no body")
    upgrade = [item.lower() for item in tokens(request.headers.get("upgrade", ()))]
    if "websocket" not in upgrade:
        raise Refusal(
            426,
            "this is a WebSocket endpoint; connect to it with a WebSocket client (ws:// or wss://)",
            (("Upgrade", "websocket"),),
        )
    connection = [item.lower() for item in tokens(request.headers.get("connection", ()))]
    if "upgrade" not in connection:
        raise Refusal(400, "the Connection header does not name 'Upgrade'; did a proxy remove it?")


def _single(request: Request, name: str) -> str:
    values = request.headers.get(name, ())
    if len(values) != 1:
        shown = "-".join({"websocket": "WebSocket"}.get(part, part.capitalize()) for part in name.split("-"))
        raise Refusal(400, f"the request must have exactly one {shown} header")
    return values[0]


def _offered_subprotocols(request: Request) -> tuple[str, ...]:
    offered = tokens(request.headers.get("sec-websocket-protocol", ()))
    for name in offered:
        if not is_token(name):
            raise Refusal(400, f"Sec-WebSocket-Protocol: {name[:32]!r} is not a token")
    if len(set(offered)) != len(offered):
        raise Refusal(400, "Sec-WebSocket-Protocol names a subprotocol twice")
    return tuple(offered)


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _parse_headers(lines: Sequence[bytes]) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        # A space before the colon and a folded line are ways to smuggle requests (RFC 9112 section 5).
        if not colon or not is_token(name):
            raise ValueError(f"not a header line: {line[:64]!r}")
        value = value.strip(" \t")
        if _CONTROL.search(value) is not None:
            raise ValueError(f"control character in the header {name!r}")
        headers.setdefault(name.lower(), []).append(value)
    return headers


# The client's side.


@dataclass(frozen=True, slots=True)
class Response:
    """The head of an HTTP answer; ``headers`` as in ``Request``."""

    status: int
    phrase: str
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """The header's value, its lines joined by commas; None if there is none."""
        values = self.headers.get(name)
        return ", ".join(values) if values else None


class HandshakeError(Exception):
    """There will be no WebSocket connection: ``reason`` says why; ``response`` and ``body`` if there are."""

    def __init__(self, reason: str, response: Response | None = None, body: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.response = response
        self.body = body


def new_key(random_bytes: bytes) -> str:
    """Sec-WebSocket-Key from 16 random bytes."""
    return base64.b64encode(random_bytes).decode("ascii")


def build_request(
    host: str,
    target: str,
    key: str,
    *,
    subprotocols: Sequence[str] = (),
    compression: bool = False,
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """A client's request (section 4.1). ``host`` is the Host header, ``headers`` are added as they are.

    Raises ``ValueError`` for anything that would not stay in its line.
    """
    fields = [
        ("Host", host),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", "13"),
    ]
    if subprotocols:
        fields.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
    if compression:
        fields.append(("Sec-WebSocket-Extensions", deflate.OFFER))
    fields.extend(headers)
    if not target.isascii() or not target.isprintable() or " " in target:
        raise ValueError(f"not a request target: {target[:80]!r}; encode what is not plain ASCII")
    for name, value in fields:
        if not is_token(name) or not value.isprintable():
            raise ValueError(f"not a header: {name[:40]!r}")
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def parse_response(head: bytes) -> Response:
    """Parse an answer's head, up to but without the blank line. Raises ``HandshakeError``."""
    lines = head.split(b"\r\n")
    version, _, rest = lines[0].decode("latin-1").partition(" ")
    status, _, phrase = rest.partition(" ")
    if version not in ("HTTP/1.1", "HTTP/1.0") or len(status) != 3 or not status.isdecimal():
        raise HandshakeError(f"the answer is not HTTP/1.1: {lines[0][:80]!r}")
    if len(lines) - 1 > HEADERS_LIMIT:
        raise HandshakeError(f"the answer has more than {HEADERS_LIMIT} headers")
    try:
        return Response(int(status), phrase, _parse_headers(lines[1:]))
    except ValueError as error:
        raise HandshakeError(f"the answer is not HTTP: {error}") from None


def check_response(
    response: Response, key: str, *, subprotocols: Sequence[str] = (), compression: bool = False
) -> tuple[str | None, deflate.DeflateParams | None]:
    """Check a 101 answer (section 4.1); returns the subprotocol and the compression agreed on.

    Raises ``HandshakeError``.
    """
    if response.status != 101:
        raise HandshakeError(f"the server answered HTTP {response.status}", response)
    if [item.lower() for item in tokens(response.headers.get("upgrade", ()))] != ["websocket"]:
        raise HandshakeError("the answer has no 'Upgrade: websocket'", response)
    if "upgrade" not in [item.lower() for item in tokens(response.headers.get("connection", ()))]:
        raise HandshakeError("the answer has no 'Connection: Upgrade'", response)
    if response.headers.get("sec-websocket-accept") != [accept_value(key)]:
        raise HandshakeError("Sec-WebSocket-Accept does not match the key", response)
    chosen = response.headers.get("sec-websocket-protocol", ())
    if len(chosen) > 1 or (chosen and chosen[0] not in subprotocols):
        raise HandshakeError(f"the server chose a subprotocol that was not offered: {chosen[0]!r}", response)
    agreed = None
    extensions = response.headers.get("sec-websocket-extensions", ())
    try:
        answers = parse_extensions(extensions)
        if answers and not compression:
            raise ValueError(f"the server chose an extension that was not offered: {answers[0].name!r}")
        agreed = deflate.accept_answer(answers)
    except ValueError as error:
        raise HandshakeError(f"Sec-WebSocket-Extensions: {error}", response) from None
    return (chosen[0] if chosen else None), agreed
