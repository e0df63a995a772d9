"""How a stand-in exchange misbehaves, and when: each kind on demand, or a seeded plan of all of them.

==============  ============================================================================================
``refuse``      connections are dropped, and new ones answered with HTTP 503
``refuse_sub``  connections are dropped, and subscriptions refused
``deaf``        connections are dropped, and subscriptions not answered at all
``silent``      nothing is said any more; the connection stands
``stall``       heartbeats and answers to pings go on, data does not
``jump``        trades happen and are not sent; numbers of messages move on
``double``      every message is sent twice
``garbage``     broken JSON, mutated messages, binary frames and bad UTF-8 among the good ones
``large``       a message of 5 MB
``abort``       connections end without a word (TCP reset)
``close``       connections are closed with 1001
``restart``     all connections end and nobody listens for the time
``clock``       the venue's clock is an hour ahead
``reconnect``   the venue asks for a reconnect (where it has a word for it) and closes a little later
==============  ============================================================================================
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

Kind = Literal[
    "refuse",
    "refuse_sub",
    "deaf",
    "silent",
    "stall",
    "jump",
    "double",
    "garbage",
    "large",
    "abort",
    "close",
    "restart",
    "clock",
    "reconnect",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Fault(Struct, frozen=True):
    """``kind`` from ``start_s`` (seconds after the exchange's start) for ``duration_s``."""

    kind: Kind
    start_s: float
    duration_s: float


class BadFault(ValueError):
    """A fault as it was typed makes no sense; the text says how it is written."""


def parse_fault(text: str) -> Fault:
    """``KIND@START+DURATION``, both in seconds: ``stall@10+5``.

    Raises:
        BadFault: not written so, or an unknown kind.
    """
    kind, at, times = text.partition("@")
    start, plus, duration = times.partition("+")
    known: Kind | None = next((name for name in KINDS if name == kind), None)
    if known is None:
        raise BadFault(f"unknown misbehaviour {kind!r}; there are {', '.join(KINDS)}")
    try:
        fault = Fault(known, float(start), float(duration))
    except ValueError:
        fault = None
    if not at or not plus or fault is None or not 0 <= fault.start_s < 1e9 or not 0 < fault.duration_s < 1e9:
        raise BadFault(f"misbehaviour is written KIND@START+DURATION in seconds, as stall@10+5, not {text!r}")
    return fault


def plan(
    rng: random.Random,
    until_s: float,
    *,
    kinds: Sequence[Kind] = KINDS,
    pause_s: tuple[float, float] = (1.0, 4.0),
    duration_s: tuple[float, float] = (0.5, 3.0),
) -> list[Fault]:
    """Faults one after the other until ``until_s``, every kind as often as the others, in a drawn order."""
    faults: list[Fault] = []
    at = rng.uniform(*pause_s)
    bag: list[Kind] = []
    while at < until_s:
        if not bag:
            bag = rng.sample(list(kinds), len(kinds))
        duration = min(rng.uniform(*duration_s), until_s - at)
        faults.append(Fault(bag.pop(), at, duration))
        at += duration + rng.uniform(*pause_s)
    return faults
