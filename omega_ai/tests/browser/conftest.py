"""A real browser on the real page. Tests skip without Chromium or Playwright, and say which is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from omega_ai.tests.browser.fake_feed import FakeFeed

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

OpenPage = Callable[..., Awaitable["Page"]]

ARGUMENTS = [
    "--no-sandbox",  # containers and CI run as root, where Chromium's own sandbox cannot
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """``OMEGA_CHROMIUM``, or the one on the path."""
    names = (os.environ.get("OMEGA_CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


@pytest_asyncio.fixture(loop_scope="module")
async def feed(tmp_path: Path) -> AsyncIterator[FakeFeed]:
    fake = FakeFeed(reports=tmp_path)
    await fake.start()
    yield fake
    await fake.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.async_api", reason="the page's tests need Playwright: pip install playwright"
    )
    path = chromium()
    if path is None:
        pytest.skip("the page's tests need Chromium: apt install chromium, or set OMEGA_CHROMIUM to it")
    async with playwright.async_playwright() as driver:
        running = await driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def open_page(browser: Browser, feed: FakeFeed) -> AsyncIterator[OpenPage]:
    """Opens the page in a fresh context; afterwards no page may have logged an error of its own."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    async def open_one(url: str | None = None, **context: Any) -> Page:
        contexts.append(await browser.new_context(**context))
        page = await contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
        page.on(
            "console",
            lambda line: (
                complaints.append(line.text)
                if line.type in ("error", "warning") and not _is_of_the_network(line.text)
                else None
            ),
        )
        await page.goto(url or feed.url)
        return page

    yield open_one
    for each in contexts:
        await each.close()
    assert complaints == []


def _is_of_the_network(text: str) -> bool:
    """What Chromium itself logs when a connection fails, as some tests make it."""
    return text.startswith(("WebSocket connection to", "Failed to load resource"))


def keep_picture(name: str) -> Path | None:
    """Where to put a picture: only if ``OMEGA_PICTURES`` names a folder to look at them."""
    folder = os.environ.get("OMEGA_PICTURES")
    return Path(folder) / f"{name}.png" if folder else None
