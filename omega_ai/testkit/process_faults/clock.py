"""A wrong clock: for a command that is started with it, where ``libfaketime`` is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

PLACES: Final = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
)


def find_library() -> Path | None:
    """Where libfaketime is; None: it is not installed (Debian: ``apt-get install faketime``)."""
    return next((Path(place) for place in PLACES if Path(place).exists()), None)


def skewed_environment(seconds: float, environment: Mapping[str, str]) -> dict[str, str] | None:
    """``environment`` for a command whose UTC clock is to be ``seconds`` ahead (or behind, if negative).

    Its monotonic clock stays right. None: it cannot be had here, since libfaketime is not installed.
    """
    library = find_library()
    if library is None:
        return None
    before = environment.get("LD_PRELOAD")
    return {
        **environment,
        "LD_PRELOAD": str(library) if not before else f"{library}:{before}",
        "FAKETIME": f"{seconds:+g}s",
        "DONT_FAKE_MONOTONIC": "1",
    }
