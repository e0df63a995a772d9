"""What a server tells Prometheus of itself: memory, processor time, descriptors, and a chosen few more."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Final

from omega_ai.testkit.load.server_side import SEEN, Reading, Unseen

MAX_BYTES: Final = 16 << 20
TIMEOUT_S: Final = 3.0
MAX_CHOSEN: Final = 20

GAUGES: Final = {
    "process_resident_memory_bytes": "rss",
    "process_open_fds": "descriptors",
    "process_threads": "threads",
    "process_num_threads": "threads",
    "go_threads": "threads",
}
COUNTERS: Final = {"process_cpu_seconds_total": "cpu", "process_context_switches_total": "switches"}
"""What common client libraries call what."""

_NAME: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_SAMPLE: Final = re.compile(
    r'([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(?:[^"}]|"(?:\\.|[^"\\])*")*\})?\s+(\S+)(?:\s+-?\d+)?'
)


class PrometheusPage:
    """A metrics page of the server."""

    def __init__(self, url: str, chosen: Sequence[str] = ()) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no metrics page: it begins with http:// or https://")
        if len(chosen) > MAX_CHOSEN:
            raise ValueError(f"{len(chosen)} metrics are too many: at most {MAX_CHOSEN} can be watched")
        for name in chosen:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a metric")
        self.url = url
        self.chosen = tuple(chosen)
        self.absent: dict[str, str] = {}

    def read(self) -> Reading:
        """See ``Source``."""
        try:
            with urllib.request.urlopen(self.url, timeout=TIMEOUT_S) as page:  # noqa: S310 - the scheme is known
                data = page.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise Unseen(f"{self.url} cannot be read: {reason}") from None
        if len(data) > MAX_BYTES:
            raise Unseen(f"{self.url} has more than {MAX_BYTES} bytes")
        reading = parse_metrics(data.decode("utf-8", "replace"), self.chosen)
        known = {**reading.gauges, **reading.counters}
        for name in (*SEEN, *self.chosen):
            if name not in known:
                self.absent[name] = "the metrics page does not have it"
        return reading


def parse_metrics(text: str, chosen: Sequence[str] = ()) -> Reading:
    """The text format of Prometheus: what is known of a process, and the ``chosen`` metrics.

    A metric with labels is summed over them. What ends in ``_total``, ``_count`` or ``_sum`` is a counter.
    """
    gauges: dict[str, float] = {}
    counters: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line[0] == "#":
            continue
        match = _SAMPLE.match(line)
        if match is None:
            continue
        metric = match[1]
        try:
            value = float(match[2])
        except ValueError:
            continue
        if value != value:
            continue
        if metric in GAUGES:
            name = GAUGES[metric]
            gauges[name] = gauges.get(name, 0.0) + value
        elif metric in COUNTERS:
            name = COUNTERS[metric]
            counters[name] = counters.get(name, 0.0) + value
        if metric in chosen:
            into = counters if metric.endswith(("_total", "_count", "_sum")) else gauges
            into[metric] = into.get(metric, 0.0) + value
    return Reading(gauges=gauges, counters=counters)
