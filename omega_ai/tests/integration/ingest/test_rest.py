"""Asking a venue's REST interface for trades, over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from msgspec import structs

from omega_ai.core.clock import SystemClock
from omega_ai.data_feed.exchanges.base import RestTrades
from omega_ai.data_feed.exchanges.detect import VENUES
from omega_ai.data_feed.exchanges.rest import TradeHistory
from omega_ai.data_feed.exchanges.sequence import Gap

ROW = b'[{"id":42,"price":"1","qty":"1","time":1700000000123,"isBuyerMaker":true}]'
GAP = Gap(40, 45, 1_700_000_000_000_000_000, 1_700_000_001_000_000_000)


def quick(name: str) -> RestTrades:
    rest = VENUES[name].rest
    assert rest is not None
    return structs.replace(rest, requests_per_s=1000.0)


REST = quick("binance")


@asynccontextmanager
async def answering(rest, *answers: web.Response) -> AsyncIterator[tuple[TradeHistory, list[str]]]:
    asked: list[str] = []
    left = list(answers)

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return left.pop(0)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    history = TradeHistory("pretend", rest, f"http://127.0.0.1:{runner.addresses[0][1]}/", SystemClock())
    try:
        yield history, asked
    finally:
        await history.close()
        await runner.cleanup()


async def test_trades_come_back_and_the_question_names_the_gap():
    """In the venue's own way of asking."""
    async with answering(REST, web.Response(body=ROW)) as (history, asked):
        trades = await history.trades(GAP)
    assert trades is not None
    assert [trade.trade_id for trade in trades] == ["42"]
    assert asked == ["/api/v3/historicalTrades?symbol=BTCUSDT&fromId=40&limit=1000"]


async def test_where_one_path_is_refused_the_other_is_asked():
    """A venue may begin to want a key for what was free."""
    async with answering(REST, web.Response(status=401), web.Response(body=ROW)) as (history, asked):
        assert await history.trades(GAP) is None
        assert await history.trades(GAP)
    assert asked[1] == "/api/v3/trades?symbol=BTCUSDT&limit=1000"


async def test_a_time_is_asked_for_by_the_venues_clock_and_by_ours_in_turn():
    """One of the two may be off."""
    rest = quick("kraken")
    empty = b'{"error":[],"result":{}}'
    async with answering(rest, web.Response(body=empty), web.Response(body=empty)) as (history, asked):
        assert await history.trades(GAP) == []
        await history.trades(GAP)
    assert "since=1699999999000000000&" in asked[0]
    assert "since=1700000000000000000&" in asked[1]


async def test_a_page_that_ends_with_an_id_is_the_first_of_the_gap():
    """OKX lists what was before an id."""
    rest = structs.replace(quick("okx"), limit=3)
    async with answering(rest, web.Response(body=b'{"code":"0","data":[]}')) as (history, asked):
        await history.trades(GAP)
    assert "after=43&limit=3" in asked[0]


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}},
        {"body": b"<html>"},
        {"body": b'{"code":-1121,"msg":"Invalid symbol."}'},
        {"body": b"[" + b" " * (8 << 20) + b"]"},
    ],
)
async def test_what_is_no_answer_is_none(answer):
    """An error, a redirect, a page, a refusal, an endless body: logged, and no exception."""
    async with answering(REST, web.Response(**answer)) as (history, _):
        assert await history.trades(GAP) is None


@pytest.mark.parametrize("header", ["300", "Fri, 01 Jan 2100 00:00:00 GMT", None, "soon"])
async def test_asked_too_often_we_wait_as_told(header):
    """Asking on would get the address banned."""
    headers = {} if header is None else {"Retry-After": header}
    async with answering(REST, web.Response(status=429, headers=headers), web.Response(body=ROW)) as (
        history,
        asked,
    ):
        assert await history.trades(GAP) is None
        assert await history.trades(GAP) is None
    assert len(asked) == 1


async def test_an_unreachable_interface_is_none():
    """The gap is then given up in time; nothing else suffers."""
    history = TradeHistory("pretend", REST, "http://127.0.0.1:9", SystemClock())
    assert await history.trades(GAP) is None
    await history.close()
