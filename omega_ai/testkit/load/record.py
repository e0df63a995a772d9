"""A load run as a result of the test kit: cases, thresholds, histograms, curves. Pure.

``LoadRecord`` is everything that must be kept so that the parts of several machines can be joined and judged
again as one; ``result_parts`` is what is shown of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from omega_ai.core.hdr import decode_cells, encode_cells
from omega_ai.core.histogram import Histogram
from omega_ai.core.packing import PackingError
from omega_ai.testkit.load.cases import SUITE, connected, delivered, grown
from omega_ai.testkit.load.curves import curves, histograms, named, worth_showing
from omega_ai.testkit.load.fault_case import broken
from omega_ai.testkit.load.judging import judge_all
from omega_ai.testkit.load.measured import TIMES, cut, of_run, of_window
from omega_ai.testkit.load.plan import LoadPlan
from omega_ai.testkit.load.tally import HISTOGRAMS, Tally, Window, merge
from omega_ai.testkit.load.thresholds import parse_threshold
from omega_ai.testkit.load.validity import problems
from omega_ai.testkit.result import (
    Distribution,
    FaultWindow,
    SuiteResult,
    ThresholdResult,
    TimeSeries,
)
from omega_ai.testkit.verdict import Verdict


class JoinError(ValueError):
    """Parts that are not of one run; ``str(error)`` says why."""


class LoadRecord(Struct, frozen=True, kw_only=True):
    """A run, or one machine's part of it."""

    plan: LoadPlan
    """Without its token."""
    tally: Tally
    thresholds: tuple[str, ...] = ()
    series: tuple[TimeSeries, ...] = ()
    """The server's side: ``rss``, ``cpu`` ..."""
    absent: dict[str, str] = {}
    """Why a metric of the server could not be had."""
    warm_up_s: float = 0.0
    soak: bool = False

    @classmethod
    def of(
        cls, plan: LoadPlan, tally: Tally, *, series: Iterable[TimeSeries] = (), **more: Any
    ) -> LoadRecord:
        """Of a run that was done. A token is a secret, and stays out of files.

        What is seen of the server after the load has gone (``series``) is no part of the run.
        """
        end = min(plan.duration_s, tally.duration_s)
        return cls(
            plan=msgspec.structs.replace(plan, token=None),
            tally=tally,
            series=tuple(cut(item, 0.0, end) for item in series),
            **more,
        )

    def to_builtins(self) -> dict[str, Any]:
        """Plain dicts and lists, for JSON; histograms as short texts (``core.hdr``)."""
        plain: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        for window, shown in zip(_windows(self.tally), _plain_windows(plain), strict=True):
            shown |= {name: _packed(getattr(window, name)) for name in HISTOGRAMS}
        return plain

    @classmethod
    def from_builtins(cls, plain: object) -> LoadRecord:
        """What ``to_builtins`` gave, or an earlier version of it, in which histograms were not packed.

        Raises:
            JoinError: it is no record.
        """
        try:
            return msgspec.convert(_with_histograms(plain), cls, str_keys=True)
        except (msgspec.ValidationError, PackingError, KeyError, TypeError, ValueError) as error:
            raise JoinError(f"its load record cannot be read: {error}") from None


def _windows(tally: Tally) -> list[Window]:
    return [tally.total, *tally.windows]


def _plain_windows(plain: Any) -> list[dict[str, Any]]:
    tally = plain["tally"]
    return [tally["total"], *tally["windows"]]


def _packed(histogram: Histogram) -> dict[str, Any]:
    """What is not exact in HdrHistogram's form stands beside it."""
    if not histogram:
        return {}
    return {
        "hdr": encode_cells(histogram.cells),
        "total": histogram.total,
        "minimum": histogram.minimum,
        "maximum": histogram.maximum,
    }


def _unpacked(plain: Any) -> Any:
    if not isinstance(plain, dict) or "hdr" not in plain:
        return plain
    cells = decode_cells(plain["hdr"])
    return {
        "cells": cells,
        "count": sum(cells.values()),
        **{name: plain[name] for name in ("total", "minimum", "maximum")},
    }


def _with_histograms(plain: Any) -> Any:
    """A record as it was read, with its histograms unpacked; what was read stays as it is."""

    def window(shown: dict[str, Any]) -> dict[str, Any]:
        return {**shown, **{name: _unpacked(shown[name]) for name in HISTOGRAMS}}

    tally = plain["tally"]
    windows = [window(shown) for shown in tally["windows"]]
    return {**plain, "tally": {**tally, "total": window(tally["total"]), "windows": windows}}


class Parts(Struct, frozen=True, kw_only=True):
    """What a result is made of; see ``RunResult`` for what each is."""

    suite: SuiteResult
    thresholds: tuple[ThresholdResult, ...]
    histograms: dict[str, Distribution]
    series: tuple[TimeSeries, ...]
    fault_windows: tuple[FaultWindow, ...]
    invalid: tuple[str, ...]


def join(records: list[LoadRecord]) -> LoadRecord:
    """The parts of several machines as one run, exactly: messages are accounted for over all of them.

    Raises:
        JoinError: they are not the shards of one plan, or one is there twice or missing.
    """
    if not records:
        raise JoinError("there is nothing to join")
    first = records[0].plan
    plans = {
        msgspec.structs.replace(record.plan, shard=0, workers=1, sources=(), ca=None).to_json()
        for record in records
    }
    if len(plans) > 1:
        raise JoinError("they are not of one plan: the same scenario, options and --seed on every machine")
    shards = sorted(record.plan.shard for record in records)
    twice = sorted({shard for shard in shards if shards.count(shard) > 1})
    if twice:
        raise JoinError(f"shard {twice[0] + 1} of {first.shards} is there twice")
    missing = sorted(set(range(first.shards)) - set(shards))
    if missing:
        names = ", ".join(str(shard + 1) for shard in missing[:10])
        raise JoinError(f"of {first.shards} shards, these are missing: {names}")
    watching = [record for record in records if record.series] or records[:1]
    return msgspec.structs.replace(
        records[0],
        plan=msgspec.structs.replace(first, shard=0, shards=1),
        tally=merge([record.tally for record in records]),
        thresholds=tuple(dict.fromkeys(text for record in records for text in record.thresholds)),
        series=watching[0].series,
        absent=watching[0].absent,
    )


def result_parts(record: LoadRecord, *, reproduce: str = "") -> Parts:
    """Everything that is shown of a run, and judged of it."""
    plan, tally = record.plan, record.tally
    run = of_run(tally, series=record.series, absent=record.absent)
    windows = [of_window(window, series=record.series) for window in tally.windows]
    phases = [
        of_window(
            tally.between(phase.start_s, phase.start_s + phase.duration_s),
            f"phase {phase.name}",
            series=record.series,
            absent=record.absent,
        )
        for phase in plan.phases
    ]
    faults = [
        of_window(tally.during(fault), f"fault {fault.name}", series=record.series, absent=record.absent)
        for fault in tally.faults
    ]
    invalid = tuple(problems(plan, tally))
    whole = plan.shards == 1
    bounds = map(parse_threshold, record.thresholds)
    thresholds = judge_all(bounds, run, windows, phases, faults) if whole else []
    if invalid:
        thresholds = [_excused(item) for item in thresholds]
    cases = [delivered(record), connected(record)]
    if plan.faults:
        cases.append(broken(record))
    if record.soak:
        cases.append(grown(record))
    return Parts(
        suite=SuiteResult(
            name=SUITE,
            title=f"{plan.clients} clients for {plan.duration_s:g} s",
            cases=tuple(msgspec.structs.replace(case, reproduce=reproduce) for case in cases),
            duration_s=tally.duration_s,
        ),
        thresholds=tuple(thresholds),
        histograms=histograms(tally.total),
        series=(*curves(tally), *(named(item) for item in record.series if worth_showing(item))),
        fault_windows=tuple(tally.faults),
        invalid=invalid,
    )


def _excused(result: ThresholdResult) -> ThresholdResult:
    """A generator that was late makes the server look late: that accuses nobody. What is lost is lost."""
    metric = parse_threshold(result.expression).metric
    if result.verdict is not Verdict.FAIL or metric not in (*TIMES, "rate"):
        return result
    observed = f"{result.observed}, but the generator itself was late"
    return msgspec.structs.replace(result, verdict=Verdict.UNKNOWN, observed=observed)
