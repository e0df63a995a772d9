"""No fault at all."""

from __future__ import annotations

from omega_ai.testkit.faults.model import Context, Stage, StreamFault


class Noop(StreamFault, frozen=True, kw_only=True):
    """Everything passes. Happens over TCP on good days; Toxiproxy has it, too."""

    kind = "noop"

    def stage(self, context: Context) -> Stage:
        """Does nothing."""
        return Stage()
