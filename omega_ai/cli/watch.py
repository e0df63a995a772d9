"""``omega watch``: the live price in a terminal, as lines in a pipe, as JSON for a program."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from msgspec import Struct

from omega_ai.cli.exit_codes import ExitCode, UsageError
from omega_ai.cli.price_chart import block_chart
from omega_ai.cli.price_view import PriceView, format_number
from omega_ai.cli.running import run
from omega_ai.cli.terminal import console, say
from omega_ai.client import ClientError, ConnectError, Event, Price, ServerUnavailable, connect
from omega_ai.client.messages import Candle
from omega_ai.core.certificates import CertificateError
from omega_ai.core.client_tls import client_context

if TYPE_CHECKING:
    from rich.console import RenderableType

DEFAULT_URL = "ws://localhost:8765"
FRAMES_PER_SECOND = 8

Show = Callable[[object, str | None], None]
"""Takes each message or event, and the sentence about it if there is one."""


def watch(
    url: str = DEFAULT_URL,
    *,
    json: Annotated[bool, Parameter(negative="")] = False,
    count: int | None = None,
    ca: Path | None = None,
    token: str | None = None,
    config: Path | None = None,
) -> int:
    """Show the live price of a running feed until Ctrl-C.

    Comes back by itself after a cut, says what was missed, and never shows an old price as new. Not on a
    terminal, or on one that cannot move its cursor (TERM=dumb), it prints one line per price on standard
    output. The screen is drawn in place, without the terminal's second screen, so it works over ssh and in
    tmux, and what was shown last stays.

    Args:
        url: Where the feed is: ws://HOST:PORT or wss://HOST:PORT.
        json: One JSON object per line on standard output: every message and every event.
        count: End after so many prices.
        ca: PEM file of the authority to trust for wss. On its own machine, the development certificate is
            trusted without.
        token: Token to show to the server. Better given as OMEGA_TOKEN: others can see a command line.
        config: TOML file with a [watch] table of options.
    """
    del config  # read while the options were gathered
    if count is not None and count < 1:
        raise UsageError(f"--count must be 1 or more, not {count}.")
    view = PriceView(url)
    dumb = os.environ.get("TERM", "") in ("", "dumb", "unknown")
    screen = not json and not dumb and sys.stdout.isatty() and sys.stderr.isatty()
    try:
        with ExitStack() as stack:
            show = _show_json if json else stack.enter_context(_Screen(view)) if screen else _Lines(view)
            run(_watch(view, show, count=count, ca=ca, token=token, screen=screen))
    except KeyboardInterrupt:
        return ExitCode.PASS  # how watching ends
    except ServerUnavailable as error:
        raise UsageError(f"{error}.", "Start a feed with: omega serve. What is wrong: omega doctor") from None
    except (ConnectError, CertificateError, ValueError) as error:
        raise UsageError(f"{error}.") from None
    except ClientError as error:
        say(f"omega: {error}.")
        return ExitCode.FAIL
    if not screen:
        return ExitCode.PASS if view.prices else ExitCode.UNKNOWN
    return ExitCode.PASS


async def _watch(
    view: PriceView, show: Show, *, count: int | None, ca: Path | None, token: str | None, screen: bool
) -> None:
    tls = None if ca is None else client_context(ca)
    channels = ["btc_price", "heartbeat", *(["status"] if screen else [])]
    async with connect(view.url, channels=channels, events=True, tls=tls, token=token) as feed:
        if screen:
            # What was before; a server that cannot tell, or is slow to, begins the chart now.
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(2.0):
                    past = await feed.history("candles", limit=PAST_CANDLES)
                for candle in past.messages:
                    if isinstance(candle, Candle):
                        view.take_candle(candle)
        async for item in feed:
            show(item, view.take(item, now=time.monotonic(), utc_ns=time.time_ns()))
            if count is not None and view.prices >= count:
                return


PAST_CANDLES = 1000
"""As many as one answer may hold: those of a second and of a minute, some sixteen minutes of both."""


def _show_json(item: object, _sentence: str | None) -> None:
    if isinstance(item, Event):
        assert isinstance(item, Struct)  # noqa: S101 - every event is one
        item = {"type": type(item).__name__.lower(), **msgspec.structs.asdict(item)}
    sys.stdout.write(_encode(item).decode() + "\n")
    sys.stdout.flush()


_encode = msgspec.json.Encoder(decimal_format="number").encode


class _Lines:
    """One line per price on standard output, one per event on standard error."""

    def __init__(self, view: PriceView) -> None:
        self._view = view

    def __call__(self, item: object, sentence: str | None) -> None:
        if sentence is not None:
            say(sentence)
        if isinstance(item, Price):
            print(price_line(item, self._view.direction), flush=True)


def price_line(price: Price, direction: int) -> str:
    """A price as one line of text: time, price, direction, bid, ask, state, place in the sequence."""
    return (
        f"{price.timestamp:%H:%M:%S.%f} {format_number(price.price)} {_ARROWS[direction]} "
        f"bid {format_number(price.bid)} ask {format_number(price.ask)} {price.state} seq {price.seq}"
    )


_ARROWS = {1: "▲", -1: "▼", 0: "="}
_COLOURS = {1: "green", -1: "red", 0: "default"}


class _Screen:
    """The price drawn in place, some times a second."""

    def __init__(self, view: PriceView) -> None:
        from rich.live import Live  # costs start-up time, and only a terminal needs it

        self._view = view
        self._news = ""
        self._console = console(wrap=True)
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=FRAMES_PER_SECOND,
            transient=False,
        )

    def __enter__(self) -> _Screen:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, item: object, sentence: str | None) -> None:
        if sentence is not None and not isinstance(item, Price):
            self._news = f"{time.strftime('%H:%M:%S')} {sentence}"

    def _draw(self) -> RenderableType:
        size = self._console.size
        now, utc = time.monotonic(), int(time.time())
        return draw(self._view, now, self._news, utc=utc, width=size.width, height=size.height)


def draw(
    view: PriceView, now: float, news: str = "", *, utc: int = 0, width: int = 80, height: int = 24
) -> RenderableType:
    """The screen at one moment: ``now`` is monotonic time, ``utc`` seconds since the Unix epoch."""
    from rich.console import Group
    from rich.text import Text

    warning = view.warning(now)
    rows: list[Any] = []
    price = view.price
    if price is not None:
        old = warning is not None and price.state in ("live", "stale")
        style = "dim" if old else f"bold {_COLOURS[view.direction]}"
        rows.append(
            Text.assemble(
                f"{price.symbol}  ", (f"{format_number(price.price)} {_ARROWS[view.direction]}", style)
            )
        )
        volume = "not known" if price.volume is None else f"{price.volume:,.0f} BTC"
        rows.append(
            Text(f"bid {format_number(price.bid)}   ask {format_number(price.ask)}   24 h volume {volume}")
        )
    rows.append(Text(f"! {warning}", style="bold yellow") if warning else Text("live", style="green"))
    if price is not None:
        venues, count = _venues(view, price, now)
        below = [Text(), venues, Text(), Text(_figures(view, now), style="dim")]
        # Two lines of figures and one of news may come below it; the last line is the shell's.
        room = height - len(rows) - count - 7
        rows += _chart(view, utc, width, min(room, CHART_ROWS))
        rows += below
    if news:
        rows.append(Text(news, style="dim"))
    return Group(*rows)


CHART_ROWS = 10


def _chart(view: PriceView, utc: int, width: int, height: int) -> list[RenderableType]:
    """Past prices as blocks, with the highest and the lowest at the right; nothing where there is no room."""
    from rich.text import Text

    rows = height - 2  # a blank line above, the times below
    columns = width - 12
    seconds = max(60, view.trail.span(utc))
    if rows < 2 or columns < 30:
        return []
    values = view.trail.columns(utc, seconds, columns)
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return []
    lines = [Text(line, style="cyan") for line in block_chart(values, rows)]
    lines[0].append(f" {max(known):,.2f}", style="dim")
    lines[-1].append(f" {min(known):,.2f}", style="dim")
    left = f"{seconds // 60} min ago" if seconds >= 120 else f"{seconds} s ago"
    return [Text(), *lines, Text(left + "now".rjust(columns - len(left)), style="dim")]


def _venues(view: PriceView, price: Price, now: float) -> tuple[RenderableType, int]:
    """What the price says of each venue, and what its connection says; with the number of lines."""
    from rich.table import Table

    age = view.age(now) or 0.0
    names = sorted({*price.sources, *view.statuses}, key=lambda name: (":" in name, name))
    rows = []
    for name in names:
        source, status = price.sources.get(name), view.statuses.get(name)
        used = source is not None and source.used
        seen = None if source is None else source.age_ms
        why = [] if source is None or not source.reason else [source.reason.replace("_", " ")]
        if status is not None and status.state != "live":
            why.append(status.detail or status.state)
        rows.append(
            (
                name,
                format_number(None if source is None else source.price),
                "" if seen is None else f"{seen / 1000 + age:.1f} s",
                "used" if used else f"not used: {'; '.join(why) or 'no reason given'}",
                used,
            )
        )
    table = Table.grid(padding=(0, 2), expand=True)
    for at in range(3):  # why a venue is not used may be cut off, the others may not
        table.add_column(no_wrap=True, min_width=max((len(str(row[at])) for row in rows), default=0))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for *cells, used in rows:
        table.add_row(*cells, style=None if used else "yellow")
    return table, len(names)


def _figures(view: PriceView, now: float) -> str:
    age, delay, rate, price = view.age(now), view.delay, view.rate(now), view.price
    parts = [
        f"{age:.1f} s old" if age is not None else "",
        f"delay {delay * 1000:.1f} ms" if delay is not None else "",
        f"{rate:.1f} prices/s" if rate is not None else "",
        f"seq {price.seq} of {price.epoch}" if price is not None else "",
        f"{view.lost} lost" if view.lost else "nothing lost",
        f"{view.doubts} times not proven whole" if view.doubts else "",
        f"{view.reconnects} reconnects" if view.reconnects else "",
        view.url,
    ]
    return "   ".join(part for part in parts if part)
