"""What can be set about the suite by the environment, with the defaults; see ``docs/seed-suite.md``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

SUITE = "WebSocket Test Suite V2"


@dataclass(frozen=True)
class Configuration:
    """Times in seconds, sizes in bytes."""

    url: str
    tls_url: str
    certificate: Path | None
    token: str | None
    timeout: float
    test_timeout: float
    clock_allowance: float
    listeners: int
    load_clients: int
    load_messages: int
    load_rate: float
    max_message_size: int


def from_environment() -> Configuration:
    """The configuration; fails with one sentence if a value is of no use."""
    certificate = os.environ.get("SSL_CERT_PATH")
    return Configuration(
        url=_url("TEST_SERVER_URL", "ws://localhost:8765", "ws://"),
        tls_url=_url("TEST_SERVER_SSL_URL", "wss://localhost:8766", "wss://"),
        certificate=Path(certificate) if certificate else None,
        token=os.environ.get("TEST_TOKEN") or None,
        timeout=_number("TEST_TIMEOUT", 5.0, 0.1, 600),
        test_timeout=_number("TEST_TOTAL_TIMEOUT", 60.0, 1, 86_400),
        clock_allowance=_number("TEST_CLOCK_ALLOWANCE", 0.25, 0, 3600),
        listeners=int(_number("TEST_LISTENERS", 100, 2, 10_000)),
        load_clients=int(_number("TEST_LOAD_CLIENTS", 25, 1, 10_000)),
        load_messages=int(_number("TEST_LOAD_MESSAGES", 60, 1, 1_000_000)),
        load_rate=_number("TEST_LOAD_RATE", 25, 0.1, 10_000),
        max_message_size=int(_number("TEST_MAX_MESSAGE_SIZE", 1 << 20, 1024, 1 << 30)),
    )


def _url(name: str, default: str, scheme: str) -> str:
    url = os.environ.get(name) or default
    if not url.startswith(scheme):
        pytest.fail(f"{name} must begin with {scheme}, not {url!r}", pytrace=False)
    return url


def _number(name: str, default: float, low: float, high: float) -> float:
    text = os.environ.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        pytest.fail(f"{name} must be a number, not {text!r}", pytrace=False)
    if not low <= value <= high:
        pytest.fail(f"{name} must be {low:g} to {high:g}, not {text}", pytrace=False)
    return value
