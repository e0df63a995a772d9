"""Inputs made of right ones: cut, flipped, spliced, repeated. The same seed makes the same inputs.

Without a view of what the code does with them; ``coverage.py`` has that, where atheris is installed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

LARGEST = 8192
"""Bytes of an input."""

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def inputs(seeds: Sequence[bytes], words: Sequence[bytes], rng: random.Random) -> Iterator[bytes]:
    """Without end; the seeds themselves come first."""
    kept = list(seeds)
    yield from kept
    while True:
        made = bytearray(rng.choice(kept))
        for _ in range(1 + int(rng.expovariate(0.5))):
            _mutate(made, kept, words, rng)
        result = bytes(made[:LARGEST])
        yield result
        if rng.random() < 0.02:
            # Some become what later ones are made of: mutations then pile up.
            if len(kept) < 4 * len(seeds) + 64:
                kept.append(result)
            else:
                kept[rng.randrange(len(seeds), len(kept))] = result


def _mutate(made: bytearray, kept: Sequence[bytes], words: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randint(0, len(made))
    to = min(len(made), at + int(rng.expovariate(0.15)))
    action = rng.randrange(8)
    if action == 0 and at < len(made):
        made[at] ^= 1 << rng.randrange(8)
    elif action == 1 and at < len(made):
        made[at] = rng.choice(INTERESTING)
    elif action == 2:
        del made[at:to]
    elif action == 3:
        made[at:at] = made[at:to] * rng.choice((1, 1, 2, 40))
    elif action == 4 and words:
        made[at:at] = rng.choice(words)
    elif action == 5 and words:
        made[at:to] = rng.choice(words)
    elif action == 6:
        other = rng.choice(kept)
        cut = rng.randint(0, len(other))
        made[at:to] = other[cut : cut + 1 + int(rng.expovariate(0.02))]
    else:
        made[at:to] = rng.randbytes(to - at)
