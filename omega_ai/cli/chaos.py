"""What ``omega test`` needs for experiments: those that are named, and a server of one's own to disturb."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from omega_ai.cli.exit_codes import UsageError
from omega_ai.testkit.case import Suite
from omega_ai.testkit.experiment.model import BadExperiment, read
from omega_ai.testkit.server_process import ServerProcess
from omega_ai.testkit.suites.experiments import suite_of

EXPERIMENTS: Final = "experiment"
"""The suite of experiments that are named on the command line."""

START_SECONDS: Final = 60.0
"""Nobody knows how long a server of others takes to start."""


def experiments(named: tuple[str, ...]) -> list[Suite]:
    """The suite of these experiments: files, or names of those that are built in; none if none is named.

    Raises:
        UsageError: one cannot be read.
    """
    names = [name for text in named for name in text.split(",") if name]
    if not names:
        return []
    try:
        found = [read(Path(name)) for name in names]
    except BadExperiment as error:
        raise UsageError(f"{error}.") from None
    return [suite_of(EXPERIMENTS, "Experiments", found)]


async def started(command: str, url: str | None) -> ServerProcess:
    """The server that ``command`` starts, once it takes connections at ``url``.

    Raises:
        ServerFailed: it did not come up.
    """
    server = ServerProcess(
        shlex.split(command), url=url or "ws://127.0.0.1:{port}/", start_seconds=START_SECONDS
    )
    await server.start()
    return server
