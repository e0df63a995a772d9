"""What a worker notes: windows that add up to the whole, and cells that are those of the histogram."""

from hypothesis import given
from hypothesis import strategies as st

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.recorder import KINDS_LIMIT, LAG_BITS, Cells, Recorder


@given(st.lists(st.integers(-5, 10**13), max_size=50))
def test_cells_are_those_of_the_histogram(values):
    cells = Cells()
    for value in values:
        cells.record(value)
    assert cells.take() == Histogram.of(values)
    assert cells.take() == Histogram()


def test_windows_add_up_to_the_whole():
    recorder = Recorder(1_000_000_000)
    recorder.counts.sent = 3
    recorder.latency.record(5)
    recorder.send_lags[2] += 4
    recorder.open = 7
    recorder.error("tcp: refused")
    first = recorder.roll(1_000_000_123)
    recorder.counts.sent = 4
    recorder.latency.record(9)
    recorder.closes[1006] = 1
    second = recorder.roll(2_500_000_000)
    assert (first.start_s, first.duration_s, second.start_s) == (0.0, 1.0, 1.0)
    assert (first.counts.sent, second.counts.sent, recorder.total.counts.sent) == (3, 4, 7)
    assert recorder.total.latency == Histogram.of([5, 9])
    assert first.errors == {"tcp: refused": 1}
    assert second.errors == {}
    assert recorder.total.closes == {1006: 1}
    assert first.open == 7
    lag = first.send_lag.percentile(50)
    assert lag is not None
    assert 2 << LAG_BITS <= lag <= 3 << LAG_BITS


def test_kinds_of_error_are_bounded():
    recorder = Recorder(10**9)
    for number in range(2 * KINDS_LIMIT):
        recorder.error(f"kind {number}")
        recorder.example(f"kind {number}", "x" * 10_000)
    assert len(recorder.errors) == KINDS_LIMIT + 1
    assert recorder.errors["other"] == KINDS_LIMIT
    assert len(recorder.examples) == KINDS_LIMIT
    assert max(map(len, recorder.examples.values())) < 1000
