"""Log lines, as a process writes them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, sys
import structlog
from omega_ai.data_feed.observability.logs import choose_format, set_up_logs

set_up_logs(sys.argv[2], choose_format(sys.argv[1]))
log = structlog.get_logger("test")
log.debug("fine")
log.info("ready", ws="ws://localhost:1")
logging.getLogger("library").info("chatter")
try:
    raise ValueError("broken")
except ValueError:
    logging.getLogger("library").exception("it failed")
"""


def lines(wanted: str, level: str = "info") -> list[str]:
    """What such a process writes to standard error, which is no terminal; standard output stays clean."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, wanted, level], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("wanted", ["json", "auto"])
def test_machines_get_one_object_a_line(wanted: str) -> None:
    """Ours and those of libraries, with level and time; an exception stays in its line."""
    ready, failed = (json.loads(line) for line in lines(wanted))
    assert (ready["event"], ready["level"], ready["ws"]) == ("ready", "info", "ws://localhost:1")
    assert ready["timestamp"].endswith("Z")
    assert (failed["event"], failed["level"]) == ("it failed", "error")
    assert failed["exception"][0]["exc_value"] == "broken"


def test_people_get_text_without_colour_where_there_is_no_terminal() -> None:
    """No escape sequences in a file."""
    text = "\n".join(lines("console"))
    assert "ready" in text
    assert "ValueError: broken" in text
    assert "\x1b" not in text


def test_level_decides_what_is_written() -> None:
    """``debug`` shows our fine lines, but not the chatter of libraries."""
    assert [json.loads(line)["event"] for line in lines("json", "debug")] == ["fine", "ready", "it failed"]
    assert [json.loads(line)["event"] for line in lines("json", "error")] == ["it failed"]
