"""Our engine alone, without the feed around it: what ``/echo`` costs when nobody looks into the message."""

from __future__ import annotations

import asyncio

import uvloop
from options import parse_options, tls_context

from omega_ai.core.scheduler import LoopScheduler
from omega_ai.core.websocket.endpoint import Options
from omega_ai.core.websocket.server import ServerProtocol


class Echo(ServerProtocol):
    __slots__ = ()

    def on_text(self, data: bytes) -> None:
        self.send_text(data)


async def main() -> None:
    options = parse_options()
    loop = asyncio.get_running_loop()
    shared = Options(scheduler=LoopScheduler(loop))
    await loop.create_server(
        lambda: Echo(shared), "127.0.0.1", options.port, ssl=tls_context(options), backlog=4096
    )
    await asyncio.Future()


uvloop.run(main())
