"""Recordings: each format recognised, the raw text kept, damage reported and survived."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from omega_ai.data_feed.sources.base import SourceError
from omega_ai.data_feed.sources.recording import BadLine, Message, Recording

RAW = b'{"channel":"heartbeat","price":61800.10}'
QUOTED = b'"{\\"channel\\":\\"heartbeat\\",\\"price\\":61800.10}"'

FORMATS = {
    "timed": (b"1700000000000000001 " + RAW, 1_700_000_000_000_000_001),
    "tagged": (
        b'{"t":"header"}\n{"t":"recv","ts":1700000000.25,"data":' + QUOTED + b"}",
        1_700_000_000_250_000_000,
    ),
    "framed": (
        b'{"captured_at":"2023-11-14T22:13:20Z"}\n{"rx_ns":5,"dir":"tx","frame":{}}\n{"rx_ns":9,"frame":'
        + RAW
        + b"}",
        1_700_000_000_000_000_004,
    ),
    "wrapped": (b'{"recv_ns":7,"raw":' + QUOTED + b"}", 7),
    "raw": (RAW, None),
}


def recording(directory: Path, content: bytes, *, packed: bool = False) -> Recording:
    path = directory / "recording"
    path.write_bytes(gzip.compress(content) if packed else content)
    return Recording(path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_raw_text_and_its_time(tmp_path, name, packed):
    """Digits included: 61800.10 is not 61800.1."""
    content, received_ns = FORMATS[name]
    read = recording(tmp_path, content + b"\n\n", packed=packed)
    assert read.format == name
    (message,) = read
    assert isinstance(message, Message)
    assert (message.raw, message.received_ns) == (RAW, received_ns)


def test_a_kraken_rest_answer_is_one_message(tmp_path):
    """Indented as it may be."""
    content = b'{\n  "error": [],\n  "result": {"XBTUSDT": []}\n}\n'
    read = recording(tmp_path, content)
    assert read.format == "kraken-rest"
    assert list(read) == [Message(1, content, None)]


@pytest.mark.parametrize("name", ["timed", "tagged", "framed", "wrapped"])
def test_a_damaged_line_is_named_and_the_rest_read(tmp_path, name):
    """With its number; nothing is skipped silently."""
    content, _ = FORMATS[name]
    lines = content.split(b"\n")
    read = list(recording(tmp_path, b"\n".join([*lines, b"{oops", lines[-1], b""])))
    assert [type(item) for item in read] == [Message, BadLine, Message]
    assert read[1].line == len(lines) + 1
    assert read[1].reason


def test_a_file_that_breaks_off_says_so(tmp_path):
    """A gzip file cut in the middle: what was whole comes, then the damage."""
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"\n".join(b"%d " % n + RAW for n in range(50_000)))[:-5_000])
    *whole, last = Recording(path)
    assert len(whole) > 100
    assert isinstance(last, BadLine)
    assert "damaged" in last.reason


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"hello\n", "none of the known formats"),
        (b'{"a":1}\n', "known formats"),
    ],
)
def test_a_file_of_no_use_is_a_clear_error(tmp_path, content, text):
    """Before anything is started."""
    with pytest.raises(SourceError, match=text):
        recording(tmp_path, content)


def test_a_missing_file_and_a_directory_are_clear_errors(tmp_path):
    """With the path in the text."""
    with pytest.raises(SourceError, match="nowhere does not exist"):
        Recording(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="cannot be read"):
        Recording(tmp_path)
