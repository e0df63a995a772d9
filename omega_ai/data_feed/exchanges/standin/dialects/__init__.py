"""One dialect a venue."""

from __future__ import annotations

from omega_ai.data_feed.exchanges.standin.dialects.base import Dialect
from omega_ai.data_feed.exchanges.standin.dialects.binance import BinanceDialect
from omega_ai.data_feed.exchanges.standin.dialects.bitstamp import BitstampDialect
from omega_ai.data_feed.exchanges.standin.dialects.bybit import BybitDialect
from omega_ai.data_feed.exchanges.standin.dialects.coinbase import CoinbaseDialect
from omega_ai.data_feed.exchanges.standin.dialects.kraken import KrakenDialect
from omega_ai.data_feed.exchanges.standin.dialects.okx import OkxDialect

DIALECTS: dict[str, type[Dialect]] = {
    "coinbase": CoinbaseDialect,
    "kraken": KrakenDialect,
    "bitstamp": BitstampDialect,
    "binance": BinanceDialect,
    "okx": OkxDialect,
    "bybit": BybitDialect,
}
