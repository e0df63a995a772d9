"""One benchmark session: which contenders there are, and how runs of them are alternated."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from benchmarks.server.contenders import CONTENDERS, Contender, Mode, missing
from benchmarks.server.processes import Failed, LoadClient, Place, Server, VenueProbe
from benchmarks.server.results import Result
from benchmarks.server.workshop import Workshop

DISTURBED = 0.1
"""Share of the time in which server or client had work that it may have waited for its core."""

QUICK = ("omega", "engine", "floor", "websockets", "bun")


class Bench:
    """See the module's text. ``step(text)`` is told of each run.

    ``rounds`` runs of each contender are taken, ``seconds`` long each.
    """

    def __init__(
        self,
        workshop: Workshop,
        *,
        cores: tuple[int, int],
        nice: int,
        rounds: int,
        seconds: float,
        quick: bool,
        descriptors: int,
        only: Sequence[str] | None,
        step: Callable[[str], None],
    ) -> None:
        self.workshop = workshop
        self._client_place = Place(cores[1], nice)
        self.load = LoadClient(workshop, self._client_place)
        self.rounds = rounds
        self.seconds = seconds
        self.quick = quick
        self.descriptors = descriptors
        self.step = step
        self.skipped: dict[str, str] = {}
        self.repeats = 0
        """Disturbed runs that may be taken again in the case under way: one round's worth."""
        self._place = Place(cores[0], nice)
        self._only = only
        self._padding: dict[bool, int] = {}
        for contender in CONTENDERS.values():
            why = missing(contender, workshop)
            if why is not None:
                self.skipped[contender.label] = why

    def contenders(self, names: Sequence[str], mode: Mode = "plain") -> list[Contender]:
        """Those of ``names`` that are wanted, can be had, and know ``mode``."""
        wanted = self._only or (QUICK if self.quick else tuple(CONTENDERS))
        chosen = [CONTENDERS[name] for name in names if name in wanted]
        return [c for c in chosen if mode in c.modes and c.label not in self.skipped]

    @contextlib.contextmanager
    def server(
        self, contender: Contender, mode: Mode = "plain", environment: Mapping[str, str] | None = None
    ) -> Iterator[Server]:
        """A server of its own, pinned to the server's core."""
        with Server(contender, self.workshop, mode, self._place, environment) as server:
            yield server

    def venue(self) -> VenueProbe:
        """The stand-in venue, pinned to the client's core."""
        return VenueProbe(self._client_place, self.seconds)

    def alternate(
        self,
        result: Result,
        contenders: Sequence[Contender],
        run: Callable[[Server], dict[str, Any]],
        *,
        mode: Mode = "plain",
        rounds: int | None = None,
    ) -> None:
        """Start all servers, then run each once a round, in an order that turns; keep what ``run`` says."""
        with ExitStack() as stack:
            servers = {}
            for contender in contenders:
                result.samples[contender.name] = []
                try:
                    servers[contender.name] = stack.enter_context(self.server(contender, mode))
                except Failed as failure:
                    result.notes[contender.name] = str(failure)
            self.repeats = 0 if self.quick else len(servers)
            order = list(servers)
            for number in range(rounds or self.rounds):
                turned = order[number % len(order) :] + order[: number % len(order)]
                for name in turned:
                    self.step(f"{result.title}: {CONTENDERS[name].label}, round {number + 1}")
                    result.samples[name].append(self.attempt(result, name, partial(run, servers[name])))

    def attempt(self, result: Result, row: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """What ``run`` measured; None, and a note, if it failed.

        A run in which server or client waited for its core too long is taken again while the case has
        repeats left, and the less disturbed of the two counts.
        """
        try:
            sample = run()
            if _disturbed(sample) > DISTURBED and self.repeats > 0:
                self.repeats -= 1
                sample = min(sample, run(), key=_disturbed)
        except Failed as failure:
            result.notes[row] = str(failure)
            return None
        return sample

    def padding(self, contender: Contender, payload: int) -> int:
        """Letters to add so that ``contender`` delivers ``payload`` bytes, found by sending one plain."""
        own = contender.name == "omega"
        if own not in self._padding:
            with self.server(contender) as server:
                measured = self.load.run(
                    server, mode="fanout", clients=2, rate=10, seconds=0.2, payload=payload
                )
            self._padding[own] = int(measured["pad"])
        return self._padding[own]


def _disturbed(sample: dict[str, Any]) -> float:
    shares = [0.0]
    for side in ("server", "client"):
        waited = float(sample.get(f"{side}_waited", 0))
        if waited:
            shares.append(waited / (waited + float(sample.get(f"{side}_busy", 0))))
    return max(shares)
