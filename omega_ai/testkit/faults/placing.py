"""``Placing``: how faults are placed on a proxy, be it one of real sockets or of virtual time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from omega_ai.testkit.faults import build
from omega_ai.testkit.faults.model import Fault, Stream, Toxic, Window, place


class Placing(ABC):
    """Something that toxics are placed on."""

    @abstractmethod
    def place(self, toxic: Toxic) -> None:
        """Place a toxic; see ``add``."""

    def add(
        self,
        fault: Fault | str,
        *,
        stream: Stream = "downstream",
        toxicity: float = 1.0,
        window: Window | None = None,
        name: str | None = None,
        **attributes: Any,
    ) -> Toxic:
        """Place a fault, behind those that there are; open connections have it at once.

        Args:
            fault: a fault, or its name and ``attributes``: ``add("latency", latency=100)``.
            stream: the direction that it works on.
            toxicity: the share of connections that it works on.
            window: when it works.
            name: by default ``<kind>_<stream>``.

        Raises:
            BadFault: there is no such fault, or a toxic of that name already.
        """
        if isinstance(fault, str):
            fault = build(fault, attributes)
        toxic = place(fault, stream=stream, toxicity=toxicity, window=window, name=name)
        self.place(toxic)
        return toxic
