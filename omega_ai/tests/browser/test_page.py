"""What a reader of the page sees, in a real browser."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.http.view import Check
from omega_ai.data_feed.market import SourceStatus
from omega_ai.data_feed.observability.alerts import Alert
from omega_ai.data_feed.observability.snapshot import WorkerFigures
from omega_ai.testkit.report.writing import Destinations, write_reports
from omega_ai.testkit.result import CaseResult, RunResult, SuiteResult, TargetFacts
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.browser.conftest import OpenPage, keep_picture
from omega_ai.tests.browser.fake_feed import FakeFeed

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all


async def see(page: Page, selector: str, text: str) -> None:
    """Wait until the element's text contains ``text``."""
    found = page.locator(selector).filter(has_text=re.compile(re.escape(text)))
    await found.first.wait_for(state="attached", timeout=20_000)


def write_result(directory: Path, verdict: str) -> None:
    """A result as ``omega test`` writes it, with one case that passed, one with ``verdict``, one left out."""

    def case(name: str, **fields: Any) -> CaseResult:
        return CaseResult(id=f"broadcast.{name}", suite="broadcast", title=name, expectation="", **fields)

    cases = (
        case("one", verdict=Verdict.PASS),
        case("everyone", verdict=Verdict(verdict), finding="7 messages were lost"),
        case("odd", verdict=Verdict.UNKNOWN, skipped="not for this server"),
    )
    result = RunResult(
        target=TargetFacts(url="ws://localhost:8765", profile="omega"),
        seed=1,
        started=format_utc(time.time_ns() - 90_000_000_000),
        duration_s=22.0,
        suites=(SuiteResult(name="broadcast", cases=cases),),
    )
    write_reports(result, Destinations(directory=directory))


async def verdict(page: Page, kind: str) -> None:
    await page.locator(f"body[data-verdict={kind}]").wait_for(state="attached", timeout=20_000)


async def fresh(page: Page, feed: FakeFeed, price: float, kind: str = "live", **fields: Any) -> None:
    """Wait for a verdict that a price has for five seconds only: on a busy machine it is published again."""
    found = page.locator(f"body[data-verdict={kind}]")
    deadline = time.monotonic() + 30.0
    while not await found.count():
        assert time.monotonic() < deadline, await page.locator("body").get_attribute("data-verdict")
        feed.price(price, **fields)
        await asyncio.sleep(0.3)


async def picture(page: Page, name: str) -> None:
    if path := keep_picture(name):
        await page.screenshot(path=path, full_page=True)


async def live(page: Page, feed: FakeFeed, price: float, **fields: Any) -> None:
    """Publish until the page shows it as live: it may have been opening its connection."""
    await feed.until_clients(1)
    feed.price(price, **fields)
    await see(page, "#price", f"{price:,.2f}")


async def test_the_price_moves(feed: FakeFeed, open_page: OpenPage) -> None:
    """Each message shows: price, bid and ask, spread, direction, title; and it is called live."""
    page = await open_page()
    await live(page, feed, 61800.01)
    feed.price(61812.5)
    await see(page, "#price", "61,812.50")
    await see(page, "#tick", "▲")
    await see(page, "#bid", "61,812.10")
    await see(page, "#ask", "61,812.90")
    await see(page, "#spread", "0.80")
    await see(page, "#change", "+12.49 (0.02 %)")
    await fresh(page, feed, 61812.5)
    assert await page.title() == "61,812.50 · BTC-USD"
    feed.price(61700.0)
    await see(page, "#tick", "▼")
    assert await page.locator("#simulated").is_hidden()
    assert await page.locator("#banner").is_hidden()
    await picture(page, "live")


async def test_venues_show_price_age_state_and_why_one_is_out(feed: FakeFeed, open_page: OpenPage) -> None:
    """From the price's own sources, and from the status of connections that gave none."""
    feed.statuses = [SourceStatus("bybit", "reconnecting", None, 0, 0, 3, detail="connection refused")]
    page = await open_page()
    await live(page, feed, 61800.0)
    await see(page, "#venue-rows", "bybit")
    await see(page, "#venues-used", "3 of 6 in use")
    texts = await page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('#venue-rows tr:not(.why)')].map("
        "(row) => [row.querySelector('th').innerText, row.innerText + ' ' + row.nextSibling.innerText]))"
    )
    assert "In use" in texts["kraken"]
    assert "61,800.40" in texts["kraken"]
    assert "no fresh data" in texts["okx"]
    assert "no USDT rate" in texts["binance"]
    assert "Reconnecting" in texts["bybit"]
    assert "connection refused" in texts["bybit"]


async def test_a_cut_shows_at_once_and_the_page_resumes_where_it_was(
    feed: FakeFeed, open_page: OpenPage
) -> None:
    """Disconnected while it lasts, the last price marked as that; then everything missed, and live again."""
    page = await open_page()
    await live(page, feed, 61800.0)
    await fresh(page, feed, 61800.0)
    await feed.hang_up()
    position = len(feed.history_of["btc_price"])
    await verdict(page, "disconnected")
    await see(page, "#banner", "Not connected to the feed")
    await see(page, "#last-known", "last known")
    assert (await page.title()).startswith("Disconnected: ")
    await picture(page, "disconnected")
    for price in (61801.0, 61802.0, 61803.0):
        feed.price(price)  # missed, and in the history
    await feed.listen()
    await see(page, "#price", "61,803.00")
    await see(page, "#continuity", "whole 1 resumed")
    assert ("btc_price", {"epoch": feed.epoch, "seq": position}) in feed.resumed
    await fresh(page, feed, 61804.0)


async def test_silence_is_noticed_without_a_close(feed: FakeFeed, open_page: OpenPage) -> None:
    """A connection that stays open but says nothing, not even a heartbeat, is cut and made anew."""
    page = await open_page()
    await live(page, feed, 61800.0)
    feed.beating = False
    await feed.until_resumed()  # over a new connection; the old one still stands
    feed.beating = True
    assert feed.resumed[0] == ("btc_price", {"epoch": feed.epoch, "seq": 1})
    feed.price(61801.0)
    await see(page, "#price", "61,801.00")
    await fresh(page, feed, 61801.0)


async def test_a_price_that_no_message_renews_becomes_stale(feed: FakeFeed, open_page: OpenPage) -> None:
    """The connection is up and beats, but no price comes: after 5 s the page says so, and how old it is."""
    page = await open_page()
    await live(page, feed, 61800.0)
    await fresh(page, feed, 61800.0)
    await verdict(page, "stale")
    await see(page, "#verdict-word", "Stale")
    await see(page, "#banner", "No price for")
    await see(page, "#last-known", "s old")
    await picture(page, "stale")
    await fresh(page, feed, 61801.0)


async def test_a_price_that_the_feed_calls_stale_is_stale_however_often_repeated(
    feed: FakeFeed, open_page: OpenPage
) -> None:
    """The feed repeats its last price each second; that does not renew it."""
    page = await open_page()
    await live(page, feed, 61800.0, state="stale")
    await verdict(page, "stale")
    await see(page, "#banner", "No venue gives a usable price now")


async def test_an_old_price_is_not_shown_as_new_when_the_page_opens(
    feed: FakeFeed, open_page: OpenPage
) -> None:
    """The server's last price, minutes old and published as live, with no new one coming."""
    feed.price(61800.0, timestamp="2026-01-01T00:00:00.000000Z")
    feed._published_at -= 3600
    page = await open_page()
    await see(page, "#price", "61,800.00")
    await verdict(page, "stale")


async def test_simulated_is_unmistakable(feed: FakeFeed, open_page: OpenPage) -> None:
    """A band over the page, the pill, the title; and it stays when the connection is lost besides."""
    page = await open_page()
    await live(page, feed, 61800.0, state="simulated")
    await fresh(page, feed, 61800.0, "simulated", state="simulated")
    assert await page.locator("#simulated").is_visible()
    await see(page, "#simulated", "These prices are made up")
    assert await page.title() == "Simulated: 61,800.00 · BTC-USD"
    await picture(page, "simulated")
    await feed.hang_up()
    await verdict(page, "disconnected")
    assert await page.locator("#simulated").is_visible()
    assert (await page.title()).startswith("Simulated, Disconnected: ")


async def test_degraded_names_the_venues_that_the_price_rests_on(feed: FakeFeed, open_page: OpenPage) -> None:
    """Few venues: the price is shown, with a warning."""
    page = await open_page()
    sources = {"kraken": {"used": True, "price": 61800.0, "age_ms": 12}}
    await live(page, feed, 61800.0, state="degraded", sources=sources)
    await fresh(page, feed, 61800.0, "degraded", state="degraded", sources=sources)
    await see(page, "#banner", "rests on kraken alone")


async def test_without_any_price_the_page_says_why(feed: FakeFeed, open_page: OpenPage) -> None:
    """The failing check's sentence, in the banner and in the list."""
    feed.checks = [Check("source", False, "no venue can be reached; is the network up?")]
    page = await open_page()
    await see(page, "#banner", "no venue can be reached; is the network up?")
    await see(page, "#checks", "source: no venue can be reached")
    assert await page.locator("#price").inner_text() == "\N{EN DASH}"


async def test_alerts_are_listed(feed: FakeFeed, open_page: OpenPage) -> None:
    """Those that are on now; gone when they are over."""
    since = time.time_ns() - 65_000_000_000
    feed.alerts = [Alert("OmegaBrokerDown", "critical", "", "the broker is away, 7 publications wait", since)]
    page = await open_page()
    await see(page, "#checks li[data-severity=critical]", "the broker is away, 7 publications wait")
    await see(page, "#checks", "OmegaBrokerDown · critical")
    await see(page, "#checks small", "for 1 min")
    await see(page, "#alerts-count", "1 on")
    await see(page, "#warn", "Needs attention: the broker is away")
    assert await page.locator("#calm").is_hidden()
    await picture(page, "alerts")
    feed.alerts = []
    await page.locator("#calm").wait_for()
    assert await page.locator("#checks li").count() == 0


async def test_the_last_test_is_shown_with_what_failed_and_its_whole_report(
    feed: FakeFeed, open_page: OpenPage, tmp_path: Path
) -> None:
    """Without one, how to make one. The report opens in a sandbox, from where nothing here can be read."""
    page = await open_page()
    await see(page, "#report-word", "No result yet.")
    await see(page, "#report-target", f"--report-dir {tmp_path}")
    write_result(tmp_path, "fail")
    await page.reload()
    await see(page, "#report-word", "Failed")
    await see(page, "#report-counts", "1 passed · 1 failed · 1 not for this server")
    await see(page, "#report-failed", "broadcast.everyone")
    await see(page, "#report-failed", "7 messages were lost")
    await see(page, "#report-when", "ago")
    async with page.expect_popup() as opening:
        await page.get_by_role("link", name="Whole report").click()
    report = await opening.value
    await report.wait_for_load_state()
    assert "broadcast.everyone" in await report.content()
    tried = await report.evaluate("fetch('/api/status').then(() => 'read', (error) => error.name)")
    assert tried == "TypeError", "the report could read from the server that shows it"


async def test_workers_are_counted_where_there_are_any(feed: FakeFeed, open_page: OpenPage) -> None:
    """A worker that is away shows."""
    feed.workers = [WorkerFigures(place=0, running=True), WorkerFigures(place=1, running=False)]
    page = await open_page()
    await see(page, "#workers", "1 of 2 up")
    feed.workers = []
    await page.locator("#workers-box").wait_for(state="hidden")


async def test_a_rate_is_no_venue_of_bitcoin(feed: FakeFeed, open_page: OpenPage) -> None:
    """What turns tethers into dollars stands below the venues, and is not compared with the price."""
    page = await open_page()
    sources = {
        "binance": {"used": True, "price": 61790.0, "age_ms": 1},
        "kraken:USDT-USD": {"used": True, "price": 0.9995, "age_ms": 3},
        "okx": {"used": True, "price": 61795.0, "age_ms": 2},
    }
    await live(page, feed, 61800.0, sources=sources)
    await see(page, "#venues-used", "2 of 2 in use")
    rows = await page.locator("#venue-rows tr:not(.why)").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["binance", "okx", "kraken"]
    assert "USDT-USD" in rows[2]
    assert "0.9995" in rows[2]
    assert "bp" not in rows[2]
    assert "-1.6 bp" in rows[0].replace("\N{MINUS SIGN}", "-")


async def test_hours_back_come_from_the_history(feed: FakeFeed, open_page: OpenPage) -> None:
    """The chart begins with what happened before the page was opened."""
    minute = time.time_ns() // 60_000_000_000
    for back in range(1300, 0, -1):  # more than one answer of the history holds
        low = 61_000 + back
        feed.publish(
            "candles",
            {
                "type": "candles",
                "symbol": "BTC-USD",
                "interval": "1m",
                "start": format_utc((minute - back) * 60_000_000_000),
                "open": low + 1,
                "high": low + 5,
                "low": low,
                "close": low + 2,
                "volume": 1.5,
                "trades": 4,
                "final": True,
                "late": 0,
            },
        )
    await feed.until_candles(1300)
    page = await open_page()
    await live(page, feed, 61_000.0)
    await page.get_by_text("Candles", exact=True).click()
    await page.get_by_text("6h", exact=True).click()
    await see(page, "#change", "\N{MINUS SIGN}36")  # since six hours ago
    await page.get_by_text("24h", exact=True).click()
    await see(page, "#change", "\N{MINUS SIGN}1,301.00")  # since the first candle
    chart = page.locator("#chart")
    await chart.focus()
    await page.keyboard.press("Home")
    await see(page, "#chart-note", "open 62,301.00")
    await page.keyboard.press("ArrowRight")
    await see(page, "#say", "low 62,2")
    await page.reload()
    assert await page.get_by_label("24h").is_checked(), "the reader's choice is kept"


async def test_text_from_the_feed_is_text(feed: FakeFeed, open_page: OpenPage) -> None:
    """Names and reasons are shown as they are, never taken for markup."""
    evil = "<img src=x onerror=alert(1)>"
    page = await open_page()
    sources = {evil: {"used": False, "reason": evil}, "kraken": {"used": True, "price": 1.0, "age_ms": 1}}
    await live(page, feed, 61800.0, sources=sources)
    await see(page, "#venue-rows", evil)
    assert await page.locator("#venue-rows img").count() == 0
