"""The user for Locust: what it counts, over stand-ins for what it is built on; with Locust, where it is."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

MODULE = "omega_ai.testkit.load.locust_user"


class Socket:
    """Keeps what is sent."""

    connected = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, text: str) -> None:
        self.sent.append(text.encode())

    def settimeout(self, seconds: float | None) -> None:
        """Nothing."""

    def close(self, timeout: float = 0) -> None:
        self.connected = False


class Requests:
    """The event that Locust counts by."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, bool]] = []
        self.times: list[float] = []

    def fire(self, **request: Any) -> None:
        self.fired.append((request["name"], request["exception"] is None))
        self.times.append(request["response_time"])


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module over stand-ins."""

    class User:
        host = "ws://localhost:1/"

        def __init__(self, environment: Any) -> None:
            self.environment = environment

    class WebSocketException(Exception):
        pass

    names: dict[str, dict[str, Any]] = {
        "locust": {"User": User},
        "gevent": {"spawn": lambda *_: types.SimpleNamespace(kill=lambda: None), "sleep": lambda _: None},
        "websocket": {
            "WebSocketException": WebSocketException,
            "create_connection": lambda *_, **__: Socket(),
        },
    }
    for name, content in names.items():
        stand_in = types.ModuleType(name)
        for key, value in content.items():
            setattr(stand_in, key, value)
        monkeypatch.setitem(sys.modules, name, stand_in)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE, None)


@pytest.fixture
def user(module: Any) -> Any:
    """A user of an echo server, connected."""
    environment = types.SimpleNamespace(events=types.SimpleNamespace(request=Requests()))
    made = module.WebSocketUser(environment)
    made.grace_s = 0.0
    made.on_start()
    return made


def _fired(user: Any) -> list[tuple[str, bool]]:
    fired: list[tuple[str, bool]] = user.environment.events.request.fired
    return [item for item in fired if item[0] not in ("connect", "send lag")]


def test_what_comes_back_is_counted_once(user: Any) -> None:
    """And a second time it is a failure."""
    user.echo()
    (sent,) = user._socket.sent
    user._take(sent)
    user._take(sent)
    assert _fired(user) == [("echo", True), ("duplicated", False)]


def test_latency_counts_from_when_it_was_due(user: Any, module: Any) -> None:
    """Not from when this user got round to it."""
    user.echo(module.time.perf_counter() - 2.0)
    user._take(user._socket.sent[0])
    assert user.environment.events.request.times[-1] >= 2000


def test_what_is_lost_damaged_or_unasked_is_a_failure(user: Any) -> None:
    """Each of its name."""
    for _ in range(3):
        user.echo()
    first, second, _ = user._socket.sent
    user._take(first)
    user._take(second[:-1] + (b"0" if second[-1:] != b"0" else b"1"))
    user._take(b"by the way")
    user.on_stop()
    assert _fired(user) == [("echo", True), ("corrupted", False), ("unexpected", False), ("lost", False)]


def test_a_user_without_a_connection_fails_what_it_should_send(user: Any) -> None:
    """Its server ended the connection."""
    user._lose(ConnectionError("gone"))
    user.echo()
    assert _fired(user) == [("connection", False), ("echo", False)]


def test_a_schedule_is_not_shifted_by_what_is_slow(user: Any) -> None:
    """Twenty at ten a second: a tenth of a second apart, whenever they are taken."""
    due = list(user.schedule(rate=10, seconds=2))
    assert len(due) == 20
    assert [round(later - due[0], 6) for later in due] == [round(n / 10, 6) for n in range(20)]


def test_it_is_a_user_of_the_real_locust() -> None:
    """Where that is installed; the package does not need it."""
    locust = pytest.importorskip("locust")
    real = importlib.import_module(MODULE)
    assert issubclass(real.WebSocketUser, locust.User)
