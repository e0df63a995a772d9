"""``omega proxy``: faults between any client and any server."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Group, Parameter

from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.output import write_json
from omega_ai.cli.ports import PortOrOff
from omega_ai.cli.running import run
from omega_ai.cli.terminal import command_line, say
from omega_ai.testkit.faults.model import Toxic
from omega_ai.testkit.proxy.collection import ApiError, ProxySpec
from omega_ai.testkit.proxy.configuration import BadConfiguration, load_proxies, parse_toxic
from omega_ai.testkit.proxy.documents import show_toxic
from omega_ai.testkit.proxy.records import Event
from omega_ai.testkit.proxy.serve import API_PORT, Running, ServeOptions, serve_proxies
from omega_ai.testkit.proxy.service import MAX_CONNECTIONS, FaultProxy
from omega_ai.testkit.proxy.tls import ProxyTls

TLS = Group("TLS")
SPARE = 256
"""Descriptors for listeners, the API, pipes and files."""
_QUIET = frozenset({"accepted", "ended"})


def proxy(
    *,
    upstream: str | None = None,
    listen: str = "127.0.0.1:0",
    name: str = "proxy",
    toxic: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    host: str = "127.0.0.1",
    port: Annotated[int | None, PortOrOff] = API_PORT,
    seed: int = 0,
    verbose: bool = False,
    json: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    config: Path | None = None,
    tls: Annotated[bool, Parameter(group=TLS)] = False,
    cert: Annotated[Path | None, Parameter(group=TLS)] = None,
    key: Annotated[Path | None, Parameter(group=TLS)] = None,
    upstream_ca: Annotated[Path | None, Parameter(group=TLS)] = None,
    upstream_insecure: Annotated[bool, Parameter(group=TLS)] = False,
) -> int:
    """Stand between clients and a server, over TCP, TLS or WebSocket, and harm what passes as told.

    With --upstream there is one proxy from the start; with a file there are those in it; all can be changed,
    and others made, through Toxiproxy's HTTP API. docs/testkit/proxy.md says what toxics there are.

    Args:
        upstream: The server: HOST:PORT, or a URL such as ws://localhost:8765.
        listen: Where clients connect; port 0 picks a free one.
        name: The proxy's name in the API.
        toxic: A fault of the proxy that --upstream makes, such as latency:latency=100,jitter=20 (repeatable);
            also stream=upstream, toxicity=0.5, and when, in seconds: start, duration, every.
        host: Address that the API listens on. Whoever reaches it decides where connections go.
        port: Port of the API; 0 picks a free one, off means none.
        seed: Makes all chance repeatable.
        verbose: Say also when connections begin and end.
        json: Write the addresses as JSON to this file once all listen; - is standard output.
        config: TOML file with a [proxy] table of options and [[proxies]], or a .json file with an array of
            proxies, as Toxiproxy takes it.
        tls: Terminate TLS, so that faults see what is inside; with a wss:// server it is spoken to that, too.
        cert: PEM chain to show to clients; by default the proxy makes its own authority and certificate.
        key: PEM key of --cert.
        upstream_ca: PEM file of the authorities that the server's certificate is checked against.
        upstream_insecure: Do not check the server's certificate.
    """
    terminated = tls or cert is not None or upstream_ca is not None or upstream_insecure
    settings = (
        ProxyTls(certificate=cert, key=key, ca=upstream_ca, verify=not upstream_insecure)
        if terminated
        else None
    )
    try:
        proxies = load_proxies(config.expanduser()) if config is not None else []
        toxics = [show_toxic(_strictly(text)) for text in toxic]
    except BadConfiguration as error:
        raise UsageError(f"{error}.") from None
    if upstream is not None:
        spec = ProxySpec(name=name, listen=listen, upstream=upstream, tls=settings, toxics=toxics)
        proxies = [spec, *proxies]
    elif toxics or terminated:
        raise UsageError("--toxic and TLS belong to a proxy: say with --upstream where it leads.")
    elif not proxies and port is None:
        raise UsageError("there is nothing to do: give --upstream, a --config file, or a --port for the API.")

    def ready(running: Running) -> None:
        if json is not None:
            write_json(json, _addresses(running))
        _show(running, seed)

    def told(owner: FaultProxy, event: Event) -> None:
        if verbose or event.what not in _QUIET:
            of = f" connection {event.connection}" if event.connection >= 0 else ""
            say(f"{owner.name}:{of} {event.what}{f': {event.detail}' if event.detail else ''}")

    _allow_descriptors()
    try:
        run(serve_proxies(ServeOptions(proxies, host, port, seed, told), ready))
    except ApiError as error:
        raise UsageError(f"{error}.") from None
    except OSError as error:
        raise UsageError(f"the API cannot listen on {host}:{port}: {error.strerror or error}.") from None
    return 0


def _allow_descriptors() -> None:
    """Each connection takes two of them, and many systems allow 1,024 unless asked."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MAX_CONNECTIONS + SPARE
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        with contextlib.suppress(OSError, ValueError):  # some systems allow less than they tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _strictly(text: str) -> Toxic:
    try:
        return parse_toxic(text)
    except BadConfiguration as error:
        raise BadConfiguration(f"--toxic {error}") from None


def _addresses(running: Running) -> dict[str, Any]:
    return {
        "api": running.api,
        "proxies": {
            name: {
                "url": each.url,
                "listen": each.listen,
                "upstream": each.upstream,
                "ca": None if each.ca is None else str(each.ca),
            }
            for name, each in running.collection.proxies.items()
        },
    }


def _show(running: Running, seed: int) -> None:
    for name, each in running.collection.proxies.items():
        state = "" if each.enabled else "   (disabled)"
        say(f"  {name:<12} {each.url} -> {each.upstream}{state}")
        if each.ca is not None:
            say(f"  {'':<12} clients must trust {each.ca}")
        for placed in each.toxics:
            say(f"  {'':<12} {_described(placed)}")
    say(f"  {'seed':<12} {seed}")
    if running.api is not None:
        say(f"  {'API':<12} {running.api}   (Toxiproxy's)")
        for name in list(running.collection.proxies)[:1]:
            say("Try:")
            body = '{"type":"latency","attributes":{"latency":500}}'
            say(f"  curl -d '{body}' {running.api}/proxies/{name}/toxics")
    say(f"Stop with Ctrl-C. More: {command_line()} proxy --help")


def _described(placed: Toxic) -> str:
    attributes = msgspec.structs.asdict(placed.fault)
    text = ", ".join(f"{name}={value}" for name, value in attributes.items())
    share = "" if placed.toxicity == 1.0 else f", {placed.toxicity:.0%} of connections"
    when = ""
    if placed.window is not None:
        when = f", from {placed.window.start:g} s"
        if placed.window.duration is not None:
            when += f" for {placed.window.duration:g} s"
        if placed.window.every is not None:
            when += f", every {placed.window.every:g} s"
    return f"{placed.name} ({placed.stream}{share}{when}): {text or 'as it is'}"
