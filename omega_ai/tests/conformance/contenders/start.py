"""Starts one of the echo servers as a process of its own, and ends it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import platformdirs

HERE = Path(__file__).parent
PYTHON = ("engine", "websockets", "picows-raw", "picows-websockets", "aiohttp")
JAVASCRIPT = ("ws", "bun")
CONTENDERS = (*PYTHON, *JAVASCRIPT)
START_SECONDS = 60.0


class Unavailable(Exception):
    """A server cannot be had here; says why."""


def _node_modules() -> Path:
    """The JavaScript servers' packages, installed once into the user's cache. Raises ``Unavailable``."""
    home = Path(platformdirs.user_cache_dir("omega-btc-ai")) / "conformance" / "node"
    manifest = HERE / "package.json"
    mark = home / "package.json"
    modules = home / "node_modules"
    if modules.is_dir() and mark.exists() and mark.read_bytes() == manifest.read_bytes():
        return modules
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed")
    print(f"installing ws and bun into {home} (once)", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    shutil.copy(manifest, mark)
    command = [npm, "install", "--prefix", str(home), "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        raise Unavailable(f"npm install failed: {(done.stderr.strip() or 'no output').splitlines()[-1]}")
    return modules


def _command(name: str) -> tuple[list[str], dict[str, str]]:
    """The command of a server, and what its environment needs. Raises ``Unavailable``."""
    if name.startswith("picows") and importlib.util.find_spec("picows") is None:
        raise Unavailable("picows is not installed: pip install picows==2.3.1")
    if name in PYTHON:
        return [sys.executable, "-m", "omega_ai.tests.conformance.contenders.python_echo", name], {}
    modules = _node_modules()
    if name == "ws":
        node = shutil.which("node")
        if node is None:
            raise Unavailable("node is not installed")
        return [node, str(HERE / "echo_ws.js")], {"NODE_PATH": str(modules)}
    for binary in sorted(modules.glob("@oven/bun-*/bin/bun")):
        with contextlib.suppress(OSError):
            if subprocess.run([str(binary), "--version"], capture_output=True, check=False).returncode == 0:
                return [str(binary), str(HERE / "echo_bun.js")], {}
    raise Unavailable("no Bun that runs on this machine")


@asynccontextmanager
async def contender(name: str) -> AsyncIterator[str]:
    """The URL of the server ``name`` while it runs. Raises ``Unavailable``."""
    command, extra = await asyncio.to_thread(_command, name)
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **extra},
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        if not line.strip().isdigit():
            raise Unavailable(f"{name} did not start")
        yield f"ws://127.0.0.1:{int(line)}/"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
