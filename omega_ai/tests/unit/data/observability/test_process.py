"""What a process costs."""

from __future__ import annotations

import mmap
import os
import sys
import time
from pathlib import Path

import pytest

from omega_ai.data_feed.observability.process import read_process


def test_cpu_time_grows_with_work() -> None:
    """In seconds, and it never falls."""
    before = read_process().cpu_seconds
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert 0.04 < read_process().cpu_seconds - before < 5


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_start_and_descriptors_are_those_of_this_process() -> None:
    """A block of memory and a file show; the start lies in the past."""
    before = read_process()
    with mmap.mmap(-1, 20_000_000) as block:  # never of what the process has already
        for place in range(0, len(block), mmap.PAGESIZE):
            block[place] = 1
        with Path(os.devnull).open():
            after = read_process()
    assert before.resident_bytes is not None
    assert after.resident_bytes is not None
    assert after.resident_bytes - before.resident_bytes > 15_000_000
    assert before.start_time is not None
    assert before.start_time < time.time()
    assert time.time() - before.start_time < 86_400
    if before.open_fds is not None:  # Linux before 6.2 does not say
        assert after.open_fds == before.open_fds + 1
    assert before.max_fds is None or before.max_fds > 0
