"""What a reader of the page sees, in a real browser."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from omega_ai.core.timestamps import format_utc
from omega_ai.data_feed.http.view import Check
from omega_ai.data_feed.market import SourceStatus
from omega_ai.data_feed.observability.alerts import Alert
from omega_ai.tests.browser.conftest import OpenPage, keep_picture
from omega_ai.tests.browser.fake_feed import FakeFeed

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all


async def see(page: Page, selector: str, text: str) -> None:
    """Wait until the element's text contains ``text``."""
    found = page.locator(selector).filter(has_text=re.compile(re.escape(text)))
    await found.first.wait_for(state="attached", timeout=20_000)


async def verdict(page: Page, kind: str) -> None:
    await page.locator(f"body[data-verdict={kind}]").wait_for(state="attached", timeout=20_000)


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
    await verdict(page, "live")
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
    await verdict(page, "live")
    await feed.hang_up()
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
    assert ("btc_price", {"epoch": feed.epoch, "seq": 1}) in feed.resumed
    feed.price(61804.0)
    await verdict(page, "live")


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
    await verdict(page, "live")


async def test_a_price_that_no_message_renews_becomes_stale(feed: FakeFeed, open_page: OpenPage) -> None:
    """The connection is up and beats, but no price comes: after 5 s the page says so, and how old it is."""
    page = await open_page()
    await live(page, feed, 61800.0)
    await verdict(page, "live")
    await verdict(page, "stale")
    await see(page, "#verdict-word", "Stale")
    await see(page, "#banner", "No price for")
    await see(page, "#last-known", "s old")
    await picture(page, "stale")
    feed.price(61801.0)
    await verdict(page, "live")
    assert await page.locator("#last-known").is_hidden()


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
    await verdict(page, "simulated")
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
    await verdict(page, "degraded")
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
    feed.alerts = [Alert("OmegaBrokerDown", "critical", "", "the broker is away, 7 publications wait", 0)]
    page = await open_page()
    await see(page, "#checks", "the broker is away, 7 publications wait (critical)")
    feed.alerts = []
    await page.locator("#attention").wait_for(state="hidden")


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


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_a_narrow_screen_needs_no_sideways_scrolling(
    feed: FakeFeed, open_page: OpenPage, scheme: str
) -> None:
    """360 px, dark and light: everything within the width, the price large, the page in the wanted scheme."""
    why = "cannot connect to advanced-trade-ws.coinbase.com:443: Name or service not known"
    feed.statuses = [SourceStatus("coinbase-advanced", "connecting", None, 0, 0, 0, detail=why)]
    page = await open_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    await live(page, feed, 61800.0, state="simulated")
    await see(page, "#venue-rows", "kraken")
    await see(page, "#venue-rows", "advanced-trade-ws.coinbase.com")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert (
        await page.evaluate(
            "Math.max(...[...document.querySelectorAll('table, dl')].map(e => e.scrollWidth))"
        )
        <= 360
    )
    assert await page.evaluate("parseFloat(getComputedStyle(price).fontSize)") >= 40
    channels = re.findall(r"\d+", await page.evaluate("getComputedStyle(document.body).backgroundColor"))
    brightness = sum(int(each) for each in channels[:3]) / 3
    assert (brightness < 60) if scheme == "dark" else (brightness > 200)
    await picture(page, f"narrow-{scheme}")


async def test_text_can_be_read_in_both_schemes(feed: FakeFeed, open_page: OpenPage) -> None:
    """Contrast of at least 4.5 to 1 (WCAG 2.2, 1.4.3) for the colours that text has."""
    script = """() => {
        const style = getComputedStyle(document.documentElement);
        const light = (name) => {
            const hex = style.getPropertyValue(name).trim().slice(1);
            const part = (at) => {
                const value = parseInt(hex.slice(at, at + 2), 16) / 255;
                return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
            };
            return 0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4);
        };
        const ratio = (one, two) => (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        return ["--text", "--soft", "--up", "--down", "--warn", "--accent"].flatMap((ink) =>
            ["--page", "--card"].map((paper) => [ink + paper, ratio(light(ink), light(paper))]));
    }"""
    for scheme in ("dark", "light"):
        page = await open_page(color_scheme=scheme)
        for pair, ratio in await page.evaluate(script):
            assert ratio >= 4.5, (scheme, pair, ratio)


async def test_a_screen_reader_hears_changes_of_kind_and_not_every_tick(
    feed: FakeFeed, open_page: OpenPage
) -> None:
    """Twenty prices in two seconds: at most the change to live is spoken."""
    page = await open_page()
    await feed.until_clients(1)
    await page.evaluate(
        "window.spoken = [];"
        "new MutationObserver(() => spoken.push(say.textContent)).observe(say, {childList: true})"
    )
    for step in range(20):
        feed.price(61800.0 + step)
        await asyncio.sleep(0.05)
    await see(page, "#price", "61,819.00")
    spoken = await page.evaluate("spoken")
    assert len(spoken) <= 2, spoken
    assert "Live" in await page.locator("#say").inner_text()
    assert await page.locator("#say").get_attribute("aria-live") == "polite"


async def test_every_control_can_be_reached_and_used_by_keyboard(feed: FakeFeed, open_page: OpenPage) -> None:
    """Tab reaches both choices and the chart; arrows change the range."""
    page = await open_page()
    await live(page, feed, 61800.0)
    reached = []
    for _ in range(8):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.name || document.activeElement.id || ''"))
        if reached[-1] == "range":
            await page.keyboard.press("ArrowRight")
    assert {"kind", "range", "chart"} <= set(reached)
    assert await page.get_by_label("1h", exact=True).is_checked()


async def test_text_from_the_feed_is_text(feed: FakeFeed, open_page: OpenPage) -> None:
    """Names and reasons are shown as they are, never taken for markup."""
    evil = "<img src=x onerror=alert(1)>"
    page = await open_page()
    sources = {evil: {"used": False, "reason": evil}, "kraken": {"used": True, "price": 1.0, "age_ms": 1}}
    await live(page, feed, 61800.0, sources=sources)
    await see(page, "#venue-rows", evil)
    assert await page.locator("#venue-rows img").count() == 0
