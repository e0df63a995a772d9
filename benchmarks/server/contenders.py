"""Who is compared: how each server is started, what its paths are, and which version it is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.server.workshop import RIVALS, Workshop
from omega_ai import __version__

Mode = Literal["plain", "tls", "deflate"]

_OWN_PATHS = {
    "subscribe": "/?channels=broadcast",
    "publish": "/?channels=",
    "echo": "/?channels=",
    "stamp": "/?channels=",
    "idle": "/?channels=",
}
_RIVAL_PATHS = {"subscribe": "/", "publish": "/pub", "echo": "/echo", "stamp": "/stamp", "idle": "/idle"}


@dataclass(frozen=True)
class Contender:
    """One server. ``command(workshop, port, mode)`` starts it; it listens on 127.0.0.1 at ``port``."""

    name: str
    label: str
    command: Callable[[Workshop, int, Mode], list[str]]
    version: Callable[[Workshop], str]
    modes: tuple[Mode, ...] = ("plain", "tls", "deflate")
    paths: Mapping[str, str] = field(default_factory=lambda: _RIVAL_PATHS)
    needs: str = ""
    """Which part of the workshop it needs: ``python``, ``node``, ``bun`` or nothing."""


def _omega(workshop: Workshop, port: int, mode: Mode) -> list[str]:
    command = [sys.executable, "-m", "omega_ai", "serve", "--source", "none", "--broker", "memory"]
    if mode == "tls":
        where = ["--port", "0", "--tls-port", str(port)]
        where += ["--cert", str(workshop.cert), "--key", str(workshop.key)]
    else:
        where = ["--port", str(port), "--tls-port", "off"]
    return [*command, *where, "--http-port", "off", "--log-format", "json"]


def following_coinbase(workshop: Workshop, port: int, mode: Mode) -> list[str]:
    """Ours, but taking prices from one venue, wherever ``WSS_URL_COINBASE`` says that it is."""
    command = _omega(workshop, port, mode)
    command[command.index("none")] = "live"
    return [*command, "--venue", "coinbase", "--price-interval-ms", "0"]


def _floor(workshop: Workshop, port: int, mode: Mode) -> list[str]:
    command = [str(workshop.native("floor")), f"port={port}"]
    if mode == "tls":
        command += [f"cert={workshop.cert}", f"key={workshop.key}"]
    return [*command, f"deflate={int(mode == 'deflate')}"]


def _script(runtime: Callable[[Workshop], str], name: str) -> Callable[[Workshop, int, Mode], list[str]]:
    def command(workshop: Workshop, port: int, mode: Mode) -> list[str]:
        line = [runtime(workshop), str(RIVALS / name), "--port", str(port)]
        if mode == "tls":
            line += ["--cert", str(workshop.cert), "--key", str(workshop.key)]
        return [*line, "--deflate"] if mode == "deflate" else line

    return command


def _python(workshop: Workshop) -> str:
    return str(workshop.python)


def _own_python(_: Workshop) -> str:
    return sys.executable


def _node(_: Workshop) -> str:
    return shutil.which("node") or "node"


def _bun(workshop: Workshop) -> str:
    return str(workshop.bun() or "bun")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def _packages(*names: str) -> Callable[[Workshop], str]:
    code = (
        "from importlib.metadata import version; "
        f"print(', '.join(f'{{name}} {{version(name)}}' for name in {names!r}))"
    )
    return lambda workshop: _output([str(workshop.python), "-c", code])


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("omega", "OMEGA", _omega, lambda _: __version__, paths=_OWN_PATHS),
        Contender("floor", "C send() loop", _floor, lambda _: "native/floor.c"),
        Contender(
            "engine",
            "OMEGA's engine alone",
            _script(_own_python, "serve_engine.py"),
            lambda _: __version__,
            modes=("plain",),
        ),
        Contender(
            "websockets",
            "websockets",
            _script(_python, "serve_websockets.py"),
            _packages("websockets", "uvloop"),
            needs="python",
        ),
        Contender(
            "aiohttp",
            "aiohttp",
            _script(_python, "serve_aiohttp.py"),
            _packages("aiohttp", "uvloop"),
            needs="python",
        ),
        Contender(
            "uvicorn",
            "uvicorn + Starlette",
            _script(_python, "serve_uvicorn.py"),
            _packages("uvicorn", "starlette", "websockets"),
            needs="python",
        ),
        Contender(
            "granian",
            "granian + Starlette",
            _script(_python, "serve_granian.py"),
            _packages("granian", "starlette"),
            modes=("plain", "tls"),
            needs="python",
        ),
        Contender(
            "ws",
            "Node ws",
            _script(_node, "serve_ws.js"),
            lambda workshop: _ws_version(workshop),
            needs="node",
        ),
        Contender(
            "bun",
            "Bun (uWebSockets)",
            _script(_bun, "serve_bun.js"),
            lambda workshop: f"bun {_output([_bun(workshop), '--version'])}",
            needs="bun",
        ),
    )
}


def _ws_version(workshop: Workshop) -> str:
    code = f"console.log(require({str(workshop.node_modules / 'ws' / 'package.json')!r}).version)"
    return f"ws {_output([_node(workshop), '-e', code])}, node {_output([_node(workshop), '--version'])}"


def missing(contender: Contender, workshop: Workshop) -> str | None:
    """Why this contender cannot run here; None if it can."""
    if contender.needs == "python":
        return workshop.missing.get("python")
    if contender.needs in ("node", "bun"):
        if "node" in workshop.missing:
            return workshop.missing["node"]
        if contender.needs == "bun" and workshop.bun() is None:
            return "none of npm's Bun binaries runs on this machine"
        if contender.needs == "node" and shutil.which("node") is None:
            return "node is not installed"
    return None
