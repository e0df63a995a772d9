"""What becomes a log line, and what never does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.clock import ManualClock
from omega_ai.data_feed.observability.logs import (
    HIDDEN,
    KINDS_AT_MOST,
    RateLimit,
    choose_format,
    hide_secrets,
    scrub,
    set_level,
    set_up_logs,
)

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


Setup = Callable[..., io.StringIO]


@pytest.fixture
def setup() -> Iterator[Setup]:
    """``set_up_logs`` on a stream of the test's own; everything is put back afterwards."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in ("redis", "aiohttp.server", "asyncio")}

    def do(level: str = "info", line_format: Any = "json", **more: Any) -> io.StringIO:
        stream: io.StringIO = more.pop("stream", None) or io.StringIO()
        set_up_logs(level, line_format, stream=stream, **more)
        return stream

    yield do
    structlog.reset_defaults()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_auto_is_for_people_on_a_terminal_and_for_machines_elsewhere() -> None:
    """And what is asked for plainly is taken."""
    assert choose_format("auto", Terminal()) == "console"
    assert choose_format("auto", io.StringIO()) == "json"
    assert choose_format("json", Terminal()) == "json"
    assert choose_format("console", io.StringIO()) == "console"


def test_another_level_holds_for_loggers_that_are_in_use(setup: Setup) -> None:
    """Though they are kept as they were when first used."""
    stream = setup("info")
    log = structlog.get_logger("x")
    log.debug("a")
    log.info("b")
    set_level("debug")
    log.debug("c")
    set_level("error")
    log.info("d")
    log.error("e")
    assert [line["event"] for line in lines(stream)] == ["b", "c", "e"]
    assert logging.getLogger().level == logging.ERROR


def test_a_json_line_has_event_level_utc_time_and_fields(setup: Setup) -> None:
    """One object a line."""
    stream = setup()
    structlog.get_logger("x").warning("slow_consumer", connection="c-1", limit_bytes=1024)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "slow_consumer",
        "level": "warning",
        "connection": "c-1",
        "limit_bytes": 1024,
    }


def test_a_console_line_has_no_colours_unless_on_a_terminal(setup: Setup) -> None:
    """Readable in a file; coloured for people."""
    stream = setup(line_format="console")
    structlog.get_logger().info("ready", port=8765)
    assert "ready" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()
    structlog.reset_defaults()
    terminal = setup(line_format="console", stream=Terminal())
    structlog.get_logger().info("ready", port=8765)
    assert "\x1b[" in terminal.getvalue()


def test_lines_below_the_level_are_left_out(setup: Setup) -> None:
    """Ours and the libraries'."""
    stream = setup("warning")
    structlog.get_logger().info("ready")
    logging.getLogger("redis").info("connected")
    structlog.get_logger().error("broken")
    assert [line["event"] for line in lines(stream)] == ["broken"]


def test_a_librarys_line_comes_in_the_same_format(setup: Setup) -> None:
    """From a warning up."""
    stream = setup()
    logging.getLogger("omega_ai.elsewhere").warning("lost %s", "it")
    logging.getLogger("some.library").info("chatter")
    (line,) = lines(stream)
    assert (line["event"], line["level"]) == ("lost it", "warning")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("line_format", ["json", "console"])
def test_an_exception_is_told_without_local_values(setup: Setup, line_format: str) -> None:
    """Where and what, but a local may hold a token."""
    stream = setup(line_format=line_format)

    def fail(token: str) -> None:
        raise RuntimeError("no such thing")

    try:
        fail("swordfish")
    except RuntimeError:
        structlog.get_logger().exception("failed")
        logging.getLogger("a.library").exception("also failed")
    text = stream.getvalue()
    assert "failed" in text
    assert "also failed" in text
    assert text.count("RuntimeError") >= 2
    assert "fail" in text
    assert "swordfish" not in text.replace('fail("swordfish")', "")


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"token": TOKEN}, HIDDEN),
        ({"Authorization": "Bearer abc"}, HIDDEN),
        ({"redis_password": "hunter2"}, HIDDEN),
        ({"headers": {"Cookie": "a=b", "Host": "x"}}, {"Cookie": HIDDEN, "Host": "x"}),
        ({"url": "redis://user:hunter2@host:6379/0"}, f"redis://user:{HIDDEN}@host:6379/0"),
        ({"path": "/?channels=a&token=hunter2&x=1"}, f"/?channels=a&token={HIDDEN}&x=1"),
        ({"text": f"got {TOKEN} from a client"}, f"got {HIDDEN} from a client"),
        ({"text": "Bearer hunter2"}, f"Bearer {HIDDEN}"),
        ({"payload": b"\x00" * 700}, "700 bytes"),
        ({"price": "x" * 600}, "x" * 500 + "... (600 characters)"),
        ({"venues": ("a", "b")}, ["a", "b"]),
        ({"tokens_left": 3}, 3),
    ],
)
def test_no_secret_and_no_whole_payload_gets_into_a_line(
    setup: Setup, fields: dict[str, Any], seen: Any
) -> None:
    """By the field's name, or by the form of what stands in it."""
    stream = setup()
    structlog.get_logger().info("event", **fields)
    (line,) = lines(stream)
    assert line[next(iter(fields))] == seen
    assert "hunter2" not in stream.getvalue()


def test_a_librarys_line_is_scrubbed_too(setup: Setup) -> None:
    """Its text, and the text of its exception."""
    stream = setup()
    try:
        raise ConnectionError("redis://:hunter2@host refused")
    except ConnectionError:
        logging.getLogger("redis").exception("cannot reach redis://user:hunter2@host:1")
    assert "hunter2" not in stream.getvalue()
    assert "cannot reach" in stream.getvalue()


@given(st.text(max_size=200))
def test_scrubbing_leaves_ordinary_text_alone_and_never_fails(text: str) -> None:
    """Text without an address or a token stays as it is."""
    if not any(mark in text for mark in ("://", "?", "&", "eyJ")) and "bearer" not in text.lower():
        assert scrub(text) == text
    else:
        assert isinstance(scrub(text), str)


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.recursive(st.text() | st.binary() | st.integers(), st.lists, max_leaves=5),
        max_size=4,
    )
)
def test_any_fields_become_something_that_json_can_hold(fields: dict[str, Any]) -> None:
    """Hiding never raises."""
    json.dumps(hide_secrets(None, "info", fields))


def test_of_one_kind_only_so_many_lines_a_minute_pass_and_the_rest_are_counted(setup: Setup) -> None:
    """Others are not held up, and after the minute the count of those left out is told."""
    clock = ManualClock()
    stream = setup(clock=clock, per_minute=3)
    log = structlog.get_logger()
    for _ in range(100):
        log.warning("protocol_error")
    log.warning("another")
    assert [line["event"] for line in lines(stream)] == ["protocol_error"] * 3 + ["another"]
    clock.advance(60)
    log.warning("protocol_error")
    assert lines(stream)[-1]["suppressed"] == 97
    log.warning("protocol_error")
    assert "suppressed" not in lines(stream)[-1]


def test_a_librarys_lines_are_limited_by_their_template(setup: Setup) -> None:
    """A thousand addresses are one kind of line."""
    clock = ManualClock()
    stream = setup(clock=clock, per_minute=2)
    for port in range(1000):
        logging.getLogger("redis").warning("lost %d", port)
    assert [line["event"] for line in lines(stream)] == ["lost 0", "lost 1"]
    clock.advance(61)
    logging.getLogger("redis").warning("lost %d", 7)
    assert lines(stream)[-1]["event"] == "lost 7 (998 more like this were left out)"


def test_kinds_are_bounded() -> None:
    """Names made up by an attacker share one count."""
    limit = RateLimit(ManualClock(), per_minute=1)
    for number in range(KINDS_AT_MOST):
        limit(None, "info", {"event": f"kind {number}"})
    limit(None, "info", {"event": "one more"})
    with pytest.raises(structlog.DropEvent):
        limit(None, "info", {"event": "and another"})
