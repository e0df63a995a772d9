"""``python -m omega_ai.testkit.zoo.experiments``: broken recovery against the experiments meant for it.

In virtual time by default, with a new seed each run; ``--real`` on real sockets, through the real proxy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import uvloop

from omega_ai.testkit.case import NotApplicable, Outcome
from omega_ai.testkit.context import Context
from omega_ai.testkit.experiment.model import BUILT_IN, Experiment, built_in
from omega_ai.testkit.experiment.running import Run
from omega_ai.testkit.experiment.simulated import simulated_world
from omega_ai.testkit.experiment.visitor import Backoff, NoBackoff
from omega_ai.testkit.experiment.world import NoMachine, World
from omega_ai.testkit.proxy import FaultProxy
from omega_ai.testkit.result import Severity
from omega_ai.testkit.simnet import Simulation, simulate
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.breaking import DeadlocksOnHalfOpen, DoublesAfterResume, LeaksOnReset, NoResume
from omega_ai.testkit.zoo.site import EchoSite, Site

PORT: Final = 9000
PRICE_INTERVAL_S: Final = 0.5
"""Prices are beside the point here."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A server or client that is broken, the experiment that must fail on it, and what that must find."""

    name: str
    experiment: str
    kind: str
    site: type[Site] = Site
    backoff: type[Backoff] = Backoff

    @property
    def fault(self) -> str:
        """What is wrong, in one sentence."""
        broken = self.site if self.site is not Site else self.backoff
        return (broken.__doc__ or "").strip().partition("\n")[0]


BROKEN: Final = (
    Broken("no-resume", "flaky-mobile", "gap", NoResume),
    Broken("doubles-after-resume", "proxy-timeout", "duplicated", DoublesAfterResume),
    Broken("no-back-off", "refused", "attempts", backoff=NoBackoff),
    Broken("leaks-on-reset", "thundering-herd", "recovery", LeaksOnReset),
    Broken("deadlocks-on-half-open", "half-open-nat", "recovery", DeadlocksOnHalfOpen),
)
RIGHT: Final = (Site, EchoSite)


def put_simulated(
    experiment: Experiment, site: type[Site], seed: int, backoff: type[Backoff] = Backoff
) -> Outcome:
    """Put an experiment to a server of the zoo in virtual time.

    Raises:
        NotApplicable: it cannot be put to it there.
    """

    async def scene(sim: Simulation) -> Outcome:
        starts = 0

        def make() -> Site:
            nonlocal starts
            starts += 1
            server = site(seed + starts)
            server.clock, server.port, server.price_interval = sim.clock, PORT, PRICE_INTERVAL_S
            return server

        async def serve() -> None:
            await make().__aenter__()

        url = f"ws://127.0.0.1:{PORT}/"
        world, machine = await simulated_world(sim, url, serve, seed=seed)
        target = Target(url, make().profile)
        async with Context(target, seed=seed, name=experiment.name, clock=sim.clock) as context:
            try:
                return await Run(experiment, context, world, backoff=backoff)()
            finally:
                await machine.stop()

    return simulate(scene, seed=seed)


async def put_real(
    experiment: Experiment, site: type[Site], seed: int, backoff: type[Backoff] = Backoff
) -> Outcome:
    """The same on real sockets."""
    async with site(seed) as server:
        target = Target(server.url, server.profile)
        async with (
            FaultProxy(server.url, seed=seed) as proxy,
            Context(target, seed=seed, name=experiment.name) as context,
        ):
            world = World(proxy, NoMachine(), server.url)
            return await Run(experiment, context, world, backoff=backoff)()


def caught(broken: Broken, outcome: Outcome) -> bool:
    """Whether the experiment failed, and for the right reason."""
    kinds = {finding.kind for finding in outcome.findings if finding.severity is Severity.FAILURE}
    return outcome.verdict is Verdict.FAIL and broken.kind in kinds


Put = Callable[[Experiment, type[Site], int, type[Backoff]], Outcome]


def prove(
    put: Put, runs: int, right_runs: int, first: int, say: Callable[[str], None], only: Collection[str] = ()
) -> bool:
    """Every broken one fails (or those named in ``only``), every right one passes, in every run."""
    good = True
    for broken in BROKEN:
        if only and broken.name not in only:
            continue
        experiment = built_in(broken.experiment)
        outcomes = [put(experiment, broken.site, first + n, broken.backoff) for n in range(runs)]
        count = sum(caught(broken, outcome) for outcome in outcomes)
        say(f"{broken.name}: {broken.experiment} caught it in {count} of {runs}")
        for outcome in outcomes:
            if not caught(broken, outcome):
                say(f"  {outcome.verdict}: {outcome.finding}")
        good = good and count == runs
    for site in RIGHT:
        for name in BUILT_IN:
            passed, skipped = 0, 0
            for n in range(right_runs):
                try:
                    outcome = put(built_in(name), site, first + n, Backoff)
                except NotApplicable:
                    skipped += 1
                    continue
                passed += outcome.verdict is Verdict.PASS
                if outcome.verdict is not Verdict.PASS:
                    say(f"  seed {first + n}: {outcome.verdict}: {outcome.finding}")
            if skipped < right_runs:
                say(f"{site.__name__} (right): {name} passed in {passed} of {right_runs - skipped}")
            good = good and passed + skipped == right_runs
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """Prove it; 0 if everything was as it should be."""
    parser = argparse.ArgumentParser(prog="python -m omega_ai.testkit.zoo.experiments", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of what is broken")
    parser.add_argument("--right-runs", type=int, default=20, help="of what is right")
    parser.add_argument("--only", action="append", default=[], choices=[b.name for b in BROKEN])
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--real", action="store_true", help="on real sockets, which takes real time")
    given = parser.parse_args(arguments)

    def real(experiment: Experiment, site: type[Site], seed: int, backoff: type[Backoff]) -> Outcome:
        return uvloop.run(put_real(experiment, site, seed, backoff))

    return (
        0
        if prove(
            real if given.real else put_simulated, given.runs, given.right_runs, given.seed, print, given.only
        )
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
