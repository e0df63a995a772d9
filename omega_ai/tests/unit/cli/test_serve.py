"""The options of ``omega serve`` are the settings of the feed."""

from __future__ import annotations

import inspect
from pathlib import Path

import msgspec
import pytest

from omega_ai.cli.serve import say_endpoints, serve, settings_of
from omega_ai.data_feed.feed import Endpoints
from omega_ai.data_feed.settings import REPEATABLE, FeedSettings, SettingsError
from omega_ai.data_feed.websocket.tls import CertificatePaths

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(serve).parameters.items()
    if name != "config"
}


def test_every_setting_is_an_option_with_the_same_default() -> None:
    """Nothing can be set only from within, and no default stands twice with two values."""
    fields = {field.name: field.default for field in msgspec.structs.fields(FeedSettings)}
    assert {REPEATABLE.get(name, name): default for name, default in OPTIONS.items()} == fields


def test_options_make_the_settings() -> None:
    """Repeatable options end in the settings that hold all of them."""
    settings = settings_of(OPTIONS | {"venue": ("coinbase",), "origin": ("https://example.org",), "port": 1})
    assert settings == FeedSettings(venues=("coinbase",), origins=("https://example.org",), port=1)


def test_a_setting_out_of_bounds_is_refused() -> None:
    """By the settings themselves, in terms of the option."""
    with pytest.raises(SettingsError, match="--max-message-size must be"):
        settings_of(OPTIONS | {"max_message_size": 1})


def test_start_text_says_where_everything_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Addresses, source, broker, certificate and how to try it, on standard error."""
    endpoints = Endpoints(
        ws="ws://127.0.0.1:1",
        wss="wss://localhost:2",
        http="http://127.0.0.1:3",
        certificate=CertificatePaths(Path("/tls/cert.pem"), Path("/tls/key.pem"), Path("/tls/ca.pem")),
        source="simulated",
        broker="in memory",
    )
    say_endpoints(FeedSettings(source="simulated"), endpoints)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("ws://127.0.0.1:1", "wss://localhost:2", "http://127.0.0.1:3", "/tls/ca.pem", "in memory"):
        assert part in shown.err
    assert "SIMULATED" in shown.err
    assert "watch ws://127.0.0.1:1" in shown.err


def test_start_text_of_a_feed_without_tls_and_http(capsys: pytest.CaptureFixture[str]) -> None:
    """What is off is said to be off."""
    endpoints = Endpoints(ws="ws://[::1]:1", wss=None, http=None, certificate=None, source="none", broker="x")
    say_endpoints(FeedSettings(), endpoints)
    shown = capsys.readouterr().err
    assert "wss          off" in shown
    assert "http         off" in shown
    assert "certificate" not in shown
