"""How much one address may ask for: whom an address stands for, and a rate limit in bounded memory."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Mapping, Sequence

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

LOCAL = "local"
"""The key of a peer without an address: a Unix socket's."""


def parse_address(text: str) -> IPAddress | None:
    """An address as ``getpeername`` or a proxy writes it: no zone, no port, an IPv4 in IPv6 unwrapped."""
    text = text.strip().strip('"')
    if len(text) > 64:
        return None
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def parse_network(text: str) -> IPNetwork:
    """The address or network of a proxy, from the settings.

    Raises:
        ValueError: it is none.
    """
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address or network of a proxy: write 10.0.0.5 or 10.0.0.0/8"
        ) from None


def address_key(address: IPAddress | None) -> str:
    """Who is counted as one: an IPv4 address, or an IPv6 /64, the least that one user is given."""
    if address is None:
        return LOCAL
    if isinstance(address, ipaddress.IPv6Address) and not address.is_loopback:
        return f"{ipaddress.IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def client_address(peer: str, forwarded_for: str | None, trusted: Sequence[IPNetwork]) -> IPAddress | None:
    """The client's address: the peer's, or what proxies that we trust say of it (``X-Forwarded-For``).

    Each proxy appends whom it heard from, so the header is read from its end, and only for as long as the one
    who wrote an entry is trusted: whatever stands before that, the client may have made up.
    """
    address = parse_address(peer)
    if not trusted or forwarded_for is None:
        return address
    for entry in reversed(forwarded_for.split(",")):
        if address is None or not any(address in network for network in trusted):
            break
        claimed = parse_address(entry)
        if claimed is None:
            break
        address = claimed
    return address


FORWARDING = frozenset({
    "cf-connecting-ip",
    "forwarded",
    "true-client-ip",
    "via",
    "x-client-ip",
    "x-forwarded",
    "x-forwarded-by",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
})  # fmt: skip
"""Headers that proxies add (RFC 7239; RFC 9110 section 7.6.3; customs), and no client of its own accord."""


def is_forwarded(peer: str, headers: Mapping[str, str], trusted: Sequence[IPNetwork]) -> bool:
    """Whether a peer on this machine (or on a Unix socket) is a proxy that we were not told of.

    It is, if it adds a header of theirs. Whoever it forwards for may be anywhere, however local its own
    address is; and a client that adds the header itself is trusted less for it, never more. A proxy that adds
    nothing cannot be told from a client.
    """
    if FORWARDING.isdisjoint(headers):
        return False
    address = parse_address(peer)
    if address is None:
        return True
    return address.is_loopback and not any(address in network for network in trusted)


class RateLimiter:
    """So many events a second for each key, with room for a burst (generic cell rate algorithm).

    One number a key: the time at which its credit would be whole again. A key whose time has passed says as
    much as one that is absent, so forgetting it loses nothing; beyond ``max_keys``, those longest unused go.

    Args:
        rate: events a second, > 0.
        burst: events at once, >= 1.
        max_keys: how many keys are remembered.
    """

    def __init__(self, rate: float, burst: int, max_keys: int = 16_384) -> None:
        if rate <= 0 or burst < 1 or max_keys < 1:
            raise ValueError(
                f"a rate limit needs rate > 0, burst >= 1 and max_keys >= 1: {rate}, {burst}, {max_keys}"
            )
        self._step = 1.0 / rate
        self._room = (burst - 1) * self._step
        self._max_keys = max_keys
        self._whole_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._whole_at)

    def wait(self, key: str, now: float) -> float:
        """Count one event of ``key`` and return 0, or count nothing and return the seconds to wait.

        ``now`` is monotonic time in seconds.
        """
        whole_at = max(self._whole_at.get(key, now), now)
        excess = whole_at - now - self._room
        if excess > 1e-9:
            # It is in use: otherwise many new keys could wash it out of the table.
            self._whole_at.move_to_end(key)
            return excess
        self._whole_at[key] = whole_at + self._step
        self._whole_at.move_to_end(key)
        self._forget(now)
        return 0.0

    def _forget(self, now: float) -> None:
        # Two at most, so that the table shrinks and yet no call takes long.
        for _ in range(min(2, len(self._whole_at))):
            key, whole_at = next(iter(self._whole_at.items()))
            if whole_at > now and len(self._whole_at) <= self._max_keys:
                return
            del self._whole_at[key]
