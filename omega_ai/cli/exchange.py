"""``omega exchange``: stand-ins for exchanges, to run a feed against without the real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.output import write_json
from omega_ai.cli.running import run
from omega_ai.cli.terminal import command_line, say
from omega_ai.data_feed.exchanges.standin.faults import BadFault, parse_fault
from omega_ai.data_feed.exchanges.standin.serve import ExchangeAddress, ExchangeOptions, serve_exchange
from omega_ai.data_feed.sources.base import SourceError


def exchange(
    *,
    capture: Path | None = None,
    venue: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    speed: str = "1",
    host: str = "127.0.0.1",
    port: int = 0,
    rest_port: int = 0,
    rate: float = 5.0,
    seed: int = 0,
    fault: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    chaos: bool = False,
    scale: float = 1.0,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    config: Path | None = None,
) -> int:
    """Stand in for exchanges: speak each venue's protocol, play a recording or make trades up, misbehave.

    Without --capture, every venue listens on a port of its own and trades a made-up market. What it prints is
    the environment that leads a feed here instead of to the real venues.

    Args:
        capture: A recording to play, of one venue (see: omega serve --source replay:FILE).
        venue: A venue to stand in for (repeatable); all by default.
        speed: How fast a recording is played; 'max' for as fast as it goes.
        host: Address to listen on.
        port: Port of the first venue, the next ones follow; 0 picks free ones.
        rest_port: The same for the venues' REST trades.
        rate: Made-up trades per second and venue.
        seed: Makes trades and misbehaviour repeatable.
        fault: Misbehave as KIND@START+DURATION in seconds, such as stall@10+5 (repeatable).
        chaos: Misbehave in every way, at times drawn from the seed.
        scale: Shorten the venues' own times: 0.1 makes heartbeats ten times as frequent.
        json: Write the addresses as JSON to this file once all listen; - is standard output.
        config: TOML file with an [exchange] table of options.
    """
    del config  # read while the options were gathered
    try:
        options = ExchangeOptions(
            venues=tuple(name.lower() for name in venue),
            capture=None if capture is None else capture.expanduser(),
            speed=math.inf if speed == "max" else float(speed),
            host=host,
            port=port,
            rest_port=rest_port,
            seed=seed,
            rate=rate,
            faults=tuple(parse_fault(text) for text in fault),
            chaos=chaos,
            scale=scale,
        )
    except BadFault as error:
        raise UsageError(f"--fault: {error}.") from None
    except ValueError:
        raise UsageError(f"--speed must be a number above 0, or 'max', not {speed!r}.") from None

    def ready(addresses: Sequence[ExchangeAddress]) -> None:
        # The file first: whoever waits for the last line of the text may then read it.
        if json is not None:
            write_json(json, {a.venue: {"url": a.url, "rest_url": a.rest_url} for a in addresses})
        _show(addresses)

    try:
        run(serve_exchange(options, ready))
    except SourceError as error:
        raise UsageError(f"{str(error).rstrip('.')}.") from None
    except OSError as error:
        raise UsageError(f"cannot listen on {host}: {error.strerror or error}.") from None
    return 0


def _show(addresses: Sequence[ExchangeAddress]) -> None:
    for address in addresses:
        say(f"  {address.venue:<10} {address.url}   trades over REST: {address.rest_url}")
    say("Lead a feed here:")
    for address in addresses:
        for name, value in address.environment.items():
            say(f"  export {name}={value}")
    say(f"  {command_line()} serve --source live" + "".join(f" --venue {a.venue}" for a in addresses))
    say("Stop with Ctrl-C.")
