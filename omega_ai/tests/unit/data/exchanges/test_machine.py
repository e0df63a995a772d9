"""Following a venue for ever: what is asked for, emitted and reported, on a clock that the test moves."""

from __future__ import annotations

import random
from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec import structs
from structlog.testing import CapturingLogger

from omega_ai.core.clock import ManualClock
from omega_ai.core.scheduler import ManualScheduler
from omega_ai.data_feed.exchanges import machine
from omega_ai.data_feed.exchanges.base import RestTrades
from omega_ai.data_feed.exchanges.events import Ack, Heartbeat, ReconnectRequest, Unparseable
from omega_ai.data_feed.exchanges.machine import VenueMachine
from omega_ai.data_feed.exchanges.sequence import Gap
from omega_ai.data_feed.market import MarketEvent, Quote, SourceStatus, Trade
from omega_ai.tests.unit.data.exchanges.test_conversation import VENUE as BASE

ONE = Decimal(1)


def trade(number: int) -> Trade:
    return Trade("pretend", "BTC-USD", str(number), ONE, ONE, "buy", number * 1_000_000_000, 0)


def parse(raw: bytes, received_ns: int):
    """``t5 q b`` is a trade with id 5, a quote and a heartbeat; ``a`` confirms everything."""
    events: list[object] = []
    for word in raw.decode().split():
        if word[0] == "t":
            events.append(trade(int(word[1:])))
        elif word == "q":
            events.append(Quote("pretend", "BTC-USD", ONE, ONE, ONE, ONE, 1, received_ns))
        elif word == "a":
            events += [Ack("t"), Ack("q")]
        elif word == "b":
            events.append(Heartbeat())
        elif word == "leave":
            events.append(ReconnectRequest("maintenance"))
        else:
            events.append(Unparseable("what is this", word))
    return events


VENUE = structs.replace(
    BASE,
    parse=parse,
    rest=RestTrades(url="https://example.org", path="/", parse=parse, limit=10),
)
UNNUMBERED = structs.replace(VENUE, trade_ids="unique")


class Bench:
    """A machine, with everything that it does written down."""

    def __init__(self, venue=VENUE, seed: int = 1) -> None:
        self.clock = ManualClock()
        self.scheduler = ManualScheduler(self.clock)
        self.connects: list[tuple[int, float]] = []
        self.sent: list[tuple[int, bytes]] = []
        self.closed: dict[int, str] = {}
        self.fetched: list[Gap] = []
        self.events: list[MarketEvent] = []
        self.statuses: list[SourceStatus] = []
        self.began = self.clock.monotonic()
        self.machine = VenueMachine(
            venue,
            self,
            self.events.append,
            self.statuses.append,
            clock=self.clock,
            scheduler=self.scheduler,
            rng=random.Random(seed),
        )
        self.machine.start()
        self.scheduler.run()

    # What the machine asks for.

    def connect(self, line: int) -> None:
        self.connects.append((line, self.clock.monotonic() - self.began))

    def send(self, line: int, message: bytes) -> None:
        self.sent.append((line, message))

    def send_ping(self, line: int) -> None:
        self.sent.append((line, b"<ping frame>"))

    def close(self, line: int, reason: str) -> None:
        self.closed[line] = reason

    def fetch(self, gap: Gap) -> None:
        self.fetched.append(gap)

    # What the test does.

    @property
    def line(self) -> int:
        return self.connects[-1][0]

    @property
    def status(self) -> SourceStatus:
        return self.statuses[-1]

    def hear(self, words: str, line: int | None = None) -> Bench:
        self.machine.message(self.line if line is None else line, words.encode())
        return self

    def wait(self, seconds: float, beating: int | None = None) -> Bench:
        """Let time pass; the line ``beating`` has heartbeats meanwhile."""
        left = seconds
        while left > 1e-9:
            step = min(left, 0.5)
            self.scheduler.advance(step)
            left -= step
            if beating is not None:
                self.hear("b", beating)
        return self

    def flow(self, words: str = "a t1 q b") -> Bench:
        """Open the newest line and let it flow."""
        self.machine.opened(self.line)
        return self.hear(words)

    def await_attempt(self, within: float = 31.0) -> Bench:
        before = len(self.connects)
        while len(self.connects) == before:
            assert within > 0, "no attempt was made"
            self.scheduler.advance(0.1)
            within -= 0.1
        return self

    def trades(self) -> list[int]:
        return [int(event.trade_id) for event in self.events if isinstance(event, Trade)]

    def states(self) -> list[str]:
        found: list[str] = []
        for status in self.statuses:
            if not found or found[-1] != status.state:
                found.append(status.state)
        return found


def test_from_the_first_attempt_to_live():
    """Connect, subscribe, and live only when data flows."""
    bench = Bench()
    assert [line for line, _ in bench.connects] == [1]
    bench.machine.opened(1)
    assert bench.sent == [(1, b"sub-1")]
    bench.wait(0.5)
    assert bench.sent == [(1, b"sub-1"), (1, b"sub-2")]
    bench.hear("a b")
    assert bench.status.state == "connecting"
    bench.hear("t1")
    assert bench.status.state == "live"
    assert bench.trades() == [1]
    assert bench.states() == ["connecting", "live"]


def test_while_it_is_away_the_log_tells_of_it_ever_more_rarely(monkeypatch):
    """A warning at the first loss, a line at the 2nd, 4th, 8th ... and one when it is back; times rounded."""
    logger = CapturingLogger()
    monkeypatch.setattr(machine, "log", logger)
    bench = Bench()
    for _ in range(100):
        bench.machine.lost(bench.line, "refused")
        bench.await_attempt()
    bench.flow()
    bench.machine.lost(bench.line, "cut")
    told = [call for call in logger.calls if call.method_name != "debug"]
    assert [(call.method_name, call.kwargs.get("failures")) for call in told] == [
        ("warning", 1),
        *(("info", 2**power) for power in range(1, 7)),
        ("info", None),
        ("warning", 1),
    ]
    assert (told[-2].args, told[-2].kwargs["attempts"]) == (("connected again",), 100)
    waits = [call.kwargs["next_attempt_s"] for call in logger.calls if "next_attempt_s" in call.kwargs]
    assert len(waits) == 101
    assert waits == [round(wait, 1) for wait in waits]


def test_it_reconnects_for_ever_with_growing_jittered_delays():
    """From half a second to thirty, whatever the reason; never two attempts at once."""
    bench = Bench()
    for _ in range(200):
        bench.machine.lost(bench.line, "refused")
        assert "next attempt in" in (bench.status.detail or "")
        bench.await_attempt()
    times = [at for _, at in bench.connects]
    delays = [after - before for before, after in pairwise(times)]
    assert max(delays[:3]) <= 2.0 + 0.1
    assert 25 < max(delays) <= 30.1
    assert min(delays[20:]) < 3
    assert bench.states() == ["connecting"]


def test_only_data_resets_the_delay():
    """A venue that accepts and then drops is not back."""
    bench = Bench()
    for _ in range(12):
        bench.machine.opened(bench.line)
        bench.hear("a")
        bench.machine.lost(bench.line, "dropped")
        bench.await_attempt()
    assert bench.machine._backoff.failures == 12
    bench.flow()
    bench.machine.lost(bench.line, "dropped")
    before = bench.clock.monotonic()
    bench.await_attempt()
    assert bench.clock.monotonic() - before <= 0.6


def test_a_lost_connection_is_reported_in_band_and_trades_are_not_doubled():
    """The report stands where the stream broke; the snapshot of the next line brings only what is new."""
    bench = Bench().flow("a t1 t2 q b")
    bench.machine.lost(1, "the connection broke")
    assert bench.status.state == "reconnecting"
    assert (bench.status.detail or "").startswith("the connection broke")
    bench.await_attempt().flow("a t1 t2 t3 q b")
    assert bench.trades() == [1, 2, 3]
    assert bench.status.state == "live"
    assert bench.status.reconnects == 1
    assert bench.states() == ["connecting", "live", "reconnecting", "live"]


def test_a_connection_that_never_comes_is_given_up():
    """After ten seconds, even if the owner says nothing."""
    bench = Bench().wait(10.3)
    assert bench.closed[1] == "no connection within 10 s"
    bench.await_attempt()
    assert bench.line == 2


def test_a_silent_line_is_closed_and_followed_by_another():
    """No heartbeat for four seconds."""
    bench = Bench().flow().wait(10, beating=1)
    assert bench.status.state == "live"
    bench.wait(4.3)
    assert "no sign of life" in bench.closed[1]
    assert bench.status.state == "reconnecting"
    bench.await_attempt().flow("a t2 q")
    assert bench.status.state == "live"


def test_a_stall_with_heartbeats_is_stale_and_another_line_is_tried_beside_it():
    """The old line is not cut: the market may be calm. The new one takes over when it has data."""
    bench = Bench().flow().wait(61, beating=1)
    assert bench.status.state == "stale"
    assert "no data for 60 s" in (bench.status.detail or "")
    assert len(bench.connects) == 2
    assert 1 not in bench.closed
    bench.flow("a t2 q b")
    assert bench.closed[1] == "replaced"
    assert bench.status.state == "live"
    assert bench.trades() == [1, 2]


def test_a_calm_that_ends_by_itself_is_live_again():
    """And the second line is not needed for it."""
    bench = Bench().flow().wait(61, beating=1).hear("t2", 1)
    assert bench.status.state == "live"
    assert bench.trades() == [1, 2]


def test_a_planned_replacement_is_made_before_the_old_line_goes():
    """What the new one says is kept back until it has all it asked for; nothing is lost or doubled
    meanwhile."""
    bench = Bench().flow().wait(6, beating=1).hear("leave")
    bench.await_attempt()
    new = bench.line
    bench.machine.opened(new)
    bench.hear("t1 t2", new)
    bench.hear("t2", 1)
    assert bench.trades() == [1, 2]
    assert 1 not in bench.closed
    bench.hear("a t3", new)
    assert bench.closed == {1: "replaced"}
    assert bench.trades() == [1, 2, 3]
    assert bench.states() == ["connecting", "live"]
    assert bench.status.reconnects == 0
    bench.hear("t99", 1)
    assert bench.trades() == [1, 2, 3]


def test_a_replacement_that_fails_leaves_the_old_line_alone():
    """It is tried again, with back-off."""
    bench = Bench().flow().wait(6, beating=1).hear("leave")
    for _ in range(3):
        bench.await_attempt()
        bench.machine.lost(bench.line, "refused")
        bench.hear("b", 1)
    assert bench.status.state == "live"
    assert 1 not in bench.closed


def test_a_replacement_takes_over_when_the_old_line_dies_first():
    """Whatever it kept back is then used."""
    bench = Bench().flow().wait(6, beating=1).hear("leave")
    bench.await_attempt()
    new = bench.line
    bench.machine.opened(new)
    bench.hear("t2", new)
    bench.machine.lost(1, "gone")
    assert bench.status.state == "reconnecting"
    assert bench.trades() == [1, 2]
    bench.hear("a q", new)
    assert bench.status.state == "live"
    assert len(bench.connects) == 2


def test_a_venue_that_always_asks_for_a_reconnect_is_not_obeyed_without_end():
    """A line younger than five seconds is not replaced."""
    bench = Bench().flow("a t1 q leave")
    bench.wait(4, beating=1)
    assert len(bench.connects) == 1
    bench.wait(2, beating=1)
    assert len(bench.connects) == 2


def test_a_gap_is_reported_asked_for_and_filled_in_order():
    """Later trades wait for it."""
    bench = Bench().flow().hear("t4").hear("t5")
    assert bench.trades() == [1]
    assert bench.status.detail == "gap: 2 trades missing from id 2; asking for them"
    assert bench.status.gaps == 1
    bench.wait(1, beating=1)
    assert [(gap.first, gap.last) for gap in bench.fetched] == [(2, 3)]
    bench.machine.filled([trade(3), trade(2)])
    assert bench.trades() == [1, 2, 3, 4, 5]
    assert bench.status.detail is None


def test_a_gap_is_asked_for_again_and_then_given_up_and_said():
    """Ten seconds at most are trades held back."""
    bench = Bench().flow().hear("t4")
    for _ in range(30):
        bench.wait(0.5, beating=1)
        if len(bench.fetched) and bench.machine._gaps.fetching:
            bench.machine.filled(None)
    assert 2 <= len(bench.fetched) <= 6
    assert bench.trades() == [1, 4]
    assert bench.status.detail == "gap: 2 trades lost"


def test_where_nothing_can_be_asked_for_the_loss_is_said_at_once():
    """And the stream goes on."""
    bench = Bench(structs.replace(VENUE, rest=None)).flow().hear("t4")
    assert bench.trades() == [1, 4]
    assert bench.status.detail == "gap: 2 trades lost"
    assert bench.status.gaps == 1


def test_a_long_gap_is_filled_page_by_page():
    """As long as each answer brings it nearer."""
    bench = Bench().flow().hear("t30")
    for page in (range(2, 12), range(12, 22), range(22, 30)):
        bench.wait(1, beating=1)
        bench.machine.filled([trade(number) for number in page])
    assert bench.trades() == list(range(1, 31))


def test_a_jump_beyond_reason_is_not_asked_for():
    """Nobody lists a million trades; the stream goes on."""
    bench = Bench().flow().hear("t5000000")
    assert bench.trades() == [1, 5_000_000]
    assert bench.fetched == []


def test_without_ids_that_count_an_interruption_is_filled_from_recent_trades():
    """The first trades of the new line wait until the venue's list was looked at."""
    bench = Bench(UNNUMBERED).flow("a t10 t20 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t50 q b")
    assert bench.trades() == [10, 20]
    bench.wait(1, beating=bench.line)
    assert len(bench.fetched) == 1
    assert bench.fetched[0].missing is None
    bench.machine.filled([trade(20), trade(30), trade(40), trade(50)])
    assert bench.trades() == [10, 20, 30, 40, 50]
    assert bench.status.detail is None


def test_an_answer_from_before_another_interruption_does_not_end_it():
    """It cannot know what happened after."""
    bench = Bench(UNNUMBERED).flow("a t10 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t50 q b").wait(1, beating=bench.line)
    bench.machine.lost(bench.line, "gone again")
    bench.machine.filled([trade(10), trade(30)])
    bench.await_attempt().flow("a t90 q b").wait(1, beating=bench.line)
    bench.machine.filled([trade(10), trade(30), trade(50), trade(70), trade(90)])
    assert bench.trades() == [10, 30, 50, 70, 90]


def test_recent_trades_that_do_not_reach_back_leave_a_doubt_that_is_said():
    """A list of 60 trades is short."""
    bench = Bench(UNNUMBERED).flow("a t10 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t50 q b").wait(1, beating=bench.line)
    bench.machine.filled([trade(40), trade(50)])
    assert bench.trades() == [10, 40, 50]
    assert "some may be lost" in (bench.status.detail or "")


def test_a_list_of_sixty_after_a_longer_interruption_is_never_passed_over_in_silence():
    """At eight trades a second it covers seven seconds: what lies before is told as a gap, and counted."""
    bench = Bench(UNNUMBERED).flow("a t10 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t180 q b").wait(1, beating=bench.line)
    gaps = bench.status.gaps
    bench.machine.filled([trade(number) for number in range(121, 181)])
    assert bench.trades() == [10, *range(121, 181)]
    assert bench.status.gaps == gaps + 1
    told = [status.detail for status in bench.statuses if status.detail and status.detail.startswith("gap: ")]
    assert told == ["gap: longer than the venue's list of recent trades, some may be lost"]


def test_an_empty_list_leaves_a_doubt_that_is_said():
    """It does not say that nothing happened."""
    bench = Bench(UNNUMBERED).flow("a t10 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t50 q b").wait(1, beating=bench.line)
    bench.machine.filled([])
    assert bench.trades() == [10, 50]
    assert "some may be lost" in (bench.status.detail or "")


def test_a_gap_that_ends_while_the_venue_is_away_is_told_once_it_is_live():
    """Two words at once cannot be said; neither is forgotten."""
    bench = Bench(UNNUMBERED).flow("a t10 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t50 q b").wait(1, beating=bench.line)
    bench.wait(6)  # nothing beats: it is not live any more
    assert bench.status.state != "live"
    bench.machine.filled([trade(40), trade(50)])
    if bench.status.state != "live":
        assert "gap" not in (bench.status.detail or "")
    bench.await_attempt().flow("a t60 q b")
    bench.wait(1, beating=bench.line)
    bench.machine.filled([trade(number) for number in range(40, 61)])
    told = [status.detail for status in bench.statuses if status.state == "live" and status.detail]
    assert any(detail.startswith("gap: ") for detail in told)


def test_so_much_held_back_that_the_wait_is_given_up_is_told():
    """The bound on what waits for an answer."""
    bench = Bench(UNNUMBERED).flow("a t10 q b")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t50 q b")
    bench.hear(" ".join(f"t{number}" for number in range(51, 10_100)))
    assert bench.trades()[-1] == 10_099
    assert bench.status.detail == "gap: trades may be lost"


def test_connection_attempts_stay_within_the_venues_limit():
    """Ten a second here, however fast they fail."""
    bench = Bench(
        structs.replace(VENUE, limits=structs.replace(VENUE.limits, connects=2, connect_window_s=60.0))
    )
    for _ in range(6):
        bench.machine.lost(bench.line, "refused")
        bench.await_attempt(within=70)
    times = [at for _, at in bench.connects]
    assert all(after - before >= 60 for before, after in zip(times, times[2:], strict=False))


def test_pings_are_sent_in_the_venues_way():
    """A message of its own, or a frame."""
    for ping, expected in ((b"ping", b"ping"), ("frame", b"<ping frame>")):
        liveness = structs.replace(VENUE.liveness, ping=ping, ping_every_s=5.0)
        bench = Bench(structs.replace(VENUE, liveness=liveness)).flow().wait(11, beating=1)
        assert [message for _, message in bench.sent if message.startswith((b"ping", b"<ping"))] == [
            expected
        ] * 2


def test_states_are_reported_at_least_each_second():
    """With an age that grows while nothing comes."""
    bench = Bench().flow()
    before = len(bench.statuses)
    bench.wait(10, beating=1)
    assert len(bench.statuses) - before >= 9
    assert bench.status.age_ms == pytest.approx(10_000, abs=1000)


def test_refused_messages_are_counted_across_lines():
    """Counters are of the whole time."""
    bench = Bench().flow("a t1 q garbage")
    bench.machine.binary(1, b"\x00")
    bench.machine.lost(1, "gone")
    bench.await_attempt().flow("a t2 q garbage").wait(1, beating=bench.line)
    assert bench.status.refused == 3
    assert bench.status.messages >= 3


def test_stop_closes_everything_and_gives_out_what_waits():
    """A trade that came is not kept because another did not."""
    bench = Bench().flow().hear("t4").wait(6, beating=1).hear("leave")
    bench.await_attempt()
    bench.machine.stop()
    assert set(bench.closed) == {1, 2}
    assert bench.trades() == [1, 4]
    assert bench.status.state == "stopped"
    reports, connects = len(bench.statuses), len(bench.connects)
    bench.wait(60)
    assert (len(bench.statuses), len(bench.connects)) == (reports, connects)


def test_lines_that_are_gone_are_not_listened_to():
    """Late words of a closed connection change nothing."""
    bench = Bench().flow()
    bench.machine.lost(1, "gone")
    reports = len(bench.statuses)
    bench.hear("t2", 1)
    bench.machine.opened(1)
    bench.machine.lost(1, "gone")
    bench.machine.ping(1)
    bench.machine.pong(1)
    bench.machine.binary(1, b"")
    assert bench.trades() == [1]
    assert len(bench.statuses) == reports
