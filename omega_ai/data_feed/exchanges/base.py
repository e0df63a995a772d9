"""A venue, described: where it is, what to say to it, what it says, what it tolerates.

Everything that differs between venues is data here or the venue's pure ``parse``; everything that is the same
(connecting, checking, backing off) is in ``supervisor``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from omega_ai.data_feed.exchanges.numbers import Parse

Kind = Literal["trades", "quotes", "volume", "heartbeats"]
TradeIds = Literal["consecutive", "unique"]
"""``consecutive``: the next trade's id is the last one's plus 1. ``unique``: ids only tell trades apart."""


class Channel(Struct, frozen=True):
    """One subscription. ``ack`` is the ``Ack.key`` that confirms it, None where the venue confirms nothing.

    ``kinds`` are the events it brings for ``symbol``. ``first_data_s`` is how long after the confirmation the
    first of them may take: a misspelt stream is accepted by some venues and stays silent for ever. None where
    silence is normal.
    """

    name: str
    symbol: str
    kinds: tuple[Kind, ...]
    ack: str | None
    first_data_s: float | None


class Liveness(Struct, frozen=True):
    """How a living connection shows.

    The signal is a heartbeat message, the answer to our ping, or a ping frame of the venue's: it comes about
    every ``interval_s`` seconds. ``ping`` is what we send every ``ping_every_s`` seconds, if anything:
    a message of the venue's own, or a WebSocket ping frame.
    """

    interval_s: float
    ping: bytes | Literal["frame"] | None = None
    ping_every_s: float | None = None


class Limits(Struct, frozen=True):
    """What the venue tolerates. Exceeding it gets an address banned, so the supervisor stays under it."""

    connects: int
    connect_window_s: float
    """At most ``connects`` connection attempts within this many seconds."""
    messages_per_s: float
    """What we may send, pings and pongs included."""
    max_age_s: float | None = None
    """A connection is closed by the venue at this age; it is replaced before that."""
    max_frame: int = 16 << 20


class RestTrades(Struct, frozen=True):
    """Where recent trades can be asked for, to fill a gap.

    ``path`` may have the places ``{first}`` (the first missing trade id), ``{next}`` (the id after the last
    missing one), ``{since_ns}`` (the time of the trade before the gap, nanoseconds since the Unix epoch)
    and ``{limit}``. ``other_path`` is asked instead once ``path`` was refused, and the other way round.
    """

    url: str
    path: str
    parse: Parse
    limit: int
    requests_per_s: float = 1.0
    other_path: str | None = None


class Venue(Struct, frozen=True):
    """One exchange's feed of BTC. ``subscribe`` is sent in order, once the connection stands."""

    name: str
    url: str
    parse: Parse
    channels: tuple[Channel, ...]
    subscribe: tuple[bytes, ...]
    liveness: Liveness
    limits: Limits
    trade_ids: TradeIds
    documentation: str
    rest: RestTrades | None = None

    @property
    def symbol(self) -> str:
        """The market whose trades are taken, as ``BTC-USD``."""
        return next(channel.symbol for channel in self.channels if "trades" in channel.kinds)


class BadVenueUrl(ValueError):
    """A venue's URL from the settings or the environment cannot be used. The text says which and why."""


def url_of(venue: Venue, configured: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """The venue's address: ``configured[name]``, else the environment's ``WSS_URL_<NAME>``, else its own.

    Raises:
        BadVenueUrl: the chosen one is not a ``ws://`` or ``wss://`` URL with a host.
    """
    chosen = _chosen(venue, "WSS_URL", ("ws", "wss"), configured, environment)
    return venue.url if chosen is None else chosen


def rest_url_of(venue: Venue, configured: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    """Where its REST interface is, if elsewhere: ``configured[name]``, else ``REST_URL_<NAME>``, else None.

    Raises:
        BadVenueUrl: the chosen one is not an ``http://`` or ``https://`` URL with a host.
    """
    return _chosen(venue, "REST_URL", ("http", "https"), configured, environment)


def _chosen(
    venue: Venue,
    prefix: str,
    schemes: tuple[str, str],
    configured: Mapping[str, str],
    environment: Mapping[str, str],
) -> str | None:
    variable = f"{prefix}_{venue.name.upper()}"
    if chosen := configured.get(venue.name):
        origin = f"the URL configured for venue {venue.name}"
    elif chosen := environment.get(variable):
        origin = variable
    else:
        return None
    try:
        parts = urlsplit(chosen)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadVenueUrl(
            f"{origin} must be {schemes[0]}://host[:port][/path] or {schemes[1]}://..., not {chosen!r}"
        )
    return chosen
