"""The stages of a connection in a row, for each direction: all that a driver needs.

A driver (proxy or simnet) makes one ``Faults`` for a proxied service, and for each connection asks
``opening`` and then ``circuit``. For each direction it feeds what it reads into ``Chain.feed`` or
``Chain.finish``, hands on what comes back, calls ``Chain.tick`` at ``Chain.next_wake``, and does not read
while ``Chain.full``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from omega_ai.testkit.faults.model import (
    STREAMS,
    BadFault,
    Context,
    Item,
    Opening,
    OpeningFault,
    Signal,
    Stage,
    Stream,
    StreamFault,
    Toxic,
    random_for,
)

CLOSE_ENOUGH: Final = 1e-9
"""Seconds by which a driver's clock may round: a wake so near counts as reached."""


class Faults:
    """The toxics of one service: the order in which they were added is the order in which bytes meet them.

    ``origin`` is the driver's time from which windows count. Changes reach the connections that are open: the
    driver calls ``Circuit.refresh`` on each of them after any.
    """

    def __init__(self, *, seed: int = 0, origin: float = 0.0) -> None:
        self.seed = seed
        self.origin = origin
        self._toxics: dict[str, Toxic] = {}
        self._memory: dict[str, dict[str, Any]] = {}

    @property
    def toxics(self) -> Sequence[Toxic]:
        """All of them, in order."""
        return tuple(self._toxics.values())

    def get(self, name: str) -> Toxic | None:
        """The toxic of that name."""
        return self._toxics.get(name)

    def add(self, toxic: Toxic) -> None:
        """Add one at the end.

        Raises:
            BadFault: the name is taken.
        """
        if toxic.name in self._toxics:
            raise BadFault(f"there is a toxic {toxic.name!r} already: give another name, or update that one")
        self._toxics[toxic.name] = toxic
        self._memory[toxic.name] = {}

    def update(self, toxic: Toxic) -> None:
        """Put ``toxic`` in the place of the one of its name, which must exist."""
        if toxic.name not in self._toxics:
            raise BadFault(f"there is no toxic {toxic.name!r}")
        self._toxics[toxic.name] = toxic
        self._memory[toxic.name] = {}

    def remove(self, name: str) -> None:
        """Take one away.

        Raises:
            BadFault: there is none of that name.
        """
        if self._toxics.pop(name, None) is None:
            raise BadFault(f"there is no toxic {name!r}")
        del self._memory[name]

    def clear(self) -> None:
        """Take all away."""
        self._toxics.clear()
        self._memory.clear()

    def opening(self, connection: int, now: float) -> Opening:
        """What becomes of the new connection of that number."""
        opening = Opening()
        for toxic in self._toxics.values():
            if isinstance(toxic.fault, OpeningFault) and working(toxic, now - self.origin):
                context = self.context(toxic, toxic.stream, connection, now, {})
                if self.draw(toxic.name, connection) < toxic.toxicity:
                    opening = opening.joined(toxic.fault.decide(context))
        return opening

    def circuit(self, connection: int, now: float) -> Circuit:
        """The chains of the new connection of that number, counted from 0."""
        return Circuit(self, connection, now)

    def draw(self, name: str, connection: int) -> float:
        """The connection's lot for the toxic of that name: it works if this is below its toxicity."""
        return random_for(self.seed, connection, name, "share").random()

    def context(
        self,
        toxic: Toxic,
        stream: Stream,
        connection: int,
        now: float,
        memory: dict[str, Any],
        fresh: bool = True,
    ) -> Context:
        """What a stage of the toxic may know."""
        return Context(
            stream=stream,
            placed=toxic.stream,
            connection=connection,
            now=now,
            rng=random_for(self.seed, connection, toxic.name, stream),
            connection_memory=memory,
            toxic_memory=self._memory[toxic.name],
            fresh=fresh,
        )


def working(toxic: Toxic, since: float) -> bool:
    """Whether the toxic's window is open, ``since`` seconds after the origin."""
    return toxic.window is None or toxic.window.active(since)


class Circuit:
    """Both directions of one connection."""

    def __init__(self, faults: Faults, connection: int, now: float) -> None:
        self.faults = faults
        self.connection = connection
        self._memory: dict[str, tuple[Toxic, dict[str, Any]]] = {}
        self._lots: dict[str, float] = {}
        self.upstream = Chain(self, "upstream")
        self.downstream = Chain(self, "downstream")
        for stream in STREAMS:
            self.chain(stream).refresh(now)

    def chain(self, stream: Stream) -> Chain:
        """The chain of one direction."""
        return self.upstream if stream == "upstream" else self.downstream

    def refresh(self, now: float) -> dict[Stream, list[Item]]:
        """The service's toxics have changed: what this makes each direction hand on."""
        return {stream: self.chain(stream).refresh(now) for stream in STREAMS}

    def hit(self, toxic: Toxic) -> bool:
        """Whether the connection is of the share that the toxic works on."""
        lot = self._lots.get(toxic.name)
        if lot is None:
            lot = self._lots[toxic.name] = self.faults.draw(toxic.name, self.connection)
        return lot < toxic.toxicity

    def memory(self, toxic: Toxic) -> dict[str, Any]:
        """What the toxic's stages in both directions have in common; empty when the toxic is new."""
        known = self._memory.get(toxic.name)
        if known is None or known[0] is not toxic:
            known = self._memory[toxic.name] = (toxic, {})
        return known[1]


class _Place:
    """A toxic's place in a chain; ``stage`` is None while its window is closed."""

    __slots__ = ("stage", "toxic")

    def __init__(self, toxic: Toxic) -> None:
        self.toxic = toxic
        self.stage: Stage | None = None


class Chain:
    """The stages of one direction of one connection."""

    def __init__(self, circuit: Circuit, stream: Stream) -> None:
        self._circuit = circuit
        self.stream = stream
        self._places: list[_Place] = []
        self.done: Signal | None = None
        """The signal that ended this direction; what is fed afterwards is dropped."""
        self.begun = False
        """Whether bytes have passed. A driver that passes them beside the chain while it is ``idle`` sets
        this."""
        self._now = -math.inf
        self._since = -math.inf
        self._edge: tuple[float, float] | None = None
        """When a window begins or ends next: by the driver's time, and since the origin."""

    @property
    def idle(self) -> bool:
        """Whether no stage is at work, so that bytes may as well pass beside the chain."""
        return self.done is None and all(place.stage is None for place in self._places)

    @property
    def held(self) -> int:
        """Bytes that the stages keep."""
        return sum(stage.held for stage in self._stages())

    @property
    def full(self) -> bool:
        """Whether the sender should not be read from for now."""
        return self.done is None and any(stage.full for stage in self._stages())

    def feed(self, data: bytes, now: float) -> list[Item]:
        """Bytes came from the sender (not empty): what to hand on to the receiver."""
        self.begun = True
        return self._run(0, (data,), self._at(now))

    def finish(self, signal: Signal, now: float) -> list[Item]:
        """The sender ended (``END``), or was reset (``RESET``)."""
        return self._run(0, (signal,), self._at(now))

    def tick(self, now: float) -> list[Item]:
        """Time has passed."""
        now = self._at(now)
        if self._edge is not None and self._edge[0] <= now + CLOSE_ENOUGH:
            return self.refresh(now)
        out: list[Item] = []
        # The last stage first: what an earlier one lets go now must come behind what a later one lets go now.
        for index in range(len(self._places) - 1, -1, -1):
            stage = self._places[index].stage
            if stage is not None and self.done is None:
                wake = stage.next_wake()
                if wake is not None and wake <= now + CLOSE_ENOUGH:
                    now = self._at(wake)
                    out += self._run(index + 1, stage.tick(now), now)
        return out

    def next_wake(self) -> float | None:
        """When ``tick`` must be called; None: not before something else happens."""
        if self.done is not None:
            return None
        wakes = [stage.next_wake() for stage in self._stages()]
        if self._edge is not None:
            wakes.append(self._edge[0])
        return min((wake for wake in wakes if wake is not None), default=None)

    def refresh(self, now: float) -> list[Item]:
        """Bring the stages in line with the service's toxics and their windows; what this makes us hand
        on."""
        now = self._at(now)
        since = max(now - self._circuit.faults.origin, self._since)
        if self._edge is not None and self._edge[0] <= now + CLOSE_ENOUGH:
            since = max(since, self._edge[1])
        self._since = since
        wanted = self._wanted()
        out: list[Item] = []
        for index in range(len(self._places) - 1, -1, -1):
            place = self._places[index]
            toxic = wanted.get(place.toxic.name)
            if toxic is None:
                out += self._stop(index, now, removed=True)
                del self._places[index]
            elif toxic is not place.toxic:
                out += self._replace(index, toxic, now, working(toxic, since))
        known = {place.toxic.name for place in self._places}
        self._places += [_Place(toxic) for name, toxic in wanted.items() if name not in known]
        for index, place in enumerate(self._places):
            if working(place.toxic, since):
                place.stage = place.stage or self._new_stage(place.toxic, now)
            elif place.stage is not None:
                out += self._stop(index, now, removed=False)
        self._edge = self._next_edge(since)
        return out

    def _at(self, now: float) -> float:
        """The time, which for stages never goes back, although a tick may have come a rounding too early."""
        self._now = max(self._now, now)
        return self._now

    def _stages(self) -> list[Stage]:
        return [place.stage for place in self._places if place.stage is not None]

    def _wanted(self) -> dict[str, Toxic]:
        return {
            toxic.name: toxic
            for toxic in self._circuit.faults.toxics
            if isinstance(toxic.fault, StreamFault)
            and (toxic.stream == self.stream or toxic.fault.both)
            and self._circuit.hit(toxic)
        }

    def _replace(self, index: int, toxic: Toxic, now: float, stays: bool) -> list[Item]:
        place = self._places[index]
        fault = _stream_fault(toxic)
        if place.stage is not None and stays and type(fault) is type(place.toxic.fault):
            follower = fault.update(place.stage, self._context(toxic, now))
            if follower is not None:
                place.toxic, place.stage = toxic, follower
                return []
        out = self._stop(index, now, removed=False)
        place.toxic = toxic
        return out

    def _stop(self, index: int, now: float, *, removed: bool) -> list[Item]:
        place = self._places[index]
        stage, place.stage = place.stage, None
        if stage is None or self.done is not None:
            return []
        items = stage.stop(now)
        signal = _stream_fault(place.toxic).removed() if removed else None
        return self._run(index + 1, items if signal is None else [*items, signal], now)

    def _new_stage(self, toxic: Toxic, now: float) -> Stage:
        return _stream_fault(toxic).stage(self._context(toxic, now))

    def _context(self, toxic: Toxic, now: float) -> Context:
        circuit = self._circuit
        memory = circuit.memory(toxic)
        return circuit.faults.context(
            toxic, self.stream, circuit.connection, now, memory, fresh=not self.begun
        )

    def _next_edge(self, since: float) -> tuple[float, float] | None:
        windows = [place.toxic.window for place in self._places if place.toxic.window is not None]
        edges = [edge for window in windows if (edge := window.next_edge(since)) is not None]
        return (self._circuit.faults.origin + min(edges), min(edges)) if edges else None

    def _run(self, start: int, items: Iterable[Item], now: float) -> list[Item]:
        """Send ``items`` through the stages from ``start`` on; what comes out at the end."""
        for place in self._places[start:]:
            if place.stage is not None:
                items = _through(place.stage, items, now)
        out: list[Item] = []
        for item in items:
            if self.done is not None:
                break
            if isinstance(item, Signal):
                self.done = item
            out.append(item)
        return out


def _through(stage: Stage, items: Iterable[Item], now: float) -> list[Item]:
    passed: list[Item] = []
    for item in items:
        if item is Signal.VANISH:
            passed.append(item)  # not a thing on the wire that a stage could delay
        elif isinstance(item, Signal):
            passed += stage.finish(item, now)
        else:
            passed += stage.feed(item, now)
    return passed


def _stream_fault(toxic: Toxic) -> StreamFault:
    assert isinstance(toxic.fault, StreamFault)  # noqa: S101 - a chain has no others
    return toxic.fault
