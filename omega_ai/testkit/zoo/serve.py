"""``python -m omega_ai.testkit.zoo.serve NAME``: one server of the zoo in a process of its own.

It says ``ready URL`` when it is up, and ends when it is told to (SIGTERM).
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from omega_ai.testkit.server_process import ServerProcess
from omega_ai.testkit.zoo.catalogue import ENDURING, EXHIBITS, RIGHT, Exhibit


class ZooProcess(ServerProcess):
    """A server of the zoo as a child process."""

    def __init__(self, exhibit: Exhibit, seed: int = 0) -> None:
        command = [sys.executable, "-m", "omega_ai.testkit.zoo.serve", exhibit.name, "--seed", str(seed)]
        super().__init__(command, ready=self._announced)

    def _announced(self, line: str) -> bool:
        word, _, url = line.partition(" ")
        if word != "ready":
            return False
        self.url = url
        return True


async def _serve(exhibit: Exhibit, seed: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with exhibit.site(seed) as site:
        print(f"ready {site.url}", flush=True)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to end."""
    known = {exhibit.name: exhibit for exhibit in (*RIGHT, *EXHIBITS, *ENDURING)}
    parser = argparse.ArgumentParser(prog="python -m omega_ai.testkit.zoo.serve", description=__doc__)
    parser.add_argument("name", choices=sorted(known), metavar="NAME", help=", ".join(sorted(known)))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    uvloop.run(_serve(known[given.name], given.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
