"""Descriptions of venues, and where their addresses come from."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.exchanges.base import BadVenueUrl, url_of
from omega_ai.data_feed.exchanges.detect import VENUES

COINBASE = VENUES["coinbase"]


def test_configuration_goes_before_environment_before_the_venues_own():
    """The nearer word wins."""
    environment = {"WSS_URL_COINBASE": "ws://127.0.0.1:1/a"}
    assert url_of(COINBASE, {}, {}) == "wss://advanced-trade-ws.coinbase.com"
    assert url_of(COINBASE, {}, environment) == "ws://127.0.0.1:1/a"
    assert url_of(COINBASE, {"coinbase": "wss://example.org"}, environment) == "wss://example.org"


@pytest.mark.parametrize(
    "url", ["http://example.org", "ws://", "ws://host:99999", "ws://host:0", "localhost:8765", "ws://[::1"]
)
def test_an_unusable_address_names_where_it_came_from(url):
    """So that a stranger knows which setting to mend."""
    with pytest.raises(BadVenueUrl, match="WSS_URL_COINBASE"):
        url_of(COINBASE, {}, {"WSS_URL_COINBASE": url})


@pytest.mark.parametrize("venue", VENUES.values(), ids=lambda venue: venue.name)
def test_every_venue_says_what_the_supervisor_needs(venue):
    """Trades and quotes are asked for, some sign of life is expected, and first data has a deadline."""
    kinds = {kind for channel in venue.channels for kind in channel.kinds}
    assert {"trades", "quotes"} <= kinds
    assert venue.liveness.interval_s > 0
    assert any(channel.first_data_s for channel in venue.channels if "trades" in channel.kinds)
    assert venue.url.startswith("wss://")
    assert venue.documentation.startswith("https://")
    assert venue.symbol in ("BTC-USD", "BTC-USDT")
