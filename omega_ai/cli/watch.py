"""``omega watch``: the live price in a terminal, as lines in a pipe, as JSON for a program."""

from __future__ import annotations

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
from omega_ai.cli.price_view import PriceView, format_number
from omega_ai.cli.running import run
from omega_ai.cli.terminal import console, say
from omega_ai.client import ClientError, ConnectError, Event, Price, ServerUnavailable, connect
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
    terminal, it prints one line per price on standard output.

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
    screen = not json and sys.stdout.isatty() and sys.stderr.isatty()
    try:
        with ExitStack() as stack:
            show = _show_json if json else stack.enter_context(_Screen(view)) if screen else _Lines(view)
            run(_watch(view, show, count=count, ca=ca, token=token))
    except KeyboardInterrupt:
        return ExitCode.PASS  # how watching ends
    except ServerUnavailable as error:
        raise UsageError(f"{error}.", "Start a feed with: omega serve. What is wrong: omega doctor") from None
    except (ConnectError, CertificateError, ValueError) as error:
        raise UsageError(f"{error}.") from None
    except ClientError as error:
        say(f"omega: {error}.")
        return ExitCode.FAIL
    if json or not screen:
        return ExitCode.PASS if view.prices else ExitCode.UNKNOWN
    return ExitCode.PASS


async def _watch(
    view: PriceView, show: Show, *, count: int | None, ca: Path | None, token: str | None
) -> None:
    tls = None if ca is None else client_context(ca)
    async with connect(
        view.url, channels=["btc_price", "heartbeat"], events=True, tls=tls, token=token
    ) as feed:
        async for item in feed:
            show(item, view.take(item, now=time.monotonic(), utc_ns=time.time_ns()))
            if count is not None and view.prices >= count:
                return


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
        self._live = Live(
            get_renderable=self._draw,
            console=console(wrap=True),
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
        return draw(self._view, time.monotonic(), self._news)


def draw(view: PriceView, now: float, news: str = "") -> RenderableType:
    """The screen at one moment."""
    from rich.console import Group
    from rich.text import Text

    warning = view.warning(now)
    rows: list[Any] = []
    price = view.price
    if price is not None:
        style = "dim" if warning and price.state in ("live", "stale") else f"bold {_COLOURS[view.direction]}"
        rows.append(
            Text.assemble(
                f"{price.symbol}  ", (f"{format_number(price.price)} {_ARROWS[view.direction]}", style)
            )
        )
        rows.append(Text(f"bid {format_number(price.bid)}   ask {format_number(price.ask)}"))
        rows.append(Text(f"24 h volume {format_number(price.volume)} BTC"))
    rows.append(Text(f"! {warning}", style="bold yellow") if warning else Text("live", style="green"))
    if price is not None:
        rows += [Text(), _sources(price), Text(), Text(_figures(view, now), style="dim")]
    if news:
        rows.append(Text(news, style="dim"))
    return Group(*rows)


def _sources(price: Price) -> RenderableType:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, source in sorted(price.sources.items()):
        age = "" if source.age_ms is None else f"{source.age_ms} ms ago"
        verdict = "used" if source.used else f"not used: {source.reason or 'no reason given'}"
        table.add_row(
            name, format_number(source.price), age, verdict, style=None if source.used else "yellow"
        )
    return table


def _figures(view: PriceView, now: float) -> str:
    age, delay, price = view.age(now), view.delay, view.price
    parts = [
        f"{age:.1f} s old" if age is not None else "",
        f"delay {delay * 1000:.1f} ms" if delay is not None else "",
        f"seq {price.seq} of {price.epoch}" if price is not None else "",
        f"{view.lost} lost" if view.lost else "nothing lost",
        f"{view.doubts} times not proven whole" if view.doubts else "",
        f"{view.reconnects} reconnects" if view.reconnects else "",
        view.url,
    ]
    return "   ".join(part for part in parts if part)
