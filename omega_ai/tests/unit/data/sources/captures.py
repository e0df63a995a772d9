"""Where the recordings of real exchange messages lie, beside the checkout; they are no part of the
project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_CHECKOUT = Path(__file__).resolve().parents[5]


def capture(name: str) -> Path:
    """The recording called ``name``; the test that asks is skipped where there is none."""
    shared = Path(os.environ.get("OMEGA_SHARED", _CHECKOUT.parent / "shared"))
    path = shared / "captures" / name
    if not path.is_file():
        pytest.skip(f"no recording {name} in {path.parent} (OMEGA_SHARED names another place)")
    return path
