"""Where a request says it comes from (``Origin``), whom it means (``Host``), and which of these are allowed.

Any page that a user visits may open a WebSocket to any server, this machine's own included (RFC 6455 section
10.2): only the ``Origin`` that the browser adds tells it apart. And a page whose name is made to resolve to
127.0.0.1 (DNS rebinding) is given away by the ``Host`` that it was loaded from.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from omega_ai.core.client_tls import is_loopback

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*", re.ASCII)


class HostPort(NamedTuple):
    """A ``Host`` header: a name in lower case or an address in its shortest form, and the port if given."""

    host: str
    port: int | None


class Origin(NamedTuple):
    """An ``Origin`` header (RFC 6454 section 6.2). ``port`` is the scheme's where none was given."""

    scheme: str
    host: str
    port: int | None


def parse_host(text: str) -> HostPort | None:
    """A ``Host`` header's value, or None if it is none: several, or a form that could mean another host."""
    if len(text) > 270:
        return None
    text = text.lower()
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(host))
        except ValueError:
            return None
        if not bracket or (rest and not rest.startswith(":")) or "%" in host:
            return None
        digits = rest[1:] if rest else None
    else:
        host, colon, after = text.partition(":")
        digits = after if colon else None
        host = host.removesuffix(".")
        if _NAME.fullmatch(host) is None or not _plain_address_or_name(host):
            return None
    if not digits:
        return HostPort(host, None)
    port = _port(digits)
    return None if port is None else HostPort(host, port)


def parse_origin(text: str) -> Origin | None:
    """An ``Origin`` header's value, or None: ``null``, several, or none at all."""
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or len(scheme) > 64 or _SCHEME.fullmatch(scheme) is None:
        return None
    place = parse_host(rest)
    if place is None:
        return None
    return Origin(scheme, place.host, place.port if place.port is not None else _DEFAULT_PORTS.get(scheme))


class OriginPolicy:
    """Which origins may connect.

    Args:
        allowed: ``https://example.com``, ``https://example.com:8443``, ``https://*.example.com`` (every name
            below it, not itself), or ``*`` (every origin but ``null``).
        loopback_only: nobody else can reach the server, so pages of this machine and of the host that the
            request was sent to are let in besides.

    Raises:
        ValueError: says which of ``allowed`` is not an origin.
    """

    def __init__(self, allowed: Iterable[str] = (), *, loopback_only: bool = False) -> None:
        self._loopback_only = loopback_only
        self._all = False
        self._exact: set[Origin] = set()
        self._below: set[Origin] = set()
        for pattern in allowed:
            wildcard = "://*." in pattern
            origin = parse_origin(pattern.replace("://*.", "://", 1).removesuffix("/"))
            if pattern == "*":
                self._all = True
            elif origin is None:
                raise ValueError(
                    f"{pattern!r} is not an origin: write https://example.com, https://*.example.com or *"
                )
            else:
                (self._below if wildcard else self._exact).add(origin)

    def refusal(self, origin: str | None, host: HostPort | None) -> str | None:
        """None if a request with these headers may connect, otherwise a sentence that says why not."""
        if origin is None:
            return None  # not a browser: whoever writes the request could write any Origin too
        if origin.strip().lower() == "null":
            return "the origin null (a file or a sandboxed page) may not connect: serve the page over http"
        parsed = parse_origin(origin)
        if parsed is None:
            return "the Origin header is not an origin"
        if self._all or parsed in self._exact or self._is_below(parsed):
            return None
        if (
            self._loopback_only
            and parsed.scheme in ("http", "https")
            and (is_loopback(parsed.host) or (host is not None and parsed.host == host.host))
        ):
            return None
        return "pages of this origin may not connect: add it to the allowed origins"

    def _is_below(self, origin: Origin) -> bool:
        return any(
            origin.scheme == base.scheme
            and origin.port == base.port
            and origin.host.endswith("." + base.host)
            for base in self._below
        )


class HostPolicy:
    """Which names a request may be sent to.

    Args:
        allowed: ``example.com``, ``example.com:8765``, ``*.example.com`` or an address. Empty: any, on a
            server that is reachable from elsewhere.
        loopback_only: this machine's own names are allowed, and others only if they stand in ``allowed``.

    Raises:
        ValueError: says which of ``allowed`` is not a host.
    """

    def __init__(self, allowed: Iterable[str] = (), *, loopback_only: bool = False) -> None:
        self._loopback_only = loopback_only
        self._exact: set[HostPort] = set()
        self._below: set[str] = set()
        for pattern in allowed:
            host = parse_host(pattern.removeprefix("*."))
            if host is None:
                raise ValueError(
                    f"{pattern!r} is not a host: write example.com, example.com:8765 or *.example.com"
                )
            if pattern.startswith("*."):
                self._below.add("." + host.host)
            else:
                self._exact.add(host)

    def allows(self, host: HostPort) -> bool:
        """Whether a request for ``host`` is for us."""
        if not self._loopback_only and not self._exact and not self._below:
            return True
        if host in self._exact or HostPort(host.host, None) in self._exact:
            return True
        if any(host.host.endswith(suffix) for suffix in self._below):
            return True
        return self._loopback_only and is_loopback(host.host)


def _port(digits: str) -> int | None:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 5:
        return None
    port = int(digits)
    return port if 0 < port < 65536 else None


def _plain_address_or_name(host: str) -> bool:
    """False for a number that is no dotted address: ``0x7f.1`` and ``127.1`` are 127.0.0.1 to some."""
    last = host.rpartition(".")[2]
    if not (last.isdigit() or last.startswith("0x")):
        return True
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
