"""Silent accept: connections to nobody."""

from __future__ import annotations

from omega_ai.testkit.faults.model import Context, Opening, OpeningFault


class SilentAccept(OpeningFault, frozen=True, kw_only=True):
    """New connections are accepted, and then nothing: no byte is read or written, the server never sees them.

    Happens over TCP: a process that hangs while its kernel goes on accepting. Takes 64 KiB, as a kernel's
    buffer does.
    """

    kind = "silent_accept"
    ends = True

    def decide(self, context: Context) -> Opening:
        """Say nothing."""
        return Opening(silent=True)
