"""What a parent and its workers say to each other: a line of JSON each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from omega_ai.data_feed.observability.snapshot import Snapshot
from omega_ai.data_feed.settings import FeedSettings


class Start(Struct, frozen=True):
    """The first line: what to serve."""

    settings: FeedSettings


class Command(Struct, frozen=True):
    """A later line. ``retire`` closes clients over ``seconds`` with 1012 and ends the process.

    ``reload`` reads the certificate again; with ``settings``, it takes what is reloadable of them instead.
    """

    do: Literal["snapshot", "reload", "retire"]
    seconds: float = 0.0
    settings: FeedSettings | None = None


class Answer(Struct, frozen=True, omit_defaults=True):
    """A line to the parent: ready, a reading, or why it cannot start."""

    ready: bool = False
    snapshot: Snapshot | None = None
    error: str | None = None


def encode_line(message: Start | Command | Answer) -> bytes:
    """A line of JSON."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def _path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)


decode_start = msgspec.json.Decoder(Start, dec_hook=_path).decode
decode_command = msgspec.json.Decoder(Command, dec_hook=_path).decode
decode_answer = msgspec.json.Decoder(Answer).decode
