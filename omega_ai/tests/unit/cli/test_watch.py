"""What ``omega watch`` draws and prints."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from decimal import Decimal

import msgspec
import pytest
from rich.console import Console

from omega_ai.cli import watch
from omega_ai.cli.app import main
from omega_ai.cli.price_view import PriceView
from omega_ai.client import Connected, Gap
from omega_ai.client.messages import Source, Status
from omega_ai.tests.feed_server import FeedThread, quiet_settings
from omega_ai.tests.unit.cli.test_price_view import PUBLISHED, PUBLISHED_NS, URL, connected, price


def drawn(
    view: PriceView, now: float, *, width: int = 100, height: int = 24, news: str = "", utc: int = 0
) -> str:
    """The screen as text."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(watch.draw(view, now, news, utc=utc, width=width, height=height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_line_holds_what_a_program_may_cut_out() -> None:
    """Time, price, direction, bid, ask, state and place, in that order."""
    assert watch.price_line(price(state="simulated", seq=7), 1) == (
        "07:45:01.123456 61,800.01 ▲ bid 61,799.91 ask - simulated seq 7"
    )


def test_screen_before_the_first_price_says_so() -> None:
    """An empty screen would look like a hang."""
    assert "not connected yet" in drawn(PriceView(URL), 0.0)


def test_screen_shows_price_state_and_sources() -> None:
    """Also why a source is not used."""
    view = PriceView(URL)
    connected(view)
    now = price()
    sources = now.sources | {
        "kraken": Source(used=False, price=Decimal("61790.5"), age_ms=9000, reason="stale")
    }
    view.take(msgspec.structs.replace(now, sources=sources), now=1.0, utc_ns=PUBLISHED_NS)
    screen = drawn(view, 1.0)
    assert "BTC-USD  61,800.01 =" in screen
    assert "\nlive\n" in screen.replace(" \n", "\n")
    assert "not used: stale" in screen
    assert "nothing lost" in screen


def test_screen_says_why_the_price_is_not_the_price_now() -> None:
    """The warning stands under the price, and losses are counted."""
    view = PriceView(URL)
    connected(view)
    view.take(price(state="stale"), now=1.0, utc_ns=PUBLISHED_NS)
    view.take(Gap(channel="btc_price", epoch="k3zq7m2p", first=2, last=2), now=1.0, utc_ns=PUBLISHED_NS)
    screen = drawn(view, 3.0, news="07:45:02 something happened")
    assert "! the price is STALE" in screen
    assert "1 lost" in screen
    assert "2.0 s old" in screen
    assert "something happened" in screen


@pytest.mark.parametrize("width", [20, 40, 200])
def test_screen_fits_any_width(width: int) -> None:
    """Nothing is wider than the terminal."""
    view = PriceView(URL)
    connected(view)
    view.take(price(), now=1.0, utc_ns=PUBLISHED_NS)
    assert max(len(line.rstrip()) for line in drawn(view, 1.0, width=width).splitlines()) <= width


def test_a_venue_that_gives_no_price_says_why() -> None:
    """Also one that the price does not name yet: its connection does."""
    view = PriceView(URL)
    connected(view)
    view.take(price(), now=1.0, utc_ns=PUBLISHED_NS)
    status = Status(
        epoch="e",
        seq=1,
        venue="bybit",
        state="reconnecting",
        age_ms=None,
        timestamp=PUBLISHED,
        detail="connection refused",
    )
    view.take(status, now=1.0, utc_ns=PUBLISHED_NS)
    lines = {line.split()[0]: line for line in drawn(view, 1.0).splitlines() if line.strip()}
    assert "not used: connection refused" in lines["bybit"]
    assert lines["coinbase"].split()[-1] == "used"


@pytest.mark.parametrize("height", [10, 16, 24, 50])
def test_the_chart_takes_the_room_that_is_left_and_no_more(height: int) -> None:
    """Nine venues, two lines of figures and one of news fit into 80 by 24, with a chart."""
    view = PriceView(URL)
    connected(view)
    names = ("binance", "bitstamp", "bitstamp:USDT-USD", "bybit", "coinbase", "kraken", "okx", "x", "y")
    sources = {name: Source(used=True, price=Decimal("61790.5"), age_ms=9) for name in names}
    second = PUBLISHED_NS // 1_000_000_000
    for step in range(100):
        at = PUBLISHED_NS + step * 1_000_000_000
        now = msgspec.structs.replace(price(str(61000 + step)), sources=sources)
        view.take(now, now=float(step), utc_ns=at)
    screen = drawn(view, 99.0, width=80, height=height, news="something happened", utc=second + 99)
    lines = screen.rstrip("\n").splitlines()
    assert len(lines) < max(height, 18)
    assert ("█" in screen) == (height >= 24)
    assert ("61,099.00" in lines[4]) == (height >= 24)
    assert any(line.startswith("bitstamp:USDT-USD") for line in lines)


def test_json_is_one_object_a_line_with_all_digits(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages as on the wire, events with their name as type."""
    watch._show_json(price("61800.010"), None)
    watch._show_json(Connected(url=URL, attempt=1, first=True), "connected")
    first, second = capsys.readouterr().out.splitlines()
    assert '"price":61800.010,' in first
    assert json.loads(first)["type"] == "btc_price"
    assert json.loads(first)["timestamp"] == "2026-11-23T07:45:01.123456Z"
    assert json.loads(second) == {"type": "connected", "url": URL, "attempt": 1, "first": True}


@pytest.mark.parametrize(("term", "drawn_in_place"), [("xterm", True), ("dumb", False)])
def test_on_a_terminal_it_draws_in_place_and_on_a_dumb_one_it_prints_lines(
    term: str, drawn_in_place: bool
) -> None:
    """Without the terminal's second screen, so that the last picture stays; the cursor comes back."""
    with FeedThread(quiet_settings(source="simulated", price_interval_ms=100)) as feed:
        text = in_terminal([feed.at.ws, "--count", "12"], term)
    assert ("\x1b[" in text) == drawn_in_place
    assert "\x1b[?1049h" not in text
    assert text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")
    assert "SIMULATED" in text
    assert ("prices/s" in text) == drawn_in_place
    lines = re.findall(r"^\d\d:\d\d:\d\d\.\d{6} .* simulated seq \d+\r$", text, re.MULTILINE)
    assert len(lines) == (0 if drawn_in_place else 12)


def in_terminal(arguments: list[str], term: str) -> str:
    """What ``omega watch`` writes to a terminal of 80 by 24."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "omega_ai", "watch", *arguments]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": term}
    )
    os.close(theirs)
    written = b""
    try:
        while select.select([ours], [], [], 30.0)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not part:
                break
            written += part
        assert process.wait(30) == 0, written.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return written.decode()


def test_prices_go_to_standard_output_and_the_rest_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a pipe wants it; exit code 0 once there were as many prices as asked for."""
    with FeedThread(quiet_settings(source="simulated")) as feed:
        assert main(["watch", feed.at.ws, "--count", "2"]) == 0
        shown = capsys.readouterr()
        assert [line.split()[-3] for line in shown.out.splitlines()] == ["simulated", "simulated"]
        assert f"connected to {feed.at.ws}" in shown.err
        assert main(["watch", feed.at.ws, "--count", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["type"] == "btc_price"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ws://localhost:1", "nothing listens on localhost port 1"),
        ("wss://localhost:1", "nothing listens on localhost port 1"),
        ("localhost:8765", "must begin with ws:// or wss://"),
        ("ws://", "names no host"),
    ],
)
def test_what_cannot_be_watched_is_told(url: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3 at once; a first attempt that fails is not repeated."""
    assert main(["watch", url]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert said in shown.err


def test_authority_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """With its path."""
    assert main(["watch", "wss://localhost:1", "--ca", "/does/not/exist"]) == 3
    assert "/does/not/exist does not exist" in capsys.readouterr().err
