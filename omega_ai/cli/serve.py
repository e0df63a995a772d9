"""``omega serve``: run the feed until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from omega_ai import __version__
from omega_ai.cli.exit_codes import UsageError
from omega_ai.cli.parsing import parse_again
from omega_ai.cli.port_owner import owner_of
from omega_ai.cli.ports import PortOrOff
from omega_ai.cli.running import run
from omega_ai.cli.terminal import command_line, say
from omega_ai.core.certificates import CertificateError
from omega_ai.data_feed.broker import UnknownBroker
from omega_ai.data_feed.broker.base import BrokerError
from omega_ai.data_feed.broker.redis_address import InvalidAddress
from omega_ai.data_feed.feed import Endpoints
from omega_ai.data_feed.observability.logs import choose_format, set_up_logs
from omega_ai.data_feed.pauses import spare_what_stays
from omega_ai.data_feed.service import run_feed
from omega_ai.data_feed.settings import REPEATABLE, FeedSettings, SettingsError
from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.websocket.server import PortBusy
from omega_ai.data_feed.websocket.token_keys import KeyConfigError
from omega_ai.data_feed.workers import WorkerFailed

_EXPECTED = (
    SettingsError,
    SourceError,
    CertificateError,
    KeyConfigError,
    BrokerError,
    UnknownBroker,
    InvalidAddress,
    WorkerFailed,
)
"""What can be wrong around us; each says in one sentence what, and what to do."""

_LISTEN = Group("Where it listens", sort_key=1)
_PRICES = Group("Where prices come from and go to", sort_key=2)
_TLS = Group("Certificate", sort_key=3)
_ACCESS = Group("Who may do what", sort_key=4)
_LIMITS = Group("Bounds", sort_key=5)
_LOGS = Group("Logs and settings", sort_key=6)


_Optional = Parameter(show_default=False)
_DEFAULTS = FeedSettings()


def serve(
    *,
    host: Annotated[str, Parameter(group=_LISTEN)] = _DEFAULTS.host,
    port: Annotated[int, Parameter(group=_LISTEN)] = _DEFAULTS.port,
    tls_port: Annotated[int | None, PortOrOff, Parameter(group=_LISTEN)] = _DEFAULTS.tls_port,
    http_host: Annotated[str, Parameter(group=_LISTEN)] = _DEFAULTS.http_host,
    http_port: Annotated[int | None, PortOrOff, Parameter(group=_LISTEN)] = _DEFAULTS.http_port,
    workers: Annotated[int, Parameter(group=_LISTEN)] = _DEFAULTS.workers,
    role: Annotated[Literal["all", "ingest", "edge"], Parameter(group=_LISTEN)] = _DEFAULTS.role,
    source: Annotated[str, Parameter(group=_PRICES)] = _DEFAULTS.source,
    venue: Annotated[tuple[str, ...], Parameter(group=_PRICES), _Optional] = (),
    fallback: Annotated[Literal["none", "simulated"], Parameter(group=_PRICES)] = _DEFAULTS.fallback,
    seed: Annotated[int | None, Parameter(group=_PRICES)] = None,
    price_interval_ms: Annotated[int, Parameter(group=_PRICES)] = _DEFAULTS.price_interval_ms,
    broker: Annotated[str, Parameter(group=_PRICES)] = _DEFAULTS.broker,
    history_messages: Annotated[int, Parameter(group=_PRICES)] = _DEFAULTS.history_messages,
    history_seconds: Annotated[float, Parameter(group=_PRICES)] = _DEFAULTS.history_seconds,
    cert: Annotated[Path | None, Parameter(group=_TLS)] = None,
    key: Annotated[Path | None, Parameter(group=_TLS)] = None,
    require_token: Annotated[bool, Parameter(group=_ACCESS)] = _DEFAULTS.require_token,
    token_secret: Annotated[Path | None, Parameter(group=_ACCESS)] = None,
    token_public_key: Annotated[Path | None, Parameter(group=_ACCESS)] = None,
    token_jwks: Annotated[str | None, Parameter(group=_ACCESS)] = None,
    origin: Annotated[tuple[str, ...], Parameter(group=_ACCESS), _Optional] = (),
    hostname: Annotated[tuple[str, ...], Parameter(group=_ACCESS), _Optional] = (),
    trusted_proxy: Annotated[tuple[str, ...], Parameter(group=_ACCESS), _Optional] = (),
    public_url: Annotated[tuple[str, ...], Parameter(group=_LISTEN), _Optional] = (),
    strict: Annotated[bool, Parameter(group=_ACCESS)] = _DEFAULTS.strict,
    max_message_size: Annotated[int, Parameter(group=_LIMITS)] = _DEFAULTS.max_message_size,
    outbox_limit: Annotated[int, Parameter(group=_LIMITS)] = _DEFAULTS.outbox_limit,
    max_connections: Annotated[int, Parameter(group=_LIMITS)] = _DEFAULTS.max_connections,
    max_connections_per_address: Annotated[int | None, Parameter(group=_LIMITS)] = None,
    rate_limit: Annotated[float | None, Parameter(group=_LIMITS)] = None,
    history_rate: Annotated[float | None, Parameter(group=_LIMITS)] = None,
    history_burst: Annotated[int, Parameter(group=_LIMITS)] = _DEFAULTS.history_burst,
    connection_rate: Annotated[float, Parameter(group=_LIMITS)] = _DEFAULTS.connection_rate,
    connection_burst: Annotated[int, Parameter(group=_LIMITS)] = _DEFAULTS.connection_burst,
    ping_interval: Annotated[float, Parameter(group=_LIMITS)] = _DEFAULTS.ping_interval,
    pong_timeout: Annotated[float, Parameter(group=_LIMITS)] = _DEFAULTS.pong_timeout,
    handshake_timeout: Annotated[float, Parameter(group=_LIMITS)] = _DEFAULTS.handshake_timeout,
    close_timeout: Annotated[float, Parameter(group=_LIMITS)] = _DEFAULTS.close_timeout,
    drain_seconds: Annotated[float, Parameter(group=_LIMITS)] = _DEFAULTS.drain_seconds,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Parameter(group=_LOGS)
    ] = _DEFAULTS.log_level,
    log_format: Annotated[Literal["auto", "console", "json"], Parameter(group=_LOGS)] = _DEFAULTS.log_format,
    alert_webhook: Annotated[str | None, Parameter(group=_LOGS)] = None,
    alert_command: Annotated[str | None, Parameter(group=_LOGS)] = None,
    report_dir: Annotated[Path | None, Parameter(group=_LOGS)] = None,
    trace_every: Annotated[int, Parameter(group=_LOGS)] = _DEFAULTS.trace_every,
    config: Annotated[Path | None, Parameter(group=_LOGS)] = None,
) -> int:
    """Serve live BTC prices over WebSocket, secure WebSocket and HTTP, until Ctrl-C or SIGTERM.

    Args:
        host: Address of the WebSocket listeners; 0.0.0.0 or :: for every network.
        port: Port of ws; 0 picks a free one.
        tls_port: Port of wss; 0 picks a free one, 'off' leaves it out.
        http_host: Address of the HTTP listener.
        http_port: Port of HTTP (page, metrics, health); 0 picks a free one, 'off' leaves it out.
        workers: Processes that serve clients.
        role: What this process does: take prices in and publish them (ingest), serve clients (edge), or all.
            The parts meet in a Redis that they share.
        source: live, none, simulated, or replay:FILE for recorded venue messages.
        venue: A venue of the live source (repeatable); all by default.
        fallback: What to do while no venue can be reached: nothing, or simulated prices that say so.
        seed: Makes simulated prices repeatable.
        price_interval_ms: Least time between two prices; 0 publishes every change.
        broker: embedded (a private Valkey), memory, redis://..., redis+sentinel://..., redis+cluster://...;
            with rediss for TLS. Also REDIS_URL.
        history_messages: Messages kept of each channel.
        history_seconds: Seconds for which they are kept.
        cert: Certificate of wss: a PEM file or a directory. Also SSL_CERT_PATH. Without it, a development
            certificate is made (see: omega cert).
        key: Its private key, if it is not in the same file or beside it.
        require_token: Let nobody in without a token.
        token_secret: File with the secret of HS256 tokens (see: omega token).
        token_public_key: PEM file with the public key of RS256 or ES256 tokens.
        token_jwks: URL or file with the keys of tokens (JWK set).
        origin: A web origin that browsers may connect from (repeatable), such as https://example.org.
        hostname: A name under which the HTTP side is asked for (repeatable), besides this machine's.
        trusted_proxy: Address or network of a proxy whose X-Forwarded-For is believed (repeatable).
        public_url: Where clients reach the feed, if that is a proxy: wss://prices.example.org/ws
            (repeatable). The page and the AsyncAPI document then name it.
        strict: Close a connection after its first error.
        max_message_size: Bytes of a message from a client.
        outbox_limit: Bytes that may wait for one slow client before it is closed.
        max_connections: Connections at once.
        max_connections_per_address: Connections at once from one address; 100 beyond loopback.
        rate_limit: Messages per second from one client; 100 beyond loopback, 0 for no limit.
        history_rate: Bytes of past messages per second that one client may ask for, on average; 262144 beyond
            loopback, 0 for no limit.
        history_burst: Bytes of them at once, and in one answer at most.
        connection_rate: Connections that one address may ask for, a second, successful or not; this machine
            itself may without limit. 0 for no limit.
        connection_burst: How many of them at once.
        ping_interval: Seconds between two pings to a client.
        pong_timeout: Seconds that a client may take to answer one.
        handshake_timeout: Seconds that a client may take to connect.
        close_timeout: Seconds that clients have to say good-bye when the server stops.
        drain_seconds: Seconds over which clients are sent away, in random order, before the server stops;
            0 sends all away at once. A second signal ends the wait.
        log_level: Least important kind of line to log.
        log_format: For people (console), for machines (json), or whichever suits standard error (auto).
        alert_webhook: URL to POST alerts to, in the format of Prometheus' Alertmanager.
        alert_command: Command to run for each alert; it gets the same JSON on its standard input.
        report_dir: Where omega test has put its reports (its own --report-dir, or folders of several runs in
            it): the page shows the newest. By default 'reports' in the user's state directory.
        trace_every: One price in so many becomes an OpenTelemetry trace, sent to OTEL_EXPORTER_OTLP_ENDPOINT;
            0 for none. Needs omega-btc-ai[otel].
        config: TOML file with a [serve] table of options; read again on SIGHUP.
    """
    given = dict(locals())
    del given["config"]  # read while the options were gathered
    try:
        settings = settings_of(given)
    except SettingsError as error:
        raise UsageError(f"{error}.", "See: omega serve --help") from None
    line_format = choose_format(settings.log_format)
    set_up_logs(settings.log_level, line_format)

    def ready(endpoints: Endpoints) -> None:
        spare_what_stays()
        if line_format == "console":  # otherwise the line "ready" says it
            say_endpoints(settings, endpoints)

    try:
        run(run_feed(settings, ready=ready, read_again=None if config is None else _reader()))
    except PortBusy as error:
        raise UsageError(f"{error.strerror}.", _owners(settings)) from None
    except OSError as error:
        raise UsageError(f"{error.strerror or error}.") from None
    except _EXPECTED as error:
        raise UsageError(f"{str(error).rstrip('.')}.") from None
    return 0


def settings_of(options: dict[str, Any]) -> FeedSettings:
    """The settings that the options say, checked.

    Raises:
        SettingsError: naming the option that is wrong.
    """
    fields = {REPEATABLE.get(name, name): value for name, value in options.items()}
    return FeedSettings(**fields).validate()


def _reader() -> Callable[[], FeedSettings] | None:
    """Reads the file again, command line and environment before it as at the start; raises SettingsError."""
    parse = parse_again()
    if parse is None:
        return None

    def read() -> FeedSettings:
        try:
            options = parse()
        except UsageError as error:
            raise SettingsError(str(error)) from None
        del options["config"]
        return settings_of(options)

    return read


def say_endpoints(settings: FeedSettings, endpoints: Endpoints) -> None:
    """Tell a person what listens where, and how to try it."""
    say(f"OMEGA BTC AI {__version__}")
    say(f"  ws           {endpoints.ws or 'off'}")
    say(f"  wss          {endpoints.wss or 'off'}")
    say(f"  http         {endpoints.http or 'off'}")
    say(f"  prices       {_SOURCES.get(endpoints.source, endpoints.source)}{_fallback(settings)}")
    say(f"  broker       {endpoints.broker}")
    if endpoints.certificate is not None:
        say(f"  certificate  {endpoints.certificate.certificate}")
        if endpoints.certificate.ca is not None:
            say(f"               made for this machine; clients trust {endpoints.certificate.ca}")
    if endpoints.ws is not None:
        say(f"Try it:  {command_line()} watch {endpoints.ws}    or    python -m websockets {endpoints.ws}")
    say("Stop with Ctrl-C.")


_SOURCES = {
    "live": "live, from the venues",
    "none": "none of its own: clients publish",
    "simulated": "SIMULATED: made up, not the market's",
}


def _fallback(settings: FeedSettings) -> str:
    return "; simulated while none can be reached" if settings.fallback == "simulated" else ""


def _owners(settings: FeedSettings) -> str | None:
    """Who has the ports that were asked for, where that can be seen."""
    ports = [port for port in (settings.port, settings.tls_port, settings.http_port) if port]
    held = [f"port {port}: {owner}" for port in ports if (owner := owner_of(port)) is not None]
    return f"Listening now: {', '.join(held)}." if held else None
