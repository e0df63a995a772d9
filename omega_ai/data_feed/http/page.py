"""The page and its files, read from the package once at start.

The files live under a folder named by a hash of all of them, so that a browser may keep them for ever and yet
never mixes two versions; relative imports between them keep working.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from aiohttp import hdrs, web

from omega_ai.data_feed.http.api import public_urls
from omega_ai.data_feed.http.guard import asked_host
from omega_ai.data_feed.http.view import FeedView

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".ts": "text/plain",
}

_IMMUTABLE = "public, max-age=31536000, immutable"


class _File(NamedTuple):
    body: bytes
    packed: bytes
    content_type: str


class Page:
    """Handlers for ``/`` and ``/static/HASH/NAME``. Names are looked up in a table, never on a disk."""

    def __init__(self, view: FeedView) -> None:
        self._view = view
        folder = resources.files("omega_ai.data_feed.dashboard") / "static"
        bodies = {
            entry.name: entry.read_bytes()
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
            if "." + entry.name.rpartition(".")[2] in _TYPES
        }
        digest = hashlib.sha256()
        for name, body in bodies.items():
            digest.update(b"%b %d %b" % (name.encode(), len(body), body))
        self.version = digest.hexdigest()[:16]
        index = bodies.pop("index.html").replace(b'"static/', b'"static/%b/' % self.version.encode())
        self._index = _file("index.html", index)
        self._files = {name: _file(name, body) for name, body in bodies.items()}

    def routes(self) -> list[web.RouteDef]:
        """Path -> handler; GET and HEAD."""
        return [
            web.get("/", self.index),
            web.get("/favicon.ico", self.favicon),
            web.get("/static/{version}/{name}", self.static),
        ]

    async def index(self, request: web.Request) -> web.Response:
        """The page. Not kept by caches, since it names the version of its files."""
        urls = public_urls(self._view.websocket_urls(), asked_host(request))
        return _answer(
            request,
            self._index,
            {"Cache-Control": "no-cache", "Content-Security-Policy": content_security_policy(urls)},
        )

    async def static(self, request: web.Request) -> web.Response:
        """One of the page's files, under the present version alone."""
        found = self._files.get(request.match_info["name"])
        if found is None or request.match_info["version"] != self.version:
            raise web.HTTPNotFound
        return _answer(request, found, {"Cache-Control": _IMMUTABLE})

    async def favicon(self, request: web.Request) -> web.Response:
        """Browsers ask for it by this name whatever the page says."""
        return _answer(request, self._files["icon.svg"], {"Cache-Control": "max-age=86400"})


def content_security_policy(websocket_urls: Sequence[str]) -> str:
    """The page may load its own files and talk to its own server and the feed; nothing inline."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            " ".join(("connect-src 'self'", *websocket_urls)),
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
    )


def _file(name: str, body: bytes) -> _File:
    return _File(body, gzip.compress(body, 9, mtime=0), _TYPES["." + name.rpartition(".")[2]])


def _answer(request: web.Request, file: _File, headers: dict[str, str]) -> web.Response:
    packed = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
    headers["Vary"] = "Accept-Encoding"
    if packed:
        headers["Content-Encoding"] = "gzip"
    return web.Response(
        body=file.packed if packed else file.body,
        content_type=file.content_type,
        charset="utf-8",
        headers=headers,
    )
