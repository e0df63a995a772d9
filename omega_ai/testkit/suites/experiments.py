"""The suites ``chaos`` and ``network``, and experiments of one's own: each experiment is a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from omega_ai.testkit.case import Case, NotApplicable, Outcome, Suite
from omega_ai.testkit.context import Context
from omega_ai.testkit.experiment.machine import RealMachine
from omega_ai.testkit.experiment.model import BUILT_IN, Experiment, built_in
from omega_ai.testkit.experiment.running import Run
from omega_ai.testkit.experiment.world import Machine, NoMachine, World
from omega_ai.testkit.proxy import FaultProxy

OVERHEAD_S: Final = 120.0
"""What starting, stopping and a busy machine may add, until a case is given up."""

TITLES: Final = {
    "chaos": "Chaos: what happens when the server, or all its clients, break",
    "network": "Network: what happens when the way between breaks",
}


def case_of(experiment: Experiment, suite: str) -> Case:
    """An experiment as a case of a suite."""

    async def run(context: Context) -> Outcome:
        return await run_real(experiment, context)

    return Case(
        id=f"{suite}.{experiment.name}",
        suite=suite,
        title=experiment.title,
        expectation=experiment.expectation or "steady again in time, and nothing lost that was promised",
        spec=f"{experiment.does} {experiment.why}".strip(),
        run=run,
        needs=frozenset(experiment.needs),
        timeout=experiment.seconds + OVERHEAD_S,
        alone=True,
        destructive=True,
    )


async def run_real(experiment: Experiment, context: Context) -> Outcome:
    """Run it over a proxy of our own."""
    target = context.target
    direct = target.url
    if experiment.load.secure:
        if target.secure_url is None:
            raise NotApplicable("no wss:// address is known")
        direct = target.secure_url
    machine: Machine = NoMachine()
    if target.control is not None:
        machine = real = RealMachine(target.control)
        await real.ensure()  # an experiment before this one may have left it down
    async with FaultProxy(direct, seed=context.seed, clock=context.clock) as proxy:
        return await Run(experiment, context, World(proxy, machine, direct))()


def suite_of(name: str, title: str, experiments: Sequence[Experiment]) -> Suite:
    """A suite of experiments; none is run unless it is named."""
    return Suite(name, title, quick=False, cases=[case_of(experiment, name) for experiment in experiments])


def _built_in_suite(name: str) -> Suite:
    found = [experiment for experiment in map(built_in, BUILT_IN) if experiment.suite == name]
    return suite_of(name, TITLES[name], found)


CHAOS = _built_in_suite("chaos")
NETWORK = _built_in_suite("network")

__all__ = ["CHAOS", "NETWORK", "case_of", "run_real", "suite_of"]
