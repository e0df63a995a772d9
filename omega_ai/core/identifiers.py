"""Identifiers: short, unguessable where it matters, made from a source of randomness that is handed in."""

from __future__ import annotations

import random
import secrets

_ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"  # no 0/o, 1/l: people read these aloud from logs


def new_epoch(rng: random.Random | None = None) -> str:
    """Name one unbroken life of a channel's history: 8 characters, 40 bits, unlike any before it.

    ``rng`` makes it repeatable in tests and simulation; without it, the system's randomness is used.
    """
    return _token(8, rng)


def new_connection_id(rng: random.Random | None = None) -> str:
    """Name a connection in logs and errors: ``c-`` and 10 characters."""
    return "c-" + _token(10, rng)


def _token(length: int, rng: random.Random | None) -> str:
    # The alphabet has 32 letters: five bits each, all from one look at the source.
    bits = secrets.randbits(5 * length) if rng is None else rng.getrandbits(5 * length)
    return "".join([_ALPHABET[bits >> shift & 31] for shift in range(0, 5 * length, 5)])
