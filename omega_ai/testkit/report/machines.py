"""Reports for machines: JUnit for CI, Prometheus text for a collector, ``.hgrm`` for HdrHistogram's tools."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.etree import ElementTree as ET

from omega_ai.testkit.result import CaseResult, Distribution, RunResult, WireLine
from omega_ai.testkit.verdict import Verdict

# What XML 1.0 cannot hold, escaped or not (section 2.2).
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TICKS_PER_HALF: Final = 5
"""Lines of a ``.hgrm`` for each halving of what is left to 100 %."""


def junit(result: RunResult) -> bytes:
    """JUnit XML: a failure for each case that failed, an error for each that is unknown."""
    root = ET.Element("testsuites", name="omega test", time=f"{result.duration_s:.3f}")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for suite in result.suites:
        node = ET.SubElement(root, "testsuite", name=suite.name, time=f"{suite.duration_s:.3f}")
        node.set("timestamp", result.started[:19])
        properties = ET.SubElement(node, "properties")
        facts = {"url": result.target.url, "profile": result.target.profile, "seed": str(result.seed)}
        for window in result.fault_windows:
            said = f"{window.start_s:.3f} to {window.end_s:.3f} s"
            facts[f"fault {window.name}"] = f"{said}: {window.description}" if window.description else said
        for name, value in facts.items():
            ET.SubElement(properties, "property", name=_xml(name), value=_xml(value))
        counts = dict.fromkeys(totals, 0)
        for case in suite.cases:
            counts["tests"] += 1
            kind = _junit_case(node, case)
            if kind is not None:
                counts[kind] += 1
        for name, count in counts.items():
            node.set(name, str(count))
            totals[name] += count
    for number, threshold in enumerate(result.thresholds):
        if number == 0:
            node = ET.SubElement(root, "testsuite", name="thresholds")
        case_node = ET.SubElement(
            node, "testcase", classname="thresholds", name=_xml(f"{threshold.expression} ({threshold.where})")
        )
        totals["tests"] += 1
        if threshold.verdict is not Verdict.PASS:
            tag = "failure" if threshold.verdict is Verdict.FAIL else "error"
            totals[f"{tag}s"] += 1
            ET.SubElement(case_node, tag, message=_xml(f"observed {threshold.observed}"))
    if result.invalid:
        node = ET.SubElement(root, "testsuite", name="run", tests="1", errors="1")
        case_node = ET.SubElement(node, "testcase", classname="run", name="valid")
        ET.SubElement(case_node, "error", message=_xml("; ".join(result.invalid)), type="invalid")
        totals["tests"] += 1
        totals["errors"] += 1
    for name, count in totals.items():
        root.set(name, str(count))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _junit_case(parent: ET.Element, case: CaseResult) -> str | None:
    """Add a case; which count it belongs to besides ``tests``."""
    name = case.id.partition(".")[2] or case.id
    node = ET.SubElement(
        parent, "testcase", classname=case.suite, name=_xml(name), time=f"{case.duration_s:.3f}"
    )
    if case.skipped is not None:
        ET.SubElement(node, "skipped", message=_xml(case.skipped))
        return "skipped"
    if case.verdict is Verdict.PASS:
        return None
    tag = "failure" if case.verdict is Verdict.FAIL else "error"
    problem = ET.SubElement(node, tag, message=_xml(case.finding), type=case.verdict.value)
    lines = [case.title, f"expected: {case.expectation}", f"seen: {case.finding}"]
    if case.spec:
        lines.append(f"by: {case.spec}")
    lines += [
        f"{finding.severity}: {finding.text}"
        + (f" (during the fault {finding.fault})" if finding.fault is not None else "")
        for finding in case.findings
    ]
    lines.append(f"again: {case.reproduce}")
    problem.text = _xml("\n".join(lines))
    ET.SubElement(node, "system-out").text = _xml("\n".join(map(wire_text, case.evidence)))
    return f"{tag}s"


def wire_text(line: WireLine) -> str:
    """A line of a wire log as text."""
    arrow = {"sent": "->", "received": "<-"}.get(line.direction, "--")
    size = f" {line.size}" if line.direction != "event" else ""
    return f"{line.at_ns / 1e6:12.3f} ms  {line.client:<20} {arrow} {line.kind}{size}  {line.data}".rstrip()


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def prometheus(result: RunResult) -> str:
    """The text format of Prometheus (for its textfile collector): verdicts, durations, percentiles."""
    lines = [
        "# HELP omega_test_verdict 1 for the verdict of the run, 0 for the others.",
        "# TYPE omega_test_verdict gauge",
    ]
    target = f'url="{_label(result.target.url)}"'
    lines += [
        f'omega_test_verdict{{{target},verdict="{verdict}"}} {int(verdict is result.verdict)}'
        for verdict in Verdict
    ]
    lines += [
        "# HELP omega_test_duration_seconds How long the run took.",
        "# TYPE omega_test_duration_seconds gauge",
        f"omega_test_duration_seconds{{{target}}} {result.duration_s:.6f}",
        "# HELP omega_test_case_verdict 1 for the verdict of the case.",
        "# TYPE omega_test_case_verdict gauge",
    ]
    put = [case for case in result.cases if case.skipped is None]
    lines += [
        f'omega_test_case_verdict{{{target},case="{_label(case.id)}",verdict="{case.verdict}"}} 1'
        for case in put
    ]
    lines += [
        "# HELP omega_test_case_duration_seconds How long the case took.",
        "# TYPE omega_test_case_duration_seconds gauge",
    ]
    lines += [
        f'omega_test_case_duration_seconds{{{target},case="{_label(case.id)}"}} {case.duration_s:.6f}'
        for case in put
    ]
    lines += _summaries(result, target)
    return "\n".join(lines) + "\n"


def _summaries(result: RunResult, target: str) -> Iterable[str]:
    timed = {name: item for name, item in sorted(result.histograms.items()) if item.unit == "ns"}
    if timed:
        yield "# HELP omega_test_time_seconds Times that were measured, by name."
        yield "# TYPE omega_test_time_seconds summary"
    for name, item in timed.items():
        labels = f'{target},name="{_label(name)}"'
        for percent in (50, 90, 99, 99.9):
            value = item.percentile(percent) / 1e9
            yield f'omega_test_time_seconds{{{labels},quantile="{percent / 100:g}"}} {value:.9f}'
        yield f"omega_test_time_seconds_sum{{{labels}}} {item.mean * item.count / 1e9:.9f}"
        yield f"omega_test_time_seconds_count{{{labels}}} {item.count}"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def hgrm(distribution: Distribution) -> str:
    """A percentile distribution as HdrHistogram writes it; times in milliseconds, other units as they are."""
    scale = 1e6 if distribution.unit == "ns" else 1.0
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    cumulative = 0
    counts: list[tuple[int, int]] = []
    for value, times in distribution.buckets:
        cumulative += times
        counts.append((value, cumulative))
    place = 0
    for percent in _ticks(distribution.count):
        wanted = max(1, -(-percent * distribution.count // 100))
        while counts[place][1] < wanted:
            place += 1
        value, seen = counts[place]
        left = f"{1 / (1 - percent / 100):14.2f}" if percent < 100 else ""
        shown = min(value, distribution.maximum) / scale
        lines.append(f"{shown:12.6f} {percent / 100:2.12f} {seen:10d} {left}".rstrip())
    mean = distribution.mean
    squares = sum(times * (value - mean) ** 2 for value, times in distribution.buckets)
    deviation = (squares / distribution.count) ** 0.5
    lines += [
        f"#[Mean    = {mean / scale:12.6f}, StdDeviation   = {deviation / scale:12.6f}]",
        f"#[Max     = {distribution.maximum / scale:12.6f}, Total count    = {distribution.count:12d}]",
        f"#[Buckets = {len(distribution.buckets):12d}, SubBuckets     = {1:12d}]",
    ]
    return "\n".join(lines) + "\n"


def _ticks(count: int) -> Iterable[float]:
    """Percentiles, closer together towards 100, as far as ``count`` values tell them apart."""
    percent, step = 0.0, 50.0 / _TICKS_PER_HALF
    left = 100.0
    while left > 100.0 / count / 2:
        for _ in range(_TICKS_PER_HALF):
            yield percent
            percent += step
        left /= 2
        step /= 2
    yield 100.0
