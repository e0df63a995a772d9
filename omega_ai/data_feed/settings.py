"""Everything that can be set about the feed, with its bounds. The command line and files fill this in."""

from __future__ import annotations

import ipaddress
import re
import shlex
from pathlib import Path
from typing import Literal

from msgspec import Struct

REPEATABLE = {
    "venue": "venues",
    "origin": "origins",
    "hostname": "hostnames",
    "trusted_proxy": "trusted_proxies",
    "public_url": "public_urls",
}
"""Options that are given once per value -> the settings that hold all of them."""

RELOADABLE = frozenset({
    "origins",
    "trusted_proxies",
    "max_connections",
    "max_connections_per_address",
    "rate_limit",
    "history_rate",
    "history_burst",
    "connection_rate",
    "connection_burst",
    "log_level",
})  # fmt: skip
"""Settings that a running feed takes anew (SIGHUP); the others need a restart."""

SOURCE_KINDS = ("live", "none", "simulated", "replay:FILE")


class SettingsError(ValueError):
    """A setting is wrong. The text names it, says what is wrong and what would be right."""


class FeedSettings(Struct, frozen=True, kw_only=True):
    """Settings of ``omega serve``. Times in seconds, sizes in bytes, ports 0 for any free one.

    ``None`` for ``tls_port`` or ``http_port`` leaves that listener out. ``rate_limit`` is messages per second
    and client; None means none on loopback, and 100 elsewhere or when the settings name a proxy.
    ``history_rate`` is bytes of past messages per second and client, likewise none or 256 KiB, and
    ``history_burst`` those at once. ``connection_rate`` and ``connection_burst`` bound the connections that
    one address asks for, a second and at once, successful or not; 0 for the rate means no bound, and this
    machine itself has none. ``role`` says which part this process plays: ``ingest`` takes prices in and
    publishes them, ``edge`` serves clients, ``all`` does both.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    tls_port: int | None = 8766
    http_host: str = "127.0.0.1"
    http_port: int | None = 8767
    source: str = "live"
    venues: tuple[str, ...] = ()
    broker: str = "embedded"
    workers: int = 1
    role: Literal["all", "ingest", "edge"] = "all"
    cert: Path | None = None
    key: Path | None = None
    fallback: Literal["none", "simulated"] = "none"
    seed: int | None = None

    history_messages: int = 10_000
    history_seconds: float = 3600.0
    price_interval_ms: int = 10

    max_message_size: int = 1 << 20
    outbox_limit: int = 1 << 20
    max_connections: int = 100_000
    max_connections_per_address: int | None = None
    rate_limit: float | None = None
    history_rate: float | None = None
    history_burst: int = 4 << 20
    connection_rate: float = 20.0
    connection_burst: int = 200
    ping_interval: float = 20.0
    pong_timeout: float = 20.0
    handshake_timeout: float = 5.0
    close_timeout: float = 2.0
    drain_seconds: float = 0.0
    strict: bool = False

    require_token: bool = False
    token_secret: Path | None = None
    token_public_key: Path | None = None
    token_jwks: str | None = None
    origins: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    public_urls: tuple[str, ...] = ()

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    alert_webhook: str | None = None
    alert_command: str | None = None
    report_dir: Path | None = None
    trace_every: int = 0

    def validate(self) -> FeedSettings:
        """Check every bound; returns self.

        Raises:
            SettingsError: naming the first setting that is wrong.
        """
        for name in ("port", "tls_port", "http_port"):
            port = getattr(self, name)
            if port is not None and not 0 <= port <= 65535:
                raise SettingsError(f"{_option(name)} must be 0 to 65535 (0 picks a free one), not {port}")
        taken = [p for p in (self.port, self.tls_port, self.http_port) if p]
        if len(set(taken)) != len(taken):
            raise SettingsError("--port, --tls-port and --http-port must differ")
        kind, _, rest = self.source.partition(":")
        known = kind.partition("?")[0] in ("live", "none", "simulated") or (kind == "replay" and rest)
        if not known:
            raise SettingsError(f"--source must be one of {', '.join(SOURCE_KINDS)}, not {self.source!r}")
        for name, low, high in _BOUNDS:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SettingsError(f"{_option(name)} must be {low} to {high}, not {value}")
        if self.workers > 1 and self.broker == "memory":
            raise SettingsError("--workers needs a broker that processes can share: embedded or redis://...")
        if self.role != "all" and self.broker in ("memory", "embedded"):
            raise SettingsError(f"--role {self.role} needs a broker that the others share: redis://...")
        for url in self.public_urls:
            if not _FEED_ADDRESS.fullmatch(url):
                raise SettingsError(f"--public-url must be a ws:// or wss:// address, not {url!r}")
        if self.alert_webhook is not None and not _WEB_ADDRESS.match(self.alert_webhook):
            raise SettingsError("--alert-webhook must be an http:// or https:// address")
        if self.alert_command is not None and not _words(self.alert_command):
            raise SettingsError("--alert-command must be a program and its arguments, quoted as in a shell")
        if self.key is not None and self.cert is None:
            raise SettingsError("--key needs --cert")
        return self

    @property
    def loopback_only(self) -> bool:
        """Whether every WebSocket listener is bound to this machine alone."""
        return is_loopback(self.host)

    @property
    def proxied(self) -> bool:
        """Whether the settings say that clients come through a proxy, or by names of their own."""
        return bool(self.trusted_proxies or self.hostnames or self.public_urls)

    @property
    def _private(self) -> bool:
        """Nobody but this machine's own users can reach the feed, as far as the settings tell."""
        return self.loopback_only and not self.proxied

    @property
    def effective_rate_limit(self) -> float | None:
        """Messages per second and client, None for no limit."""
        if self.rate_limit is not None:
            return self.rate_limit or None
        return None if self._private else 100.0

    @property
    def effective_history_rate(self) -> float | None:
        """Bytes of history per second and client, None for no limit."""
        if self.history_rate is not None:
            return self.history_rate or None
        return None if self._private else 262_144.0

    @property
    def effective_connections_per_address(self) -> int:
        """Connections per client address; this machine itself is not limited beyond the whole."""
        if self.max_connections_per_address is not None:
            return self.max_connections_per_address
        return self.max_connections if self._private else 100


_BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("workers", 1, 64),
    ("history_messages", 1, 1_000_000),
    ("history_seconds", 1, 30 * 86_400),
    ("price_interval_ms", 0, 60_000),
    ("max_message_size", 1024, 64 << 20),
    ("outbox_limit", 4096, 1 << 30),
    ("max_connections", 1, 10_000_000),
    ("max_connections_per_address", 1, 10_000_000),
    ("rate_limit", 0, 1_000_000),
    ("history_rate", 0, 1 << 30),
    ("history_burst", 65_536, 1 << 30),
    ("connection_rate", 0, 1_000_000),
    ("connection_burst", 1, 1_000_000),
    ("trace_every", 0, 1_000_000_000),
    ("ping_interval", 0.05, 3600),
    ("pong_timeout", 0.05, 3600),
    ("handshake_timeout", 0.05, 600),
    ("close_timeout", 0.0, 60),
    ("drain_seconds", 0.0, 3600),
)


_FEED_ADDRESS = re.compile(r"wss?://[A-Za-z0-9.:\[\]-]+(/[\w./~-]*)?", re.ASCII)
_WEB_ADDRESS = re.compile(r"https?://[^/\s]+", re.IGNORECASE)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # a quote that does not end
        return []


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address) can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def changed(running: FeedSettings, wanted: FeedSettings) -> list[str]:
    """The settings, by name, in which the two differ."""
    names = FeedSettings.__struct_fields__
    return [name for name in names if getattr(running, name) != getattr(wanted, name)]


def option_of(setting: str) -> str:
    """A setting's name on the command line and in the file, without dashes in front."""
    singular = {many: one for one, many in REPEATABLE.items()}
    return singular.get(setting, setting).replace("_", "-")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
