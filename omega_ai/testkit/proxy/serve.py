"""Runs proxies and their HTTP API until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from omega_ai.testkit.proxy.address import join_host_port
from omega_ai.testkit.proxy.api import make_app
from omega_ai.testkit.proxy.collection import ApiError, ProxyCollection, ProxySpec
from omega_ai.testkit.proxy.documents import read_toxic
from omega_ai.testkit.proxy.records import Event
from omega_ai.testkit.proxy.service import FaultProxy

API_PORT = 8474
IDLE_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to run."""

    proxies: Sequence[ProxySpec] = ()
    host: str = "127.0.0.1"
    port: int | None = API_PORT
    """Of the HTTP API; 0 picks one, None: no API."""
    seed: int = 0
    on_event: Callable[[FaultProxy, Event], None] | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """What runs."""

    collection: ProxyCollection
    api: str | None
    """The API's URL."""


@asynccontextmanager
async def running_proxies(options: ServeOptions) -> AsyncIterator[Running]:
    """The proxies and the API, while the context is open.

    Raises:
        ApiError: a proxy cannot be made as it is described.
        OSError: the API cannot listen.
    """
    collection = ProxyCollection(seed=options.seed, on_event=options.on_event)
    runner = web.AppRunner(make_app(collection), access_log=None, keepalive_timeout=IDLE_TIMEOUT)
    try:
        for spec in options.proxies:
            proxy = await collection.create(spec)
            for toxic in spec.toxics:
                proxy.place(read_toxic(toxic))
        api = None
        if options.port is not None:
            await runner.setup()
            await web.TCPSite(runner, options.host, options.port).start()
            api = f"http://{join_host_port(*runner.addresses[0][:2])}"
        yield Running(collection, api)
    finally:
        await runner.cleanup()
        await collection.close()


async def serve_proxies(options: ServeOptions, ready: Callable[[Running], None]) -> None:
    """Run until cancelled; ``ready`` is called when everything listens."""
    async with running_proxies(options) as running:
        ready(running)
        await asyncio.get_running_loop().create_future()


__all__ = ["API_PORT", "ApiError", "Running", "ServeOptions", "running_proxies", "serve_proxies"]
