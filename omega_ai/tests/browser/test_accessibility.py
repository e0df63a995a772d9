"""Whoever reads the page, on whatever screen: contrast, names, keys, a narrow window."""

from __future__ import annotations

import asyncio
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest

from omega_ai.data_feed.market import SourceStatus
from omega_ai.data_feed.observability.alerts import Alert
from omega_ai.tests.browser.conftest import OpenPage
from omega_ai.tests.browser.fake_feed import FakeFeed
from omega_ai.tests.browser.test_page import live, picture, see, verdict, write_result

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one browser for all

CONTRAST = Path(__file__).with_name("contrast.js").read_text()


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_all_text_can_be_read(feed: FakeFeed, open_page: OpenPage, tmp_path: Path, scheme: str) -> None:
    """Contrast of at least 4.5 to 1, or 3 to 1 where it is large (WCAG 2.2, 1.4.3), of every text on the page
    against what lies behind it; live, with alerts and a failed test, stale, and disconnected.
    """
    write_result(tmp_path, "fail")
    since = time.time_ns()
    feed.alerts = [
        Alert("OmegaBrokerDown", "critical", "", "the broker is away", since),
        Alert("OmegaLoopLag", "warning", "", "the loop lags", since),
    ]
    page = await open_page(color_scheme=scheme, reduced_motion="reduce")
    await live(page, feed, 61800.0)
    feed.price(61801.0)
    await see(page, "#tick", "\N{BLACK UP-POINTING TRIANGLE}")
    await see(page, "#report-word", "Failed")
    await see(page, "#checks", "the loop lags")
    assert await page.evaluate(CONTRAST) == []
    feed.price(61801.0, state="stale")
    await verdict(page, "stale")
    assert await page.evaluate(CONTRAST) == []
    await feed.hang_up()
    await verdict(page, "disconnected")
    assert await page.evaluate(CONTRAST) == []


async def test_everything_has_a_name_and_its_place(
    feed: FakeFeed, open_page: OpenPage, tmp_path: Path
) -> None:
    """What a screen reader is told: landmarks, headings in order, names of controls, headers of the table."""
    write_result(tmp_path, "pass")
    page = await open_page()
    await live(page, feed, 61800.0)
    await see(page, "#report-word", "Passed")
    assert await page.evaluate("document.documentElement.lang") == "en"
    assert await page.locator("main").count() == await page.locator("h1").count() == 1
    levels = await page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].filter(e => e.checkVisibility())"
        ".map(e => +e.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    twice = (
        "[...document.querySelectorAll('[id]')].map(e => e.id)"
        ".filter((id, at, all) => all.indexOf(id) !== at)"
    )
    assert await page.evaluate(twice) == []
    for name in ("Price", "Venues", "Feed", "Alerts", "Last test"):
        assert await page.get_by_role("region", name=name, exact=True).count() >= 1, name
    for group, names in (
        ("Kind of chart", ("Line", "Candles")),
        ("How far back", ("5m", "15m", "1h", "6h", "24h")),
    ):
        box = page.get_by_role("group", name=group)
        for name in names:
            assert await box.get_by_role("radio", name=name, exact=True).count() == 1, name
    for name in ("Venue", "State", "Price", "Age"):
        assert await page.get_by_role("columnheader", name=name, exact=True).count() == 1, name
    assert await page.get_by_role("rowheader", name="kraken").count() == 1
    chart = page.get_by_role(
        "img", name=re.compile("^Line chart of the last 15 minutes: low .*, high .*, last")
    )
    await chart.wait_for()
    # Where motion or colour says something, a word says it too.
    assert await page.locator("[data-use=in] .state").first.inner_text() == "In use"
    small = await page.evaluate(
        "[...document.querySelectorAll('a:not(.skip), label')].filter(e => e.checkVisibility())"
        ".filter(e => e.getBoundingClientRect().height < 24).map(e => e.innerText)"
    )
    assert small == [], "smaller than WCAG 2.2, 2.5.8 asks for"


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
