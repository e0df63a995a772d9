"""Refuse: connections end as they begin."""

from __future__ import annotations

from typing import Literal

from omega_ai.testkit.faults.model import Context, Opening, OpeningFault


class Refuse(OpeningFault, frozen=True, kw_only=True):
    """New connections end at once: by a ``reset``, or by a ``close``.

    Happens over TCP: nothing listens, a queue is full, a load balancer without servers. The kernel accepts
    for a proxy, so that its client sees a connection that breaks off; a simulated one is refused. (For a real
    refusal of every connection, disable the proxy.)
    """

    kind = "refuse"
    ends = True

    how: Literal["reset", "close"] = "reset"

    def decide(self, context: Context) -> Opening:
        """Refuse."""
        return Opening(refuse=self.how)
