"""Links by name: what people connect over, as faults of both directions.

The figures are round ones for a usual day: half the round trip each way, jitter with a long tail where radio
is involved, and a rate for each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from omega_ai.testkit.faults import build
from omega_ai.testkit.faults.model import Fault, Stream


@dataclass(frozen=True, slots=True)
class Quality:
    """A link. Times one way in milliseconds, rates in kB/s, ``loss`` a probability per segment."""

    name: str
    text: str
    latency: float
    jitter: float = 0.0
    distribution: str = "normal"
    down: int | None = None
    up: int | None = None
    loss: float = 0.0

    def faults(self) -> list[tuple[str, Fault, Stream]]:
        """What it is made of: a name, the fault, the direction."""
        made: list[tuple[str, Fault, Stream]] = []
        streams: tuple[tuple[Stream, int | None], ...] = (("upstream", self.up), ("downstream", self.down))
        for stream, rate in streams:
            attributes: dict[str, Any] = {"latency": self.latency, "jitter": self.jitter}
            attributes["distribution"] = self.distribution
            made.append((f"{self.name} latency {stream}", build("latency", attributes), stream))
            if rate is not None:
                made.append((f"{self.name} rate {stream}", build("bandwidth", {"rate": rate}), stream))
            if self.loss:
                rto = {"loss": self.loss, "rtt": 2 * self.latency, "rto": max(200, round(4 * self.latency))}
                made.append((f"{self.name} loss {stream}", build("stall", rto), stream))
        return made


_KNOWN: Final = (
    Quality("office", "a good line, near the server", 5, 1, down=12_500, up=12_500),
    Quality("dsl", "a line at home", 15, 3, down=2_000, up=250),
    Quality("wifi", "a crowded wireless network", 10, 15, "pareto", down=1_500, up=1_000, loss=0.005),
    Quality("lte", "a phone with a good signal", 25, 10, "pareto", down=1_500, up=600),
    Quality("3g", "a phone without", 75, 40, "pareto", down=200, up=50, loss=0.01),
    Quality("edge", "a phone in the country", 250, 100, "pareto", down=25, up=12, loss=0.02),
    Quality("transatlantic", "London and New York", 40, 3, down=6_000, up=6_000),
    Quality("transpacific", "Tokyo and San Francisco", 65, 5, down=6_000, up=6_000),
    Quality("satellite", "by a geostationary satellite", 300, 20, down=1_200, up=300, loss=0.005),
    Quality("train", "a phone on a train", 80, 120, "pareto", down=150, up=50, loss=0.03),
)
NETWORKS: Final[Mapping[str, Quality]] = {quality.name: quality for quality in _KNOWN}
"""Every link by its name."""


class UnknownNetwork(LookupError):
    """No such link; the text says which there are."""


def network(name: str) -> Quality:
    """The link of that name.

    Raises:
        UnknownNetwork: there is none.
    """
    if name not in NETWORKS:
        raise UnknownNetwork(f"there is no network {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]


def lay(name: str, add: Callable[..., object]) -> None:
    """Place the faults of a link: ``lay("3g", proxy.add)``.

    Raises:
        UnknownNetwork: there is none of that name.
    """
    for label, fault, stream in network(name).faults():
        add(fault, stream=stream, name=label)
