"""The page on the real feed: the same process that serves it feeds it."""

from __future__ import annotations

import asyncio
import re

import pytest

from omega_ai.tests.browser.conftest import OpenPage, keep_picture
from omega_ai.tests.feed_server import FeedThread, quiet_settings

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_simulated_prices_move_and_say_so(open_page: OpenPage) -> None:
    """Venues, candles, figures and the band that says simulated, all from a running feed."""
    settings = quiet_settings(source="simulated", seed=7, http_port=0, price_interval_ms=50)
    feed = FeedThread(settings)
    await asyncio.to_thread(feed.__enter__)
    try:
        page = await open_page(feed.at.http, viewport={"width": 1366, "height": 900})
        await page.locator("body[data-verdict=simulated]").wait_for(timeout=10_000)
        assert await page.locator("#simulated").is_visible()
        before = await page.locator("#position").inner_text()
        await page.wait_for_function("before => position.textContent !== before", arg=before)
        await page.locator("#venue-rows tr[data-use=in]").first.wait_for()
        await page.locator("#server-latency").filter(has_text=re.compile(r"≤ .* ms")).wait_for()
        await page.locator("#clients").filter(has_text="1").wait_for()
        assert await page.locator("#continuity").inner_text() == "whole 0 resumed"
        if path := keep_picture("real"):
            await page.screenshot(path=path)
    finally:
        await asyncio.to_thread(feed.__exit__, None, None, None)
