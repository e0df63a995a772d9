"""The Starlette application in granian: one worker, one thread, uvloop."""

from __future__ import annotations

from pathlib import Path

from granian import Granian
from granian.constants import Interfaces, Loops
from options import parse_options

if __name__ == "__main__":
    options = parse_options()
    Granian(
        "starlette_app:app",
        address="127.0.0.1",
        port=options.port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=1,
        backlog=4096,
        ssl_cert=Path(options.cert) if options.cert else None,
        ssl_key=Path(options.key) if options.key else None,
        log_enabled=False,
    ).serve()
