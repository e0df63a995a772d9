"""Whether a client may connect: decided before the upgrade, from the request's head alone.

Pure: no socket, no waiting. Checks run from the cheap to the dear, so that whoever is to be refused costs
little; a signature is verified last.

======  ======================================================================================
Status  When
======  ======================================================================================
400     no ``Host``, or one that is none; ``channels`` names a channel that does not exist
401     a token is required and missing, or not valid (with ``WWW-Authenticate``, RFC 6750)
403     the ``Host`` is not ours; the ``Origin`` is not allowed; the token does not allow a channel
404     a path other than ``/`` and ``/ws``
429     too many connections or attempts of one address or user (with ``Retry-After``)
503     the server is full, draining, or has no keys to verify tokens with (with ``Retry-After``)
======  ======================================================================================

A token is taken from the ``Authorization`` header only. In a URL it would end in logs and histories; one
found there is ignored.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from omega_ai.core.clock import Clock
from omega_ai.data_feed.websocket.admission_limits import (
    IPAddress,
    RateLimiter,
    address_key,
    client_address,
    is_forwarded,
    parse_network,
)
from omega_ai.data_feed.websocket.auth import (
    ANONYMOUS,
    FORWARDED,
    UNPROVEN,
    Authenticator,
    AuthError,
    Identity,
)
from omega_ai.data_feed.websocket.origins import HostPolicy, HostPort, OriginPolicy, parse_host

PATHS = frozenset({"/", "/ws"})
SUBPROTOCOL = "omega.v2"
MAX_TARGET_CHARACTERS = 4096

Kind = Literal[
    "draining", "rate", "path", "host", "origin", "request", "capacity", "address_cap", "user_cap", "token",
    "forbidden",
]  # fmt: skip
"""Why a client was refused, for a metric's label."""


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """What the decision rests on. ``headers`` has lower-case names; ``peer`` is an IP address, or empty."""

    target: str
    headers: Mapping[str, str]
    peer: str
    secure: bool = False

    @classmethod
    def build(
        cls, target: str, headers: Mapping[str, str | Sequence[str]], peer: str, *, secure: bool = False
    ) -> UpgradeRequest:
        """From headers in any case, with one value or many, then joined by commas (RFC 9110 section 5.3)."""
        joined = {
            name.lower(): value if isinstance(value, str) else ", ".join(value)
            for name, value in headers.items()
        }
        return cls(target, joined, peer, secure)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The client may connect. Give it back to ``Admission.release`` when its connection is over."""

    identity: Identity
    channels: tuple[str, ...]
    """What it is subscribed to from the start."""
    subprotocol: str | None
    """To be confirmed in ``Sec-WebSocket-Protocol``; None: say nothing."""
    address: str
    """Who it is counted as, for logs: an IPv4 address, an IPv6 /64, or ``local``."""
    slot: int
    local: bool = True
    """See ``Identity.local``."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP answer instead of the upgrade: ``reason`` is its text, ``kind`` counts it."""

    status: int
    reason: str
    kind: Kind
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """Who may connect, and how many."""

    known_channels: frozenset[str]
    default_channels: tuple[str, ...] = ("btc_price", "broadcast")
    loopback_only: bool = False
    """Every listening socket is bound to this machine's own addresses."""
    require_token: bool = False
    """Refuse the upgrade without a token. A browser cannot send one there: it is let in, gets nothing, and
    has to show it in an ``auth`` message."""
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose ``X-Forwarded-For`` is believed. A proxy on this machine that is not among
    them is noticed by what it adds to a request, and its clients are not taken for local ones."""
    max_connections: int = 100_000
    max_per_address: int = 200
    max_per_user: int = 200
    attempts_per_s: float | None = 20.0
    """Connections that one address may ask for, a second, on average; None for no limit."""
    attempts_burst: int = 200
    limit_loopback: bool = False
    """Whether limits per address hold for this machine too. A proxy on it is better named a trusted one."""


@dataclass(slots=True)
class _Held:
    address: str | None
    user: str | None


@dataclass(slots=True)
class _Counts:
    """What is connected. Each key holds a connection, so ``max_connections`` bounds these tables."""

    slots: dict[int, _Held] = field(default_factory=dict)
    addresses: Counter[str] = field(default_factory=Counter)
    users: Counter[str] = field(default_factory=Counter)


class Admission:
    """Decides on requests and counts those who are in.

    Args:
        settings: who may connect, and how many.
        authenticator: verifies tokens; None: the server takes none.
        clock: for rates (monotonic) and tokens (UTC).
        rng: spreads ``Retry-After``, so that clients sent away together do not return together.

    Raises:
        ValueError: an origin, host or proxy in the settings is none; says which.
    """

    def __init__(
        self,
        settings: AdmissionSettings,
        *,
        clock: Clock,
        rng: random.Random,
        authenticator: Authenticator | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._clock = clock
        self._rng = rng
        self._counts = _Counts()
        self._next_slot = 0
        self._draining = False
        self._rate: tuple[float | None, int] = (None, 1)
        self._rates: RateLimiter | None = None
        self.reconfigure(settings)

    def reconfigure(self, settings: AdmissionSettings) -> None:
        """Decide by ``settings`` from now on. Who is in stays in, and is counted, also above a lower cap.

        Raises:
            ValueError: as on making it; nothing has changed then.
        """
        if settings.require_token and self._authenticator is None:
            raise ValueError("a token is required, but there is no key to verify it with: configure one")
        origins = OriginPolicy(settings.origins, loopback_only=settings.loopback_only)
        hosts = HostPolicy(settings.hosts, loopback_only=settings.loopback_only)
        proxies = [parse_network(proxy) for proxy in settings.trusted_proxies]
        rate = (settings.attempts_per_s, settings.attempts_burst)
        if rate != self._rate:  # otherwise whoever has used up his attempts would be given new ones
            per_s, burst = self._rate = rate
            self._rates = None if per_s is None else RateLimiter(per_s, burst)
        self._settings, self._origins, self._hosts, self._proxies = settings, origins, hosts, proxies

    @property
    def connections(self) -> int:
        """How many are in."""
        return len(self._counts.slots)

    def drain(self) -> None:
        """Let nobody in from now on; those who are in stay."""
        self._draining = True

    def decide(self, request: UpgradeRequest) -> Admitted | Refusal:
        """Let a client in, and count it, or say why not."""
        if self._draining:
            return self._later(503, "the server is about to stop: connect again", "draining")
        address = client_address(request.peer, request.headers.get("x-forwarded-for"), self._proxies)
        limited = self._limited_as(address)
        if limited is not None and self._rates is not None:
            wait = self._rates.wait(limited, self._clock.monotonic())
            if wait > 0:
                return self._later(429, "too many connection attempts from this address", "rate", wait)
        path, query, authority = _split(request.target)
        place = self._place(path, request, authority)
        if isinstance(place, Refusal):
            return place
        channels = self._channels(query)
        if isinstance(channels, Refusal):
            return channels
        full = self._full(limited)
        if full is not None:
            return full
        identity = self._identity(request.headers.get("authorization"), browser="origin" in request.headers)
        if isinstance(identity, Refusal):
            return identity
        readable = self._readable(identity, channels)
        if isinstance(readable, Refusal):
            return readable
        user = None if identity in (ANONYMOUS, UNPROVEN) else identity.subject
        local = not is_forwarded(request.peer, request.headers, self._proxies)
        if not local:
            identity = FORWARDED if identity is ANONYMOUS else _from_elsewhere(identity)
        if user is not None and self._counts.users[user] >= self._settings.max_per_user:
            return self._later(429, "too many connections with tokens of this subject", "user_cap")
        slot = self._take(limited, user)
        offered = request.headers.get("sec-websocket-protocol", "")
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in (name.strip() for name in offered.split(",")) else None
        return Admitted(identity, readable, subprotocol, address_key(address), slot, local)

    def release(self, admitted: Admitted) -> None:
        """A connection is over. Releasing twice is releasing once."""
        held = self._counts.slots.pop(admitted.slot, None)
        if held is not None:
            _drop(self._counts.addresses, held.address)
            _drop(self._counts.users, held.user)

    def identify(self, admitted: Admitted, identity: Identity) -> Identity | None:
        """Count a connection for the user that it has shown itself to be by an ``auth`` message.

        Returns who it is from now on; None, with nothing changed, if that user has too many.
        """
        known = identity if admitted.local else _from_elsewhere(identity)
        held = self._counts.slots.get(admitted.slot)
        user = None if identity is ANONYMOUS else identity.subject
        if held is None or held.user == user:
            return known
        if user is not None:
            if self._counts.users[user] >= self._settings.max_per_user:
                return None
            self._counts.users[user] += 1
        _drop(self._counts.users, held.user)
        held.user = user
        return known

    def _limited_as(self, address: IPAddress | None) -> str | None:
        """The key that limits count by; None for one that they do not hold for."""
        if not self._settings.limit_loopback and (address is None or address.is_loopback):
            return None
        return address_key(address)

    def _place(self, path: str, request: UpgradeRequest, authority: str | None) -> HostPort | Refusal:
        if path not in PATHS:
            return Refusal(404, "nothing here: the feed is at / and /ws", "path")
        # The authority of a target in absolute form takes the place of Host (RFC 9112 section 3.2.2).
        named = authority if authority is not None else request.headers.get("host")
        host = None if named is None else parse_host(named)
        if host is None:
            return Refusal(400, "the request needs one Host header that names a host", "host")
        if not self._hosts.allows(host):
            return Refusal(
                403,
                "this server does not go by the name in the Host header: add it to the allowed hosts",
                "host",
            )
        refused = self._origins.refusal(request.headers.get("origin"), host)
        return host if refused is None else Refusal(403, refused, "origin")

    def _channels(self, query: str) -> tuple[str, ...] | Refusal | None:
        """The channels asked for in the URL; None if it does not say."""
        try:
            fields = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=32)
        except ValueError:
            return Refusal(400, "the query of the URL cannot be read", "request")
        values = [value for name, value in fields if name == "channels"]
        if not values:
            return None
        names = dict.fromkeys(name.strip() for value in values for name in value.split(","))
        names.pop("", None)
        if not names.keys() <= self._settings.known_channels:
            # It may hold anything, a token pasted in the wrong place included: so it is not repeated.
            known = ", ".join(sorted(self._settings.known_channels))
            return Refusal(400, f"an unknown channel in the URL: there are {known}", "request")
        return tuple(names)

    def _full(self, limited: str | None) -> Refusal | None:
        if self.connections >= self._settings.max_connections:
            return self._later(503, "the server has as many connections as it takes", "capacity")
        if limited is not None and self._counts.addresses[limited] >= self._settings.max_per_address:
            return self._later(429, "too many connections from this address", "address_cap")
        return None

    def _identity(self, authorization: str | None, *, browser: bool) -> Identity | Refusal:
        scheme, _, token = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer":
            # Another scheme is not for us: a proxy's own password, say.
            if self._settings.require_token and browser:
                return UNPROVEN
            if self._settings.require_token:
                return _unauthorized("a token is required: send it as 'Authorization: Bearer TOKEN'")
            return ANONYMOUS
        if self._authenticator is None:
            return _unauthorized(
                "this server takes no tokens: connect without, or give it a key", invalid=True
            )
        try:
            return self._authenticator.verify(token.strip(), self._clock.time_ns())
        except AuthError as error:
            if error.temporary:
                return self._later(503, error.reason, "token")
            return _unauthorized(error.reason, invalid=True)

    def _readable(self, identity: Identity, asked: tuple[str, ...] | None) -> tuple[str, ...] | Refusal:
        if identity is UNPROVEN:
            return ()
        if asked is None:
            return tuple(name for name in self._settings.default_channels if identity.may_read(name))
        for name in asked:
            if not identity.may_read(name):
                return Refusal(403, f"the token does not allow the channel {name}", "forbidden")
        return asked

    def _take(self, address: str | None, user: str | None) -> int:
        self._next_slot += 1
        self._counts.slots[self._next_slot] = _Held(address, user)
        if address is not None:
            self._counts.addresses[address] += 1
        if user is not None:
            self._counts.users[user] += 1
        return self._next_slot

    def _later(self, status: int, reason: str, kind: Kind, wait: float = 0.0) -> Refusal:
        seconds = math.ceil(wait) + self._rng.randint(1, 5)
        return Refusal(status, reason, kind, (("Retry-After", str(seconds)),))


def loggable(target: str) -> str:
    """A request's target without its query, which may hold a secret, and not too long: fit for a log."""
    return target.partition("?")[0][:200]


def _from_elsewhere(identity: Identity) -> Identity:
    return identity if identity is UNPROVEN else replace(identity, local=False)


def _split(target: str) -> tuple[str, str, str | None]:
    """Path, query and, for a target in absolute form, the authority."""
    if len(target) > MAX_TARGET_CHARACTERS:
        return "", "", None
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return path, query, None
    try:
        parts = urlsplit(target)
    except ValueError:
        return "", "", None
    if parts.scheme not in ("http", "https", "ws", "wss"):
        return "", "", None
    return parts.path or "/", parts.query, parts.netloc


def _unauthorized(reason: str, *, invalid: bool = False) -> Refusal:
    challenge = 'Bearer realm="omega"'
    if invalid:
        # A quoted string of RFC 6750 section 3 takes neither quotes nor backslashes, nor anything but ASCII.
        text = "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in reason)
        challenge += f', error="invalid_token", error_description="{text}"'
    return Refusal(401, reason, "token", (("WWW-Authenticate", challenge),))


def _drop(counter: Counter[str], key: str | None) -> None:
    if key is not None:
        counter[key] -= 1
        if counter[key] <= 0:
            del counter[key]  # a Counter keeps zeros, and the table would grow
