"""Which venue a message comes from."""

from __future__ import annotations

import pytest

from omega_ai.data_feed.exchanges.detect import venue_of


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'{"stream":"btcusdt@trade","data":{}}', "binance"),
        (b'{"e":"trade"}', "binance"),
        (b'{"channel":"ticker","sequence_num":0,"events":[]}', "coinbase"),
        (b'{"channel":"heartbeat"}', "kraken"),
        (b'{"method":"subscribe","success":true}', "kraken"),
        (b'{"event":"trade","channel":"live_trades_btcusd","data":{}}', "bitstamp"),
        (b'{"event":"bts:heartbeat"}', "bitstamp"),
        (b'{"arg":{"channel":"trades"},"data":[]}', "okx"),
        (b'{"event":"error","code":"60012"}', "okx"),
        (b'{"topic":"publicTrade.BTCUSDT"}', "bybit"),
        (b'{"op":"pong"}', "bybit"),
    ],
)
def test_documented_messages_are_recognised(raw, name):
    """By the members that only this venue has."""
    venue = venue_of(raw)
    assert venue is not None
    assert venue.name == name


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"hello":1}', b"[" * 100_000])
def test_anything_else_is_nobodys(raw):
    """No guess."""
    assert venue_of(raw) is None
