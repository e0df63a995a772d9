"""A real listener on a free port over a feed that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from omega_ai.data_feed.http.app import Runner, make_app, start_http
from omega_ai.tests.unit.data.http.fake_view import FakeView


@pytest.fixture
def view() -> FakeView:
    return FakeView()


@pytest_asyncio.fixture
async def runner(view: FakeView) -> AsyncIterator[Runner]:
    running = await start_http(make_app(view), "127.0.0.1", 0)
    yield running
    await running.close()


@pytest_asyncio.fixture
async def http(runner: Runner) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(runner.url) as session:
        yield session
