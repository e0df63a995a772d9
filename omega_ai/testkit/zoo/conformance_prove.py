"""Proves that every conformance case can fail: ``python -m omega_ai.testkit.zoo.conformance_prove``.

Each set of faults is a server; a case that fails on none of them could be left out of the suite.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Iterable
from typing import Final

from omega_ai.testkit.case import Suite
from omega_ai.testkit.conformance.exchange import Exchange
from omega_ai.testkit.conformance.suite import SUITE
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.runner import Runner
from omega_ai.testkit.target import Target
from omega_ai.testkit.verdict import Verdict
from omega_ai.testkit.zoo.conformance_server import RULES, FaultyEcho

SERVERS: Final[tuple[tuple[str, ...], ...]] = (
    tuple(RULES),
    ("corrupts",),
    ("wrong-close",),
    ("upgrades-all",),
    ("wrong-pong",),
    ("agrees-all",),
    ("wide-window",),
    ("refuses-all",),
    ("chooses",),
    ("no-close",),
    ("harms",),
    ("falls",),
    ("slow-to-others",),
)
"""Few servers with coarse faults, so that it takes minutes and not hours."""
PATIENCE: Final = 1.0
"""Seconds: these servers answer at once or never."""


async def failing(faults: Iterable[str], cases: Collection[str], suite: Suite = SUITE) -> set[str]:
    """Those of ``cases`` (ids) that fail on a server with ``faults``."""
    async with FaultyEcho(*faults) as server:
        runner = Runner(Target(server.url, load_profile("echo")), seed=1, only=cases)
        result = await runner.run_suite(suite)
    return {case.id for case in result.cases if case.verdict is Verdict.FAIL}


async def prove(suite: Suite = SUITE, servers: Iterable[tuple[str, ...]] = SERVERS) -> set[str]:
    """The cases that failed on none of ``servers``; says on standard output what failed where."""
    left = {case.id for case in suite}
    for faults in servers:
        if not left:
            break
        caught = await failing(faults, left, suite)
        left -= caught
        name = ", ".join(faults) if len(faults) < 4 else f"{len(faults)} checks left out"
        print(f"{len(caught):4d} fail, {len(left):4d} are left: {name}", flush=True)
    return left


def main() -> int:
    """0 if every case can fail, else 1 and their names."""
    Exchange.patience = PATIENCE
    left = asyncio.run(prove())
    for case in sorted(left):
        print(f"cannot fail: {case}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
