"""Log lines: for people on a terminal, one JSON object a line for machines; times in UTC.

What goes into a line is bounded: no token, no password, no whole payload, and from any one kind of line only
so many a minute, so that neither an attack nor a broken venue can fill a disk or hold up the event loop.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from omega_ai.core.clock import Clock, SystemClock

Format = Literal["console", "json"]

LINES_PER_MINUTE = 60
"""Of one kind (one event name), before the rest of the minute is only counted."""

KINDS_AT_MOST = 1000
"""Kinds that are counted apart; more than these share one count."""

VALUE_LENGTH = 500
"""Characters of a value that are kept."""

_SECRET_NAMES = re.compile(
    r"token|secret|password|passwd|authorization|cookie|credential|private", re.IGNORECASE
)
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^\s/@:]*:)[^\s/@]+(?=@)", re.IGNORECASE)
_QUERY_SECRET = re.compile(r"(?P<head>[?&](?:access_)?token=)[^&\s]+", re.IGNORECASE)
_JWT = re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*)*")  # also one that was cut off
_BEARER = re.compile(r"(?P<head>\bBearer\s+)\S+", re.IGNORECASE)
HIDDEN = "***"

LIBRARIES = {
    "aiohttp.access": logging.WARNING,
    "aiohttp.server": logging.ERROR,  # every malformed request of a port scanner
    "aiohttp.client": logging.WARNING,
    "asyncio": logging.WARNING,
    "websockets": logging.WARNING,
    "redis": logging.WARNING,
}


class _Lines(structlog.BoundLoggerBase):
    """Every logger, once it is in use. What it does with a line of each level is up to ``set_level``."""


def choose_format(wanted: Literal["auto", "console", "json"], stream: TextIO | None = None) -> Format:
    """``auto`` is for people where the lines go to a terminal, and for machines where they do not."""
    if wanted == "auto":
        return "console" if (stream or sys.stderr).isatty() else "json"
    return wanted


def set_up_logs(
    level: str,
    line_format: Format,
    *,
    stream: TextIO | None = None,
    clock: Clock | None = None,
    per_minute: int = LINES_PER_MINUTE,
    for_good: bool = True,
) -> None:
    """Send every line of ours, and of the libraries that use ``logging``, to ``stream`` in one format.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``: the least important kind of line that is kept.
        line_format: from ``choose_format``.
        stream: standard error by default.
        clock: for the limit a minute.
        per_minute: lines of one kind.
        for_good: False lets this be called again with other arguments, at the cost of slower lines.
    """
    out = stream or sys.stderr
    limit = RateLimit(clock or SystemClock(), per_minute)
    shared: list[Processor] = [
        limit,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor]
    if line_format == "json":
        rendering = [
            # Without locals: one of them could be a token.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            hide_secrets,
            structlog.processors.JSONRenderer(),
        ]
    else:
        plain = structlog.dev.plain_traceback
        rendering = [
            structlog.processors.format_exc_info,  # before the secrets are hidden, since it may hold some
            hide_secrets,
            structlog.dev.ConsoleRenderer(colors=out.isatty(), pad_event_to=0, exception_formatter=plain),
        ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, *rendering],
        wrapper_class=_Lines,
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=for_good,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(limit.allows_record)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared[1:],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    # A library's chatter is worth less than our own lines.
    logging.basicConfig(handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """Keep lines from ``level`` on, also those of loggers that are in use already."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for name, method in vars(structlog.make_filtering_bound_logger(number)).items():
        if not name.startswith("__"):
            setattr(_Lines, name, method)
    logging.getLogger().setLevel(max(number, logging.WARNING))
    for name, least in LIBRARIES.items():
        logging.getLogger(name).setLevel(max(number, least))


class RateLimit:
    """A structlog processor: lets ``per_minute`` lines of one kind pass, counts the others, says how many.

    The count is told with the kind's next line that passes, as ``suppressed``; nothing is lost without a
    trace while its kind still occurs.
    """

    def __init__(self, clock: Clock, per_minute: int = LINES_PER_MINUTE) -> None:
        if per_minute < 1:
            raise ValueError(f"per_minute must be 1 or more, not {per_minute}")
        self._clock = clock
        self._per_minute = per_minute
        self._kinds: dict[str, _Count] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Raises ``structlog.DropEvent`` for a line too many."""
        suppressed = self._pass(str(event.get("event", "")))
        if suppressed is None:
            raise structlog.DropEvent
        if suppressed:
            event["suppressed"] = suppressed
        return event

    def allows_record(self, record: logging.LogRecord) -> bool:
        """The same for a library's line, by its unformatted text."""
        suppressed = self._pass(f"{record.name}:{record.msg}")
        if suppressed:
            record.msg = f"{record.msg} ({suppressed} more like this were left out)"
        return suppressed is not None

    def _pass(self, kind: str) -> int | None:
        """None: one too many. Otherwise how many were left out since the last that passed."""
        now = self._clock.monotonic()
        count = self._kinds.get(kind)
        if count is None:
            if len(self._kinds) >= KINDS_AT_MOST:
                kind = "(others)"
            count = self._kinds.setdefault(kind, _Count(now))
        if now - count.since >= 60.0:
            count.since, count.passed = now, 0
        if count.passed >= self._per_minute:
            count.suppressed += 1
            return None
        count.passed += 1
        suppressed, count.suppressed = count.suppressed, 0
        return suppressed


class _Count:
    __slots__ = ("passed", "since", "suppressed")

    def __init__(self, since: float) -> None:
        self.since = since
        self.passed = 0
        self.suppressed = 0


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: replaces what looks like a secret, cuts what is long, and shows no bytes."""
    for name, value in event.items():
        event[name] = _safe(name, value, 0)
    return event


def _safe(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_NAMES.search(name):
        return HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    if depth < 4:
        if isinstance(value, Mapping):
            return {str(key): _safe(str(key), each, depth + 1) for key, each in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_safe(name, each, depth + 1) for each in list(value)[:100]]
    # A traceback is long by nature, and has no values in it.
    length = 20_000 if name == "exception" else VALUE_LENGTH
    text = scrub(str(value))
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def scrub(text: str) -> str:
    """``text`` without the secrets that can be told by their form: passwords in addresses, tokens."""
    if "://" in text:
        text = _URL_PASSWORD.sub(rf"\g<head>{HIDDEN}", text)
    text = _QUERY_SECRET.sub(rf"\g<head>{HIDDEN}", text)
    text = _BEARER.sub(rf"\g<head>{HIDDEN}", text)
    return _JWT.sub(HIDDEN, text)
