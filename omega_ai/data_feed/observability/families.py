"""A histogram for prometheus-client that keeps the readings it was made of, for the native form."""

from __future__ import annotations

from prometheus_client.core import HistogramMetricFamily

from omega_ai.data_feed.observability.histogram import HistogramReading


class HistogramFamily(HistogramMetricFamily):
    """As ``HistogramMetricFamily``, filled by ``add``: classic buckets as samples, whole readings besides."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(name, text, labels=labels)
        self._names = labels
        self.readings: list[tuple[dict[str, str], HistogramReading]] = []

    def add(self, values: tuple[str, ...], reading: HistogramReading) -> None:
        """One histogram, with the values of the labels."""
        self.readings.append((dict(zip(self._names, values, strict=True)), reading))
        coarse = reading.coarse()
        buckets: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip((*coarse.bounds, float("inf")), coarse.counts, strict=True):
            seen += count  # Prometheus' buckets are cumulative and end with +Inf
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), seen))
        self.add_metric(list(values), buckets, reading.total)
