"""A load run as a result; and the parts of several machines as one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from omega_ai.core.histogram import Histogram
from omega_ai.testkit.load.plan import Group, LoadPlan, Phase, Role
from omega_ai.testkit.load.record import JoinError, LoadRecord, join, result_parts
from omega_ai.testkit.load.shapes import Constant
from omega_ai.testkit.load.tally import Accounts, Counts, Tally, empty_window
from omega_ai.testkit.profile import load_profile
from omega_ai.testkit.report.comparing import merge
from omega_ai.testkit.result import CaseResult, RunResult, TargetFacts
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.load.modelled import MS, Modelled
from omega_ai.tests.unit.testkit.load.stretches import series

PLAN = LoadPlan(
    urls=("ws://localhost:1/",),
    profile=load_profile("echo"),
    duration_s=20,
    groups=(Group(role=Role.ECHO, clients=10, messages=Constant(rate=100)),),
    phases=(Phase(name="first", start_s=0, duration_s=10), Phase(name="second", start_s=10, duration_s=10)),
    token="secret-token",
)


def _run(server: Modelled, plan: LoadPlan = PLAN, **more: Any) -> LoadRecord:
    return LoadRecord.of(plan, asyncio.run(server(plan)), **more)


def _cases(record: LoadRecord) -> dict[str, CaseResult]:
    return {case.id: case for case in result_parts(record).suite.cases}


def _result(record: LoadRecord) -> RunResult:
    parts = result_parts(record)
    return RunResult(
        target=TargetFacts(url="ws://localhost:1/", profile="echo"),
        seed=1,
        started="2026-01-01T00:00:00.000000Z",
        suites=(parts.suite,),
        histograms=parts.histograms,
        series=parts.series,
        thresholds=parts.thresholds,
        invalid=parts.invalid,
        load=record.to_builtins(),
    )


def test_a_run_that_went_well_passes() -> None:
    """With its thresholds, curves and histograms."""
    record = _run(Modelled(capacity=1000), thresholds=("latency.p99 < 5ms", "each phase: lost == 0"))
    result = _result(record)
    assert result.verdict is Verdict.PASS
    assert [item.verdict for item in result.thresholds] == [Verdict.PASS] * 2
    assert result.histograms["latency"].count == 2000
    units = {item.name: item.unit for item in result.series}
    assert units["latency p99"] == "ms"
    assert units["received"] == "messages/s"
    assert units["open"] == "connections"
    assert LoadRecord.from_builtins(RunResult.from_json(result.to_json()).load) == record


def test_histograms_are_short_in_a_file_and_come_back_exactly() -> None:
    """Three seconds of a thousand messages a second, no two latencies alike."""
    rng = random.Random(4)
    plan = msgspec.structs.replace(PLAN, duration_s=3.0, phases=())
    record = _run(Modelled(capacity=1000), plan)
    for window in (record.tally.total, *record.tally.windows):
        window.latency = Histogram.of(int(rng.lognormvariate(14, 1)) for _ in range(1000))
    data = _result(record).to_json()
    assert len(data) < 30_000
    again = LoadRecord.from_builtins(RunResult.from_json(data).load)
    assert again == record
    assert again.tally.total.latency.total == record.tally.total.latency.total


def test_a_record_of_before_is_read() -> None:
    """In it, cells were written out one by one."""
    record = _run(Modelled(capacity=1000))
    old = msgspec.to_builtins(record, str_keys=True)
    assert old["tally"]["total"]["latency"]["cells"]
    assert LoadRecord.from_builtins(old) == record


@pytest.mark.parametrize(
    "harm",
    [
        lambda plain: plain["tally"]["total"]["latency"].update(hdr="HISTFAAA"),
        lambda plain: plain["tally"]["total"]["latency"].pop("total"),
        lambda plain: plain["tally"]["windows"].append("no window"),
        lambda plain: plain.pop("tally"),
    ],
)
def test_a_damaged_record_is_refused(harm: Callable[[dict[str, Any]], object]) -> None:
    """In a sentence, whatever is wrong with it."""
    plain = _run(Modelled(capacity=1000)).to_builtins()
    harm(plain)
    with pytest.raises(JoinError, match="cannot be read"):
        LoadRecord.from_builtins(plain)


def test_a_secret_stays_out_of_files() -> None:
    """A result is shown around."""
    assert b"secret-token" not in _result(_run(Modelled(capacity=1000))).to_json()


def test_what_is_lost_fails_the_run() -> None:
    """With or without a threshold on it."""
    cases = _cases(_run(Modelled(capacity=1000, loses_above=50)))
    assert cases["load.delivery"].verdict is Verdict.FAIL
    assert "20 of 2000 messages lost" in cases["load.delivery"].finding
    assert cases["load.connections"].verdict is Verdict.PASS


def test_who_is_refused_fails_the_run() -> None:
    """And is told by what."""
    record = _run(Modelled(capacity=1000))
    record.tally.total.errors["handshake: HTTP 503"] = 3
    record.tally.total.closes[1013] = 2
    case = _cases(record)["load.connections"]
    assert case.verdict is Verdict.FAIL
    assert "3 connections did not come about: handshake: HTTP 503" in case.finding
    assert "2 connections ended by the server: close code 1013" in case.finding


def test_a_run_that_saw_nothing_is_unknown() -> None:
    """Never a pass."""
    window = empty_window(0.0, 1.0)
    tally = Tally(
        started_utc_ns=0,
        duration_s=1,
        total=window,
        windows=[window],
        window_s=1,
        accounts=Accounts(),
        offenders=[],
        parts=[],
    )
    result = _result(LoadRecord.of(PLAN, tally))
    assert result.verdict is Verdict.UNKNOWN


def test_a_generator_that_did_not_keep_up_makes_a_run_invalid() -> None:
    """Not a pass."""
    result = _result(_run(Modelled(capacity=1000, generator=50)))
    assert result.invalid
    assert result.verdict is Verdict.UNKNOWN


def test_a_generator_that_was_late_accuses_nobody_of_lateness() -> None:
    """A bound on time is then unknown; what is lost is lost all the same."""
    bounds = ("latency.p99 < 0.5ms", "lost == 0", "rate.achieved >= 99%")
    late = _result(_run(Modelled(capacity=1000, generator=50), thresholds=bounds))
    assert [item.verdict for item in late.thresholds] == [Verdict.UNKNOWN, Verdict.PASS, Verdict.UNKNOWN]
    assert "the generator itself was late" in late.thresholds[0].observed
    lossy = _result(_run(Modelled(capacity=1000, generator=99, loses_above=50), thresholds=bounds))
    assert lossy.thresholds[1].verdict is Verdict.FAIL


def test_the_verdict_of_a_soak() -> None:
    """What grows is named, with how fast; what could not be seen is no pass."""
    plan = msgspec.structs.replace(PLAN, duration_s=300, phases=())
    rng = random.Random(2)
    leak = series("rss", [8e7 + 20_000 * n + rng.gauss(0, 2e5) for n in range(300)])
    steady = series("rss", [8e7 + rng.gauss(0, 2e5) for _ in range(300)])
    healthy = _cases(_run(Modelled(capacity=1000), plan, soak=True, warm_up_s=30, series=(steady,)))
    assert healthy["load.growth"].verdict is Verdict.PASS, healthy["load.growth"].finding
    leaking = _cases(_run(Modelled(capacity=1000), plan, soak=True, warm_up_s=30, series=(leak,)))
    assert leaking["load.growth"].verdict is Verdict.FAIL
    assert "rss grows by 7" in leaking["load.growth"].finding  # 20,000 bytes a second are 72 MB an hour
    assert "MB/h" in leaking["load.growth"].finding
    unseen = _cases(_run(Modelled(capacity=1000), plan, soak=True, warm_up_s=30))
    assert unseen["load.growth"].verdict is Verdict.UNKNOWN
    assert "memory was not seen" in unseen["load.growth"].finding


# Many machines.


def _published(shard: int, latencies: list[int], *, sent: int, got: int) -> LoadRecord:
    """Shard 0 publishes ``sent`` messages; shard 1 listens with one client, which saw ``got`` of them."""
    plan = msgspec.structs.replace(
        PLAN,
        profile=load_profile("omega"),
        groups=(
            Group(role=Role.PUBLISH, clients=1, messages=Constant(rate=10)),
            Group(role=Role.LISTEN, clients=1),
        ),
        shard=shard,
        shards=2,
        seed=5,
    )
    windows = []
    for second in range(2):
        window = empty_window(float(second), 1.0)
        window.latency = Histogram.of(latencies[second::2])
        window.counts = Counts(sent=sent // 2, intended=sent // 2, connects_intended=1, connected=1)
        windows.append(window)
    total = empty_window(0.0, 2.0)
    total.latency = Histogram.of(latencies)
    total.counts = Counts(
        intended=sent, sent=sent, received=len(latencies), answered=len(latencies), connects_intended=1
    )
    accounts = Accounts(sent_by={0: sent}) if sent else Accounts(present=1, present_reached={0: 1})
    if not sent:
        accounts.due[0], accounts.missing[0], accounts.reached[0] = 10, 10 - got, {10: 1}
    tally = Tally(
        started_utc_ns=0,
        duration_s=2,
        total=total,
        windows=windows,
        window_s=1,
        accounts=accounts,
        offenders=[],
        parts=[],
    )
    return LoadRecord.of(plan, tally, thresholds=("latency.p50 < 4ms", "lost == 0"))


def test_the_parts_of_two_machines_are_one_run() -> None:
    """Loss between them shows only now; percentiles are those of all values, not a mean of percentiles."""
    parts = [
        _published(0, [], sent=10, got=0),
        _published(1, [n * MS for n in range(1, 8)], sent=0, got=7),
    ]
    alone = [_result(part) for part in parts]
    assert [result.thresholds for result in alone] == [(), ()]
    whole = merge([RunResult.from_json(result.to_json()) for result in alone])
    delivery = {case.id: case for case in whole.cases}["load.delivery"]
    assert "3 of 10 messages lost" in delivery.finding
    assert [(item.expression, item.verdict) for item in whole.thresholds] == [
        ("latency.p50 < 4ms", Verdict.FAIL),
        ("lost == 0", Verdict.FAIL),
    ]
    assert whole.histograms["latency"].count == 7
    assert merge([whole]) == whole


def test_one_value_more_or_less_is_seen_in_the_whole() -> None:
    """Histograms are added without error, window by window."""
    rng = random.Random(4)
    values = [rng.randrange(1, 10**9) for _ in range(2000)]
    record = join(
        [_published(0, values[:1200], sent=10, got=0), _published(1, values[1200:], sent=0, got=10)]
    )
    assert record.tally.total.latency == Histogram.of(values)
    assert sum(window.latency.count for window in record.tally.windows) == 2000


def test_what_is_not_one_run_is_not_joined() -> None:
    """Twice the same part, a part that is missing, another plan, another kind of result."""
    one, two = _published(0, [], sent=10, got=0), _published(1, [], sent=0, got=10)
    with pytest.raises(JoinError, match="shard 1 of 2 is there twice"):
        join([one, one, two])
    with pytest.raises(JoinError, match="of 2 shards, these are missing: 2"):
        join([one])
    other = msgspec.structs.replace(two, plan=msgspec.structs.replace(two.plan, seed=6))
    with pytest.raises(JoinError, match="not of one plan"):
        join([one, other])
    with pytest.raises(JoinError, match="nothing to join"):
        join([])
    with pytest.raises(JoinError, match="cannot be read"):
        LoadRecord.from_builtins({"plan": 5})
    result = _result(one)
    with pytest.raises(ValueError, match="number 2 of them is no result of omega load"):
        merge([result, msgspec.structs.replace(result, load=None)])
