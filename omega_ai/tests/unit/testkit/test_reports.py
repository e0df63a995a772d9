"""Reports: every verdict arrives in every format, and no text of the target breaks one."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from omega_ai.testkit.report.comparing import compare, interval, merge
from omega_ai.testkit.report.html import page
from omega_ai.testkit.report.machines import hgrm, junit, prometheus
from omega_ai.testkit.report.terminal import show
from omega_ai.testkit.report.writing import Destinations, ReportError, write_reports
from omega_ai.testkit.result import (
    Distribution,
    FaultWindow,
    Finding,
    RunResult,
    Severity,
    ThresholdResult,
    TimeSeries,
)
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.testkit.results import case, run

NASTY = "</script><img src=x onerror=alert(1)> \x00\x1b[31m &amp; ]]>"


@pytest.fixture
def result() -> RunResult:
    """A bit of everything."""
    finding = Finding(kind="lost", text=NASTY, fault="pause")
    warning = Finding(kind="origin", text="any page", severity=Severity.WARNING)
    return run(
        case("messages.echo", Verdict.PASS, findings=(warning,)),
        case("messages.burst", Verdict.FAIL, finding=NASTY, findings=(finding,)),
        case("security.flood", Verdict.UNKNOWN),
        case("tls.versions", Verdict.UNKNOWN, skipped="no wss"),
        histograms={
            "latency": Distribution.of([1_000_000, 2_000_000, 9_000_000]),
            "sizes": Distribution.of([5], "bytes"),
        },
        series=(TimeSeries(name="rate", unit="1/s", points=((0.0, 1.0), (1.0, 2.0))),),
        fault_windows=(FaultWindow(name="<pause>", start_s=0.2, end_s=0.5),),
        thresholds=(ThresholdResult(expression="lost == 0", verdict=Verdict.FAIL, observed="3"),),
    )


def test_junit_has_every_verdict(result: RunResult) -> None:
    """Failures and errors are told apart; an unknown is no pass; a threshold is a case."""
    root = ET.fromstring(junit(result))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "2",
        "errors": "1",
        "skipped": "1",
    }
    failure = root.find(".//testcase[@name='burst']/failure")
    assert failure is not None
    assert "omega test --case messages.burst" in (failure.text or "")
    assert "1.500 ms" in (root.findtext(".//testcase[@name='burst']/system-out") or "")


def test_junit_names_the_faults(result: RunResult) -> None:
    """When each was, and which a finding is laid to."""
    root = ET.fromstring(junit(result))
    facts = {node.get("name"): node.get("value") for node in root.iter("property")}
    assert facts["fault <pause>"] == "0.200 to 0.500 s"
    failure = root.find(".//testcase[@name='burst']/failure")
    assert failure is not None
    assert "(during the fault pause)" in (failure.text or "")


def test_the_page_draws_the_faults_and_lists_them(result: RunResult) -> None:
    """Shaded and named over all that goes by time."""
    text = page(result)
    plots = json.loads(text.partition("const plots=")[2].partition(";//")[0].partition(";\n")[0])
    (over_time,) = [plot for plot in plots if "shapes" in plot["layout"]]
    assert [(item["x0"], item["x1"]) for item in over_time["layout"]["shapes"]] == [(0.2, 0.5)]
    assert [item["text"] for item in over_time["layout"]["annotations"]] == ["&lt;pause&gt;"]
    assert "<h2>Faults</h2>" in text
    assert "<td>&lt;pause&gt;</td><td>0.2 s</td><td>0.5 s</td>" in text


def test_names_of_faults_do_not_cover_each_other() -> None:
    """Those that begin together stand in rows."""
    faults = tuple(FaultWindow(name=f"fault {at}", start_s=at, end_s=at + 1) for at in (1.0, 1.5, 2.0, 60.0))
    series = TimeSeries(name="rate", unit="1/s", points=((0.0, 1.0), (100.0, 2.0)))
    text = page(run(case("a.x", Verdict.PASS), series=(series,), fault_windows=faults))
    assert [
        json.loads(text.partition(f'"text": "{name.name}"')[2].partition('"yshift": ')[2].partition("}")[0])
        for name in faults
    ] == [0, 11, 22, 0]


def test_an_invalid_run_is_an_error_in_junit() -> None:
    """Or CI would call it green."""
    root = ET.fromstring(junit(run(case("a.x", Verdict.PASS), invalid=("the generator was too slow",))))
    assert root.get("errors") == "1"


def test_prometheus_text_is_read_by_prometheus(result: RunResult) -> None:
    """Verdict, cases and percentiles."""
    samples = {
        (
            sample.name,
            sample.labels.get("verdict"),
            sample.labels.get("case"),
            sample.labels.get("quantile"),
        ): sample.value
        for family in text_string_to_metric_families(prometheus(result))
        for sample in family.samples
    }
    assert samples["omega_test_verdict", "fail", None, None] == 1
    assert samples["omega_test_verdict", "pass", None, None] == 0
    assert samples["omega_test_case_verdict", "unknown", "security.flood", None] == 1
    assert samples["omega_test_time_seconds", None, None, "0.5"] == 0.002


def test_hgrm_ends_at_the_maximum_and_counts_all() -> None:
    """Values rise, percentiles rise, nothing is beyond what was seen."""
    rng = random.Random(5)
    seen = [rng.randrange(1, 10**9) for _ in range(5000)]
    lines = hgrm(Distribution.of(seen)).splitlines()
    rows = [[float(part) for part in line.split()[:3]] for line in lines[2:-3]]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert rows[-1][1:] == [1.0, 5000]
    assert rows[-1][0] == pytest.approx(max(seen) / 1e6, abs=1e-6)
    assert "Total count    =         5000" in lines[-2]
    assert hgrm(Distribution.of([3])).count("\n") > 3


def test_the_page_escapes_whatever_the_target_said(result: RunResult) -> None:
    """And loads nothing from anywhere."""
    text = page(result)
    before, _, after = text.partition("<script>")
    assert "<img" not in before
    assert "<img" not in after.rpartition("const plots=")[2]
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert 'src="http' not in text
    assert "messages.burst" in text
    assert text.count('<details class="case fail"') == 1


def test_a_page_without_figures_carries_no_library() -> None:
    """Megabytes for nothing."""
    assert len(page(run(case("a.x", Verdict.PASS)))) < 20_000


def test_the_terminal_says_what_is_wrong_and_how_to_see_it_again(result: RunResult) -> None:
    """And lists what was skipped with its reason."""
    output = io.StringIO()
    show(result, Console(width=120, file=output))
    text = output.getvalue()
    assert "\x1b" not in text, "what a server says may not steer the terminal"
    for words in (
        "omega test --case messages.burst",
        "Skipped, because no wss",
        "Verdict: FAIL",
        "warning: any page",
    ):
        assert words in text


def test_every_kind_of_report_is_written(result: RunResult, tmp_path: Path) -> None:
    """Into one directory that is made if need be."""
    wanted = Destinations(directory=tmp_path / "new", junit=tmp_path / "j.xml", json=str(tmp_path / "r.json"))
    wanted.check()
    clean = run(*[item for item in result.cases if NASTY not in item.finding], histograms=result.histograms)
    names = {path.name for path in write_reports(clean, wanted)}
    assert names == {
        "j.xml",
        "r.json",
        "result.json",
        "junit.xml",
        "metrics.prom",
        "latency.hgrm",
        "sizes.hgrm",
        "report.html",
    }
    assert RunResult.from_json((tmp_path / "r.json").read_bytes()) == clean


def test_a_destination_that_cannot_be_is_said_before_the_run(tmp_path: Path) -> None:
    """Not after an hour."""
    with pytest.raises(ReportError, match="no directory"):
        Destinations(junit=tmp_path / "absent" / "j.xml").check()
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be made"):
        Destinations(directory=tmp_path / "file" / "x").check()


def _latencies(seed: int, shift: float) -> Distribution:
    rng = random.Random(seed)
    return Distribution.of([round(rng.lognormvariate(0, 0.5) * 1e6 * shift) for _ in range(2000)])


def test_the_same_distribution_measured_twice_is_no_change() -> None:
    """In none of twenty pairs."""
    for seed in range(20):
        one = run(case("a.x", Verdict.PASS), histograms={"latency": _latencies(seed, 1.0)})
        two = run(case("a.x", Verdict.PASS), histograms={"latency": _latencies(seed + 1000, 1.0)})
        assert compare(one, two).verdict is Verdict.PASS


def test_a_third_slower_is_worse_and_the_reverse_is_better() -> None:
    """Beyond noise."""
    one = run(case("a.x", Verdict.PASS), histograms={"latency": _latencies(1, 1.0)})
    two = run(case("a.x", Verdict.PASS), histograms={"latency": _latencies(2, 1.33)})
    worse, better = compare(one, two), compare(two, one)
    assert worse.verdict is Verdict.FAIL
    assert {change.weight for change in better.changes} == {-1}


def test_a_percentile_of_too_few_values_is_not_compared() -> None:
    """p99.9 of 300 is the maximum, which is noise."""
    assert interval(Distribution.of(range(300)), 99.9) is None
    assert interval(Distribution.of(range(300)), 50) is not None


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (Verdict.PASS, Verdict.FAIL, Verdict.FAIL),
        (Verdict.PASS, Verdict.UNKNOWN, Verdict.FAIL),
        (Verdict.FAIL, Verdict.PASS, Verdict.PASS),
        (Verdict.FAIL, Verdict.FAIL, Verdict.PASS),
    ],
)
def test_cases_are_compared_by_their_verdicts(before: Verdict, after: Verdict, verdict: Verdict) -> None:
    """What failed before and fails still has not become worse."""
    assert compare(run(case("a.x", before)), run(case("a.x", after))).verdict is verdict


def test_with_nothing_in_common_the_comparison_is_unknown() -> None:
    """Not a pass."""
    assert compare(run(case("a.x", Verdict.PASS)), run(case("b.y", Verdict.PASS))).verdict is Verdict.UNKNOWN


def test_merging_takes_the_worst_verdict_and_adds_the_histograms() -> None:
    """Of any number of machines."""
    one = run(case("a.x", Verdict.PASS), histograms={"latency": Distribution.of([1, 2])})
    two = run(case("a.x", Verdict.FAIL), histograms={"latency": Distribution.of([3])})
    merged = merge([one, two])
    assert merged.verdict is Verdict.FAIL
    assert merged.histograms["latency"].buckets == ((1, 1), (2, 1), (3, 1))
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])
