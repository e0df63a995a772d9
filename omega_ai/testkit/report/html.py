"""One HTML file that holds everything: verdicts, findings, wire logs, plots. It loads nothing."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

from omega_ai.testkit.report.machines import wire_text
from omega_ai.testkit.result import CaseResult, Distribution, RunResult, SuiteResult
from omega_ai.testkit.verdict import Verdict

PLOT_POINTS: Final = 400
"""Points of a curve; more cannot be seen."""
LABEL: Final = 0.007
"""Width of a letter of a fault's name, as a share of the plot's."""
LABEL_ROWS: Final = 3
WARNINGS: Final = 20
"""That are listed at the top."""
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9, 100.0)
_OVER_TIME: Final = {
    "ms": "Latency over time",
    "messages/s": "Throughput",
    "connections": "Connections",
    "cores": "Processor time",
    "B": "Memory",
    "open": "Descriptors",
    "threads": "Threads",
    "processes": "Processes",
}
"""Titles of what a load run makes, by unit."""
_LABELS: Final = {Verdict.PASS: "pass", Verdict.FAIL: "FAIL", Verdict.UNKNOWN: "unknown"}


def page(result: RunResult) -> str:
    """The whole page."""
    verdict = result.verdict
    plots = _plots(result)
    title = f"{_LABELS[verdict]}: {result.target.url}"
    body = [
        f'<header class="{verdict}">',
        f'<h1><span class="badge">{_LABELS[verdict]}</span> {_t(result.target.url)}</h1>',
        f"<p>{_t(_sentence(result))}</p></header><main>",
        _overview(result),
        _invalid(result),
        _wrong(result),
        _better(result),
        *(_suite(suite) for suite in result.suites),
        _thresholds(result),
        _faults(result),
        _histograms(result.histograms),
        *(f'<div class="plot" id="plot{number}"></div>' for number in range(len(plots))),
        _facts(result),
        "</main>",
    ]
    scripts = _scripts(plots) if plots else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_t(title)}</title><style>{_static('report.css')}</style></head>\n<body>"
        + "\n".join(part for part in body if part)
        + f"{scripts}</body></html>\n"
    )


def _t(text: object) -> str:
    return html.escape(str(text))


def _sentence(result: RunResult) -> str:
    put = [case for case in result.cases if case.skipped is None]
    counts = {verdict: sum(case.verdict is verdict for case in put) for verdict in Verdict}
    skipped = len(result.cases) - len(put)
    return (
        f"passed {counts[Verdict.PASS]}, failed {counts[Verdict.FAIL]}, unknown {counts[Verdict.UNKNOWN]}, "
        f"skipped {skipped}; {result.duration_s:.1f} s, "
        f"{result.started[:19].replace('T', ' ')} UTC, profile {result.target.profile}, seed {result.seed}"
    )


def _overview(result: RunResult) -> str:
    rows = []
    for suite in result.suites:
        put = [case for case in suite.cases if case.skipped is None]
        cells = "".join(
            f'<td class="{verdict if count else ""}">{count}</td>'
            for verdict in Verdict
            for count in [sum(case.verdict is verdict for case in put)]
        )
        skipped = len(suite.cases) - len(put)
        rows.append(
            f'<tr><td><a href="#{_t(suite.name)}">{_t(suite.name)}</a></td>{cells}<td>{skipped}</td>'
            f"<td>{suite.duration_s:.1f} s</td></tr>"
        )
    head = "<tr><th>suite</th><th>pass</th><th>fail</th><th>unknown</th><th>skipped</th><th>time</th></tr>"
    return f'<table class="overview">{head}{"".join(rows)}</table>'


def _invalid(result: RunResult) -> str:
    return "".join(
        f'<p class="notice">This run proves nothing: {_t(reason)}</p>' for reason in result.invalid
    )


def _wrong(result: RunResult) -> str:
    wrong = [case for case in result.cases if case.skipped is None and case.verdict is not Verdict.PASS]
    if not wrong:
        return ""
    items = "".join(
        f'<li><a href="#{_t(case.id)}"><span class="badge {case.verdict}">{_LABELS[case.verdict]}</span> '
        f"{_t(case.title)}</a>: {_t(case.finding)}</li>"
        for case in sorted(wrong, key=lambda case: case.verdict is not Verdict.FAIL)
    )
    return f"<h2>What is wrong, or open</h2><ul class='wrong'>{items}</ul>"


def _better(result: RunResult) -> str:
    """Warnings, so that nobody has to look for them among all cases."""
    warned = [(case, finding) for case in result.cases if case.skipped is None for finding in case.warnings]
    if not warned:
        return ""
    items = "".join(
        f'<li><a href="#{_t(case.id)}">{_t(case.title)}</a>: {_t(finding.text)}</li>'
        for case, finding in warned[:WARNINGS]
    )
    more = len(warned) - WARNINGS
    items += f"<li>and {more} more, at their cases</li>" if more > 0 else ""
    return f"<h2>Allowed, and better otherwise</h2><ul>{items}</ul>"


def _suite(suite: SuiteResult) -> str:
    cases = "".join(_case(case) for case in suite.cases if case.skipped is None)
    cases += _skipped([case for case in suite.cases if case.skipped is not None])
    return (
        f'<section id="{_t(suite.name)}"><h2>{_t(suite.name)}</h2><p>{_t(suite.title)}</p>{cases}</section>'
    )


def _skipped(cases: list[CaseResult]) -> str:
    """Those that were not put to the target, by the reason: they take one line until they are asked for."""
    if not cases:
        return ""
    reasons: dict[str, list[CaseResult]] = {}
    for case in cases:
        reasons.setdefault(case.skipped or "", []).append(case)
    items = "".join(
        f"<li>{_t(reason)}: {', '.join(_t(case.id.partition('.')[2]) for case in group)}</li>"
        for reason, group in reasons.items()
    )
    count = f"{len(cases)} case{'s' if len(cases) > 1 else ''} not put to it"
    badge = '<span class="badge skipped">skipped</span>'
    return f'<details class="case skipped"><summary>{badge} {count}</summary><ul>{items}</ul></details>'


def _case(case: CaseResult) -> str:
    label, style = _LABELS[case.verdict], str(case.verdict)
    opened = " open" if case.verdict is not Verdict.PASS else ""
    rows = [("expected", case.expectation), ("seen", case.finding), ("by", case.spec)]
    if case.figures:
        rows.append(("figures", ", ".join(f"{name} {value:g}" for name, value in case.figures.items())))
    facts = "".join(f"<dt>{_t(name)}</dt><dd>{_t(text)}</dd>" for name, text in rows if text)
    if case.reproduce:
        facts += f"<dt>again</dt><dd><code>{_t(case.reproduce)}</code></dd>"
    if case.reproducer is not None:
        name, text = case.reproducer
        facts += f"<dt>as a test</dt><dd>{_t(name)}<pre>{_t(text)}</pre></dd>"
    findings = "".join(
        f'<li class="{finding.severity}"><b>{_t(finding.severity)}</b> {_t(finding.text)}'
        + (f" <i>(during the fault {_t(finding.fault)})</i>" if finding.fault else "")
        + _wire("frames", finding.evidence)
        + "</li>"
        for finding in case.findings
    )
    warned = ' <span class="badge warning">warning</span>' if case.warnings else ""
    badge = f'<span class="badge {style}">{label}</span>'
    return (
        f'<details class="case {style}" id="{_t(case.id)}"{opened}><summary>{badge} '
        f"{_t(case.title)}{warned} <small>{_t(case.id)}, {case.duration_s:.2f} s</small></summary>"
        f"<dl>{facts}</dl>"
        + (f"<ul>{findings}</ul>" if findings else "")
        + _wire("wire log", case.evidence)
        + "</details>"
    )


def _wire(title: str, lines: Iterable[Any]) -> str:
    text = "\n".join(wire_text(line) for line in lines)
    return f"<details class='wire'><summary>{title}</summary><pre>{_t(text)}</pre></details>" if text else ""


def _thresholds(result: RunResult) -> str:
    if not result.thresholds:
        return ""
    rows = "".join(
        f'<tr><td><span class="badge {item.verdict}">{_LABELS[item.verdict]}</span></td>'
        f"<td><code>{_t(item.expression)}</code></td><td>{_t(item.observed)}</td><td>{_t(item.where)}</td></tr>"
        for item in result.thresholds
    )
    head = "<tr><th></th><th>bound</th><th>observed</th><th>where</th></tr>"
    return f"<h2>Thresholds</h2><table>{head}{rows}</table>"


def _faults(result: RunResult) -> str:
    if not result.fault_windows:
        return ""
    rows = "".join(
        f"<tr><td>{_t(window.name)}</td><td>{window.start_s:.1f} s</td><td>{window.end_s:.1f} s</td>"
        f'<td class="text">{_t(window.description)}</td></tr>'
        for window in result.fault_windows
    )
    head = '<tr><th>fault</th><th>from</th><th>to</th><th class="text">what</th></tr>'
    return f"<h2>Faults</h2><table>{head}{rows}</table>"


def _histograms(histograms: dict[str, Distribution]) -> str:
    if not histograms:
        return ""
    heads = "".join(f"<th>{'max' if percent == 100 else f'p{percent:g}'}</th>" for percent in PERCENTILES)
    rows = []
    for name, item in sorted(histograms.items()):
        cells = "".join(f"<td>{_value(item.percentile(percent), item.unit)}</td>" for percent in PERCENTILES)
        mean = _value(item.mean, item.unit)
        rows.append(f"<tr><td>{_t(name)}</td><td>{item.count}</td><td>{mean}</td>{cells}</tr>")
    head = f"<tr><th>what</th><th>count</th><th>mean</th>{heads}</tr>"
    return f"<h2>Times</h2><table>{head}{''.join(rows)}</table>"


def _value(value: float, unit: str) -> str:
    return f"{value / 1e6:.3f} ms" if unit == "ns" else f"{value:g} {_t(unit)}"


def _facts(result: RunResult) -> str:
    target = result.target
    items = [f"It {fact}." for fact in target.facts] + [f"Not checked: {limit}." for limit in target.limits]
    if target.server:
        items.insert(0, f"It calls itself {target.server}.")
    items += [f"{name} {version}" for name, version in result.versions.items()]
    listed = "".join(f"<li>{_t(item)}</li>" for item in items)
    again = f"<p>Again: <code>{_t(result.command)}</code></p>" if result.command else ""
    return f"<h2>About the target and the run</h2><ul>{listed}</ul>{again}"


def _plots(result: RunResult) -> list[dict[str, Any]]:
    """Figures as Plotly takes them: percentile curves of all times; every series with the fault windows."""
    plots = []
    curves = [
        {"name": name, "mode": "lines", "line": {"shape": "hv"}, **_curve(item)}
        for name, item in sorted(result.histograms.items())
        if item.unit == "ns" and item.count > 1
    ]
    if curves:
        axis: dict[str, Any] = {
            "title": {"text": "share of messages"},
            "type": "log",
            "autorange": "reversed",
        }
        axis |= {"tickvals": [1, 0.1, 0.01, 0.001, 0.0001, 1e-5]}
        axis |= {"ticktext": ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]}
        percentiles = {"title": {"text": "Percentiles"}, "xaxis": axis, "yaxis": {"title": {"text": "ms"}}}
        plots.append({"data": curves, "layout": percentiles})
    rows = _label_rows(result)
    by_unit: dict[str, list[Any]] = {}
    for series in result.series:
        by_unit.setdefault(series.unit, []).append(series)
    for unit, group in by_unit.items():
        data = [
            {
                "name": series.name,
                "mode": "lines",
                "x": [point[0] for point in series.points],
                "y": [point[1] for point in series.points],
            }
            for series in group
        ]
        layout: dict[str, Any] = {
            "title": {"text": _OVER_TIME.get(unit) or _common([series.name for series in group])},
            "xaxis": {"title": {"text": "s"}},
            "yaxis": {"title": {"text": unit}, "rangemode": "tozero"},
            "showlegend": True,
            "shapes": [
                {"type": "rect", "xref": "x", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}}
                | {"x0": window.start_s, "x1": window.end_s, "fillcolor": "rgba(200,60,40,0.15)"}
                for window in result.fault_windows
            ],
            "annotations": [
                {"x": window.start_s, "y": 1, "yref": "paper", "text": _t(window.name), "showarrow": False}
                | {"xanchor": "left", "yanchor": "bottom", "font": {"size": 10}, "yshift": 11 * row}
                for window, row in zip(result.fault_windows, rows, strict=True)
            ],
        }
        plots.append({"data": data, "layout": layout})
    return plots


def _label_rows(result: RunResult) -> list[int]:
    """In which row above the plot each fault is named, so that names do not cover each other."""
    points = [at for series in result.series for at, _ in series.points]
    width = LABEL * (max(points, default=0.0) - min(points, default=0.0))
    rows: list[int] = []
    free = [float("-inf")] * LABEL_ROWS
    """Where the last name of each row ends."""
    for window in result.fault_windows:
        row = next((row for row, end in enumerate(free) if end <= window.start_s), 0)
        free[row] = window.start_s + width * len(window.name)
        rows.append(row)
    return rows


def _common(names: list[str]) -> str:
    """The words after the colon, if all names end in the same; else the first names."""
    kinds = {name.rpartition(": ")[2] for name in names}
    if len(names) > 1 and len(kinds) == 1:
        return kinds.pop()
    return ", ".join(names[:4])


def _curve(item: Distribution) -> dict[str, list[float]]:
    x: list[float] = []
    y: list[float] = []
    seen = 0
    every = max(1, len(item.buckets) // PLOT_POINTS)
    for number, (value, times) in enumerate(item.buckets):
        left = (item.count - seen) / item.count
        seen += times
        # The upper tail is what matters, and there each value is kept.
        if number % every == 0 or left < 0.02:
            x.append(left)
            y.append(min(value, item.maximum) / 1e6)
    return {"x": x, "y": y}


def _scripts(plots: list[dict[str, Any]]) -> str:
    library = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    # "</" would end the script; in JSON it may be written otherwise.
    data = json.dumps(plots).replace("</", "<\\/")
    return f"<script>{library}</script><script>const plots={data};{_static('report.js')}</script>"


def _static(name: str) -> str:
    return (resources.files("omega_ai.testkit.report") / "static" / name).read_text(encoding="utf-8")
