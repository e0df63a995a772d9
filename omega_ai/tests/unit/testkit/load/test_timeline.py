"""Faults begin and end when their time has come, and all at once when told to: in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from omega_ai.testkit.experiment.model import FaultStep
from omega_ai.testkit.experiment.world import World
from omega_ai.testkit.faults.model import Toxic, place
from omega_ai.testkit.load.timeline import GivenMachine, GivenProcess, Timeline
from omega_ai.testkit.simnet import Simulation, simulate

FAR = FaultStep(name="far", network="latency", attributes={"latency": 5}, at_s=2.0, for_s=3.0)
CUT = FaultStep(name="cut", act="reset", at_s=4.0, for_s=1.0)
SHUT = FaultStep(name="shut", act="disable", at_s=6.0, for_s=1.0)
HUNG = FaultStep(name="hung", process="pause", at_s=1.0, for_s=2.0)


class Site:
    """A proxy and a machine that only note what is done to them, and when."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.done: list[tuple[float, str]] = []
        self.trouble: Exception | None = None

    url = "ws://localhost:1/"

    def note(self, what: str) -> None:
        """Keep it."""
        self.done.append((round(self.now(), 3), what))

    def add(self, fault: Any, **placing: Any) -> Toxic:
        """See ``World``."""
        self.note(f"add {fault.kind}")
        return place(fault, **placing)

    def remove(self, toxic: Toxic | str) -> None:
        """See ``World``."""
        self.note(f"remove {toxic if isinstance(toxic, str) else toxic.name}")

    def reset_connections(self) -> int:
        """See ``World``."""
        self.note("reset")
        return 0

    async def enable(self) -> None:
        """See ``World``."""
        self.note("enable")

    async def disable(self) -> None:
        """See ``World``."""
        self.note("disable")

    async def close(self) -> None:
        """See ``World``."""

    def lacks(self, step: FaultStep) -> str | None:
        """See ``World``."""
        return None

    async def begin(self, step: FaultStep) -> None:
        """See ``World``."""
        if self.trouble is not None:
            raise self.trouble
        self.note(f"begin {step.process}")

    async def end(self, step: FaultStep, /) -> None:
        """See ``World``."""
        self.note(f"end {step.process}")


def _scene(
    steps: tuple[FaultStep, ...],
    stop_at: float | None = None,
    trouble: Exception | None = None,
    proxies: int = 1,
) -> tuple[Site, Timeline]:
    found: list[tuple[Site, Timeline]] = []

    async def scene(sim: Simulation) -> None:
        loop = asyncio.get_running_loop()
        site = Site(loop.time)
        site.trouble = trouble
        worlds = [World(site, site, site.url)] * proxies
        timeline = Timeline(steps, worlds, loop.time(), sim.clock)
        found.append((site, timeline))
        if stop_at is not None:
            loop.call_later(stop_at, timeline.stop)
        await timeline.run()

    main: Callable[[Simulation], Coroutine[Any, Any, None]] = scene
    simulate(main, seed=1)
    return found[0]


def _windows(timeline: Timeline) -> list[tuple[str, float, float]]:
    return [(item.name, round(item.start_s, 3), round(item.end_s, 3)) for item in timeline.windows]


def test_each_has_its_time() -> None:
    """They may overlap; and it is noted when they really were."""
    site, timeline = _scene((FAR, CUT, SHUT, HUNG))
    begun = site.done[0][0] - 1.0
    assert [(round(at - begun, 3), what) for at, what in site.done] == [
        (1.0, "begin pause"),
        (2.0, "add latency"),
        (3.0, "end pause"),
        (4.0, "reset"),
        (5.0, "remove far"),
        (6.0, "disable"),
        (7.0, "enable"),
    ]
    assert _windows(timeline) == [
        ("hung", 1.0, 3.0),
        ("far", 2.0, 5.0),
        ("cut", 4.0, 5.0),
        ("shut", 6.0, 7.0),
    ]
    assert timeline.undone == {}


def test_when_it_is_stopped_all_end_at_once() -> None:
    """What is under way is mended, what was to come does not."""
    site, timeline = _scene((FAR, SHUT, HUNG), stop_at=2.5)
    assert sorted(what for _, what in site.done[2:]) == ["end pause", "remove far"]
    assert _windows(timeline) == [("hung", 1.0, 2.5), ("far", 2.0, 2.5)]
    assert timeline.undone == {"shut": "the run ended before"}


def test_what_cannot_be_done_is_told() -> None:
    """And does not keep the others from theirs."""
    site, timeline = _scene((FAR, HUNG), trouble=PermissionError(1, "Operation not permitted"))
    assert timeline.undone == {"hung": "Operation not permitted"}
    assert [what for _, what in site.done] == ["add latency", "remove far"]


def test_before_a_server_with_several_addresses_stands_a_proxy_for_each() -> None:
    """A fault of the way is on all of them; one of the process is done once."""
    site, _ = _scene((FAR, HUNG), proxies=2)
    assert [what for _, what in site.done] == [
        "begin pause",
        "add latency",
        "add latency",
        "end pause",
        "remove far",
        "remove far",
    ]


async def test_a_process_that_is_gone_cannot_be_disturbed() -> None:
    """And ending what was done to it is no error."""
    child = await asyncio.create_subprocess_exec("sleep", "0")
    await child.wait()
    machine = GivenMachine(GivenProcess(child.pid))
    assert "does not run" in (machine.lacks(HUNG) or "")
    await machine.end(HUNG)
