"""Recorded venue messages, read from a file: the raw text of each, and when it was received.

Formats, told apart by their first lines, plain or gzip:

- ``<recv_ns> <raw json>`` (recorder time in nanoseconds, a space, the message);
- ``{"t":"recv","ts":<unix seconds>,"data":"<raw json>"}`` among ``header``, ``http``, ``connect`` and
``send``;
- ``{"rx_ns":<monotonic ns>,"frame":<raw json>}`` after a header line with ``captured_at``; ``"dir":"tx"`` was
sent;
- ``{"recv_ns":<ns or null>,"raw":"<raw json>"}``;
- the raw message alone, a line each: it has no receive time;
- one JSON document as Kraken's ``/0/public/Trades`` answers it.

The message's text is kept as it was received: digits are not re-written.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Literal, cast

import msgspec
from msgspec import Struct

from omega_ai.core.timestamps import parse_utc
from omega_ai.data_feed.exchanges.detect import venue_of
from omega_ai.data_feed.sources.base import SourceError

Format = Literal["timed", "tagged", "framed", "wrapped", "raw", "kraken-rest"]

_LINE_LIMIT = 32 << 20  # Coinbase's level2 snapshot is 5 MB
_DOCUMENT_LIMIT = 256 << 20
_LOOK_AT = 50


class Message(Struct, frozen=True):
    """One recorded message. ``received_ns`` is None where the format keeps no receive time."""

    line: int
    raw: bytes
    received_ns: int | None


class BadLine(Struct, frozen=True):
    """A line that is not what the file's format says. ``line`` counts from 1."""

    line: int
    reason: str


class _Tagged(Struct):
    t: str
    ts: float | None = None
    data: str | None = None


class _Framed(Struct):
    frame: msgspec.Raw
    rx_ns: int
    dir: str = "rx"


class _FramedHeader(Struct):
    captured_at: str


class _Wrapped(Struct):
    raw: str
    recv_ns: int | None


class _KrakenRest(Struct):
    error: list[str]
    result: dict[str, msgspec.Raw]


_decode_tagged = msgspec.json.Decoder(_Tagged).decode
_decode_framed = msgspec.json.Decoder(_Framed).decode
_decode_header = msgspec.json.Decoder(_FramedHeader).decode
_decode_wrapped = msgspec.json.Decoder(_Wrapped).decode
_decode_rest = msgspec.json.Decoder(_KrakenRest).decode

_DECODE_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


class Recording:
    """A file of recorded messages whose format was recognised.

    Raises:
        SourceError: no such file, not readable, empty, or of no known format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.format: Format = self._recognise()

    def __iter__(self) -> Iterator[Message | BadLine]:
        """Read from the beginning. Every line is either a message, or of no interest, or a ``BadLine``."""
        if self.format == "kraken-rest":
            with self._open() as file:
                yield Message(1, file.read(_DOCUMENT_LIMIT), None)
            return
        read = _READERS[self.format]()
        for number, line in self._lines():
            if isinstance(line, BadLine):
                yield line
                continue
            try:
                found = read(line)
            except _DECODE_ERRORS as error:
                yield BadLine(number, str(error)[:200])
                continue
            if found is not None:
                yield Message(number, *found)

    def _recognise(self) -> Format:
        lines: list[bytes] = []
        for _, line in self._lines():
            if isinstance(line, bytes):
                lines.append(line)
            if len(lines) == _LOOK_AT:
                break
        if not lines:
            raise SourceError(f"recording {self.path} is empty; give a file of recorded exchange messages")
        for line in lines:
            if (known := _format_of(line)) is not None:
                return known
        if lines[0].lstrip()[:1] == b"{":
            with self._open() as file:
                try:
                    _decode_rest(file.read(_DOCUMENT_LIMIT))
                except _DECODE_ERRORS:
                    pass
                else:
                    return "kraken-rest"
        raise SourceError(
            f"recording {self.path} has none of the known formats in its first {len(lines)} lines; "
            f"it begins {lines[0][:60]!r}"
        )

    def _open(self) -> IO[bytes]:
        try:
            with self.path.open("rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
            return cast("IO[bytes]", gzip.open(self.path, "rb")) if packed else self.path.open("rb")
        except FileNotFoundError:
            raise SourceError(f"recording {self.path} does not exist") from None
        except OSError as error:
            raise SourceError(f"recording {self.path} cannot be read: {error.strerror or error}") from error

    def _lines(self) -> Iterator[tuple[int, bytes | BadLine]]:
        """Lines that are not blank, with their numbers; a file that breaks off ends in a ``BadLine``."""
        number = 0
        with self._open() as file:
            try:
                while line := file.readline(_LINE_LIMIT):
                    number += 1
                    if len(line) == _LINE_LIMIT and not line.endswith(b"\n"):
                        while (rest := file.readline(_LINE_LIMIT)) and not rest.endswith(b"\n"):
                            pass
                        yield number, BadLine(number, f"line longer than {_LINE_LIMIT} bytes")
                    elif line := line.strip():
                        yield number, line
            except (EOFError, OSError, zlib.error) as error:
                yield number + 1, BadLine(number + 1, f"the file is damaged from here: {error}")


def _format_of(line: bytes) -> Format | None:
    head, _, rest = line.partition(b" ")
    if head.isdigit() and rest[:1] == b"{":
        return "timed"
    attempts: tuple[tuple[Callable[[bytes], object], Format], ...] = (
        (_decode_header, "framed"),
        (_decode_framed, "framed"),
        (_decode_wrapped, "wrapped"),
    )
    for decode, name in attempts:
        try:
            decode(line)
        except _DECODE_ERRORS:
            continue
        return name
    try:
        if _decode_tagged(line).t in ("header", "http", "connect", "send", "recv"):
            return "tagged"
    except _DECODE_ERRORS:
        pass
    return "raw" if venue_of(line) is not None else None


_Found = tuple[bytes, int | None] | None
_Reader = Callable[[bytes], _Found]


def _timed() -> _Reader:
    def read(line: bytes) -> _Found:
        head, separator, raw = line.partition(b" ")
        if not separator or not head.isdigit() or len(head) > 20:
            raise ValueError("no receive time in nanoseconds before the message")
        return raw, int(head)

    return read


def _tagged() -> _Reader:
    def read(line: bytes) -> _Found:
        entry = _decode_tagged(line)
        if entry.t != "recv":
            return None
        if entry.data is None or entry.ts is None:
            raise ValueError("a received message without data or ts")
        return entry.data.encode(), round(entry.ts * 1e6) * 1000

    return read


def _framed() -> _Reader:
    began_ns: int | None = None
    offset_ns: int | None = None

    def read(line: bytes) -> _Found:
        nonlocal began_ns, offset_ns
        if began_ns is None and b'"rx_ns"' not in line[:200]:
            began_ns = parse_utc(_decode_header(line).captured_at)
            return None
        entry = _decode_framed(line)
        if offset_ns is None:  # the recorder's clock has an arbitrary start: anchor it at the header's time
            offset_ns = (began_ns if began_ns is not None else 0) - entry.rx_ns
        if entry.dir == "tx":
            return None
        return bytes(entry.frame), entry.rx_ns + offset_ns

    return read


def _wrapped() -> _Reader:
    def read(line: bytes) -> _Found:
        entry = _decode_wrapped(line)
        return entry.raw.encode(), entry.recv_ns

    return read


def _raw() -> _Reader:
    def read(line: bytes) -> _Found:
        return line, None

    return read


_READERS: dict[Format, Callable[[], _Reader]] = {
    "timed": _timed,
    "tagged": _tagged,
    "framed": _framed,
    "wrapped": _wrapped,
    "raw": _raw,
}
