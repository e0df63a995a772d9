"""The Starlette application in uvicorn: uvloop, httptools, its newest WebSocket protocol."""

from __future__ import annotations

import uvicorn
from options import parse_options

options = parse_options()
uvicorn.run(
    "starlette_app:app",
    host="127.0.0.1",
    port=options.port,
    loop="uvloop",
    http="httptools",
    ws="websockets-sansio",
    ws_per_message_deflate=options.deflate,
    ssl_certfile=options.cert,
    ssl_keyfile=options.key,
    log_level="error",
    backlog=4096,
)
