"""Addresses as a proxy is given them: ``host:port``, or a URL whose scheme says whether there is TLS."""

from __future__ import annotations

import socket
from typing import Final, NamedTuple
from urllib.parse import urlsplit

DEFAULT_PORTS: Final = {"ws": 80, "http": 80, "wss": 443, "https": 443}
SCHEMES: Final = ("tcp", "tls", *DEFAULT_PORTS)
TLS_SCHEMES: Final = frozenset({"wss", "https", "tls"})


class BadAddress(ValueError):
    """Not an address; the text says how one is written."""


class Upstream(NamedTuple):
    """Where a proxy leads: ``scheme`` is empty when only ``host:port`` was given, ``rest`` is path and
    query."""

    scheme: str
    host: str
    port: int
    rest: str

    @property
    def secure(self) -> bool:
        """Whether the server expects TLS."""
        return self.scheme in TLS_SCHEMES


def parse_upstream(text: str) -> Upstream:
    """Read a server's address.

    Raises:
        BadAddress: it is none.
    """
    if "://" not in text:
        return Upstream("", *split_host_port(text), "")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise BadAddress(f"{text!r} is no address: write HOST:PORT or a URL such as ws://HOST:PORT") from None
    if parts.scheme not in SCHEMES:
        raise BadAddress(f"{text!r} has no scheme that is known here: {', '.join(SCHEMES)}")
    port = port if port is not None else DEFAULT_PORTS.get(parts.scheme)
    if not host or port is None:
        raise BadAddress(f"{text!r} names no host and port: write {parts.scheme}://HOST:PORT")
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    return Upstream(parts.scheme, host, port, rest)


def split_host_port(text: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port``; an empty host means every address of this machine.

    Raises:
        BadAddress: no port, or not one.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise BadAddress(f"address {text}: missing port in address")
    if not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise BadAddress(f"address {text}: invalid port {port!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadAddress(f"address {text}: too many colons in address: write [{host}]:{port}")
    return host, int(port)


def join_host_port(host: str, port: int) -> str:
    """The reverse of ``split_host_port``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen_address(text: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Where to bind for ``text``: a name becomes one address, IPv4 if it has one. Blocks on names of hosts.

    Raises:
        BadAddress: not an address.
        OSError: the name is not known.
    """
    host, port = split_host_port(text)
    if not host:
        return (
            (socket.AF_INET6, ("::", port)) if socket.has_dualstack_ipv6() else (socket.AF_INET, ("", port))
        )
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    return socket.AddressFamily(family), (str(address[0]), port)
