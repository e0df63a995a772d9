"""What a load run proves, as cases: delivery, connections, and after a soak, that nothing grows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from omega_ai.testkit.load.blame import Blame, Share
from omega_ai.testkit.load.curves import p99_series
from omega_ai.testkit.load.drift import Drift, judge_drift
from omega_ai.testkit.load.quantities import Dimension, shown
from omega_ai.testkit.load.tally import Delivery, Tally
from omega_ai.testkit.result import CaseResult, Finding, Severity
from omega_ai.testkit.verdict import Verdict

if TYPE_CHECKING:
    from omega_ai.testkit.load.record import LoadRecord

SUITE: Final = "load"
GROWING: Final = ("rss", "descriptors", "p99")
"""What a soak's verdict is on."""
WARM_UP: Final = 0.2
"""Share of a soak that is left out of its verdict, if nothing else was said."""
_SLOPES: Final = {"B": Dimension.BYTE_RATE, "ns": Dimension.TIME_RATE}


def delivered(record: LoadRecord) -> CaseResult:
    """Whether every message came once, whole, in order."""
    delivery = record.tally.delivery()
    kinds = {
        "lost": Severity.FAILURE,
        "duplicated": Severity.FAILURE,
        "reordered": Severity.FAILURE,
        "corrupted": Severity.FAILURE,
        "unexpected": Severity.FAILURE,
        "unknown": Severity.UNKNOWN,
    }
    whole = record.plan.shards == 1
    if not whole:
        kinds["lost"] = Severity.UNKNOWN
    blame = Blame(record.plan, record.tally)
    found = [
        _finding(record.tally, kind, share, severity, delivery)
        for kind, severity in kinds.items()
        if (count := getattr(delivery, kind))
        for share in blame.of(kind, count)
    ]
    unsent = record.tally.total.counts.unsent
    if unsent:  # that they were refused, and why, is for the other case to say
        text = f"{many(unsent, 'message')} could not be sent, as their clients had no connection"
        found.append(Finding(kind="unsent", text=text, severity=Severity.NOTE, count=unsent))
    text = f"{delivery.delivered} of {delivery.due} messages came"
    if not whole:
        text += "; what others lost shows when the shards are joined (omega report merge)"
    figures: dict[str, float] = {"messages": float(delivery.due), "delivered": float(delivery.delivered)}
    latency = record.tally.total.latency
    if latency:
        for percent in (50, 99):
            figures[f"latency_p{percent}_ms"] = (latency.percentile(percent) or 0) / 1e6
    return made_case(
        "delivery",
        "Every message comes once, whole and in order",
        "each message that was sent comes to everybody for whom it is, once, whole, in order",
        text,
        found,
        examined=delivery.due,
        figures=figures,
    )


def _finding(tally: Tally, kind: str, share: Share, severity: Severity, delivery: Delivery) -> Finding:
    offenders = [item for item in tally.offenders if item.kind == kind][:5]
    text = f"{share.times} of {many(delivery.due, 'message')} {kind}"
    if kind == "unknown":
        text = f"{many(share.times, 'message')} on the way when a connection ended"
    example = tally.examples.get(kind)
    if example:
        text += f", the first: {example}"
    return _laid(kind, text, share, severity, tuple(item.client for item in offenders))


def _laid(
    kind: str,
    text: str,
    share: Share,
    severity: Severity = Severity.FAILURE,
    clients: tuple[str, ...] = (),
) -> Finding:
    """What a fault explains is no fault of the server's."""
    return Finding(
        kind=kind,
        text=text,
        severity=Severity.NOTE if share.explained else severity,
        count=share.times,
        clients=clients,
        fault=share.fault,
    )


def connected(record: LoadRecord) -> CaseResult:
    """Whether everybody got in, and stayed."""
    total = record.tally.total
    counts = total.counts
    blame = Blame(record.plan, record.tally)
    found = [
        _laid("refused", f"{many(share.times, 'connection')} did not come about: {kind}", share)
        for kind, times in sorted(total.errors.items(), key=lambda item: -item[1])[:10]
        for share in blame.errors(kind, times)
    ]
    found += [
        _laid(
            "closed",
            f"{many(share.times, 'connection')} ended by the server: "
            + ("without a close frame" if code == 1006 else f"close code {code}"),
            share,
        )
        for code, times in sorted(total.closes.items(), key=lambda item: -item[1])[:10]
        for share in blame.closes(code, times)
    ]
    figures = {"connections": float(counts.connected)}
    connect = total.connect.percentile(99)
    if connect is not None:
        figures["connect_p99_ms"] = connect / 1e6
    return made_case(
        "connections",
        "Everybody gets in, and stays",
        "every connection comes about, and none ends that was not closed by its client",
        f"{counts.connected} of {counts.connects_intended} connections came about",
        found,
        examined=counts.connects_intended,
        figures=figures,
    )


def drifts(record: LoadRecord) -> list[Drift]:
    """What became of memory, descriptors and latency."""
    watched = {item.name: item for item in record.series}
    watched["p99"] = p99_series(record.tally)
    return [
        judge_drift(series, warm_up_s=record.warm_up_s)
        for name in GROWING
        if (series := watched.get(name)) is not None
    ]


def drift_text(drift: Drift) -> str:
    """One sentence."""
    name = {"p99": "the 99th percentile of latency"}.get(drift.name, drift.name)
    if drift.slope is None:
        return f"{name}: {drift.why}"
    dimension = _SLOPES.get(drift.unit, Dimension.COUNT_RATE)
    slope, low, high = (
        shown(value, dimension) for value in (drift.slope.estimate, drift.slope.low, drift.slope.high)
    )
    bounds = f"99 % sure: {low} to {high}"
    if drift.trend == "grows":
        return f"{name} grows by {slope} ({bounds}): {drift.why}"
    remark = f"; {drift.why}" if drift.slope.low > 0 else ""
    return f"{name} is steady ({slope}; {bounds}{remark})"


def grown(record: LoadRecord, *, memory: bool = True) -> CaseResult:
    """The verdict of a soak. ``memory``: it is open if that was not seen."""
    judged = drifts(record)
    found = [
        Finding(
            kind="growth" if drift.trend == "grows" else "unknown",
            text=drift_text(drift),
            severity=Severity.FAILURE if drift.trend == "grows" else Severity.UNKNOWN,
        )
        for drift in judged
        if drift.trend != "steady"
    ]
    if memory and not any(drift.name == "rss" for drift in judged):
        why = record.absent.get("rss", "no --server-pid and no --server-metrics was given")
        found.append(Finding(kind="unknown", text=f"memory was not seen: {why}", severity=Severity.UNKNOWN))
    steady = [drift_text(drift) for drift in judged if drift.trend == "steady"]
    return made_case(
        "growth",
        "Nothing grows for ever",
        "memory, descriptors and latency are at the end what they were after the warm-up",
        "; ".join(steady) or "nothing is known to be steady",
        found,
        examined=len(judged),
    )


def made_case(
    name: str,
    title: str,
    expectation: str,
    text: str,
    found: Iterable[Finding],
    *,
    examined: int,
    figures: dict[str, float] | None = None,
) -> CaseResult:
    """A case of a load run: failed, open or passed by its findings; open if nothing was examined."""
    findings = tuple(found)
    severities = {finding.severity for finding in findings}
    verdict = Verdict.PASS if examined else Verdict.UNKNOWN
    if Severity.FAILURE in severities:
        verdict = Verdict.FAIL
    elif Severity.UNKNOWN in severities:
        verdict = Verdict.UNKNOWN
    worst = [item.text for item in findings if item.severity in (Severity.FAILURE, Severity.UNKNOWN)]
    return CaseResult(
        id=f"{SUITE}.{name}",
        suite=SUITE,
        title=title,
        verdict=verdict,
        expectation=expectation,
        finding="; ".join([text, *worst[:3]]),
        findings=findings,
        figures={} if figures is None else figures,
    )


def many(count: int, what: str) -> str:
    """``1 message``, ``2 messages``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
