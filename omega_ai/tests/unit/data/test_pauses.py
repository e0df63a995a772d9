"""What stays is not walked over any more."""

from __future__ import annotations

import subprocess
import sys


def test_a_full_collection_after_it_looks_at_next_to_nothing() -> None:
    """In a process of its own: it cannot be undone."""
    code = (
        "import gc, omega_ai.data_feed.feed\n"
        "from omega_ai.data_feed.pauses import spare_what_stays\n"
        "before = len(gc.get_objects())\n"
        "spare_what_stays()\n"
        "print(before, len(gc.get_objects()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    before, after = map(int, done.stdout.split())
    assert before > 10_000
    assert after < before / 100
