"""Which suites there are, and where each is defined. A suite is imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Final

from omega_ai.testkit.case import Suite

SUITES: Final[dict[str, str]] = {
    "connectivity": "omega_ai.testkit.suites.connectivity:SUITE",
    "messages": "omega_ai.testkit.suites.messages:SUITE",
    "broadcast": "omega_ai.testkit.suites.broadcast:SUITE",
    "reconnection": "omega_ai.testkit.suites.reconnection:SUITE",
    "security": "omega_ai.testkit.suites.security:SUITE",
    "tls": "omega_ai.testkit.suites.tls:SUITE",
    "load": "omega_ai.testkit.suites.load:SUITE",
    "stress": "omega_ai.testkit.suites.stress:SUITE",
    "soak": "omega_ai.testkit.suites.soak:SUITE",
    "network": "omega_ai.testkit.suites.experiments:NETWORK",
    "chaos": "omega_ai.testkit.suites.experiments:CHAOS",
    "conformance": "omega_ai.testkit.conformance.suite:SUITE",
    "contract": "omega_ai.testkit.contract.suite:SUITE",
    "client": "omega_ai.testkit.conformance.clients.suite:SUITE",
}
"""Name -> ``module:attribute``, in the order in which they are run."""


EXTRAS: Final[dict[str, tuple[str, str]]] = {"contract": ("hypothesis", "contract")}
"""Name of a suite -> what it imports beyond the package's own requirements, and the extra that brings it."""


class SuiteMissing(LookupError):
    """No such suite, or none that is installed; ``str(error)`` says which there are."""


def load_suite(name: str) -> Suite:
    """The suite ``name``.

    Raises:
        SuiteMissing: there is none, or what it needs is not installed.
    """
    if name not in SUITES:
        raise SuiteMissing(f"there is no suite {name!r}; there are: {', '.join(available())}")
    module, _, attribute = SUITES[name].partition(":")
    if name in EXTRAS and not _exists(EXTRAS[name][0]):
        needed, extra = EXTRAS[name]
        raise SuiteMissing(f"the suite {name} needs {needed}: pip install 'omega-btc-ai[{extra}]'")
    suite = getattr(importlib.import_module(module), attribute)
    if not isinstance(suite, Suite):
        raise TypeError(f"{SUITES[name]} is no suite")
    return suite


def available() -> list[str]:
    """Names of the suites that are installed, in their order."""
    return [
        name
        for name, where in SUITES.items()
        if _exists(where.partition(":")[0]) and (name not in EXTRAS or _exists(EXTRAS[name][0]))
    ]


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # a package on the way to it, or one that is blocked
        return False
