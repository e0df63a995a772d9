"""Garbage collection without long pauses, for processes that are a feed and nothing else."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 50_000
"""Allocations between two looks at the youngest objects. Messages are no cycles: they go without it."""


def spare_what_stays() -> None:
    """Once all is loaded and listening: never look at it again when collecting garbage.

    A full collection walks over every object there is, some 60,000 after the start, and everything waits for
    it: tens of milliseconds in which no price goes out. What was made until now stays for the life of the
    process, so there is nothing to find in it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
