"""Log lines on standard error: for people on a terminal, one JSON object a line for machines."""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

Format = Literal["console", "json"]


def choose_format(wanted: Literal["auto", "console", "json"]) -> Format:
    """``auto`` is for people where standard error is a terminal, and for machines where it is not."""
    if wanted == "auto":
        return "console" if sys.stderr.isatty() else "json"
    return wanted


def set_up_logs(level: str, line_format: Format) -> None:
    """Send every line of ours, and of the libraries that use ``logging``, to standard error in one format."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    rendering: list[Processor]
    if line_format == "json":
        rendering = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    # A library's chatter is worth less than our own lines.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
