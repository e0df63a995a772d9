"""The newest result of ``omega test``, as far as the page shows it: a verdict, counts, and what failed.

The feed knows nothing of the testkit. It reads the few fields that it needs of ``result.json`` (formats 1 and
2), and takes whatever else stands there for granted.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

from omega_ai.data_feed.http.guard import json_response

RESULT = "result.json"
PAGE = "report.html"

MAX_BYTES = 64 << 20
"""Of a result or a report; a larger one is not read."""

FOLDERS_AT_MOST = 1000
"""Looked into for a result: each run may have a folder of its own."""

FAILED_AT_MOST = 20

_log = structlog.get_logger("omega.http")

Verdict = Literal["pass", "fail", "unknown"]


class _Case(Struct):
    id: str
    title: str
    verdict: Verdict
    finding: str = ""
    skipped: str | None = None


class _Suite(Struct):
    name: str
    cases: list[_Case] = []
    skipped: str | None = None


class _Threshold(Struct):
    expression: str
    verdict: Verdict
    observed: str = ""


class _Target(Struct):
    url: str


class _Result(Struct):
    target: _Target
    started: str
    format: Literal[1, 2]
    duration_s: float = 0.0
    suites: list[_Suite] = []
    thresholds: list[_Threshold] = []
    invalid: list[str] = []


_decode = msgspec.json.Decoder(_Result).decode


class _Found(NamedTuple):
    path: Path
    changed_ns: int
    size: int


class LastReport:
    """Shows the newest result in ``directory`` or in a folder of it; reads it once, until it changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: _Found | None = None
        self._summary: dict[str, Any] | None = None
        self._lock = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Path -> handler; GET and HEAD."""
        return [web.get("/api/report", self.summary), web.get("/report", self.page)]

    async def summary(self, _request: web.Request) -> web.Response:
        """The newest result in short; ``report`` is null when there is none."""
        async with self._lock:
            await asyncio.to_thread(self._look)
        return json_response({"report": self._summary, "directory": str(self._directory)})

    async def page(self, _request: web.Request) -> web.Response:
        """The report that was written beside the newest result.

        It shows what a server under test has sent. The browser runs it in a sandbox, as of no origin, so
        that nothing in it can read from here.
        """
        async with self._lock:
            await asyncio.to_thread(self._look)
        known = self._known
        body = None if known is None else await asyncio.to_thread(_read, known.path.with_name(PAGE))
        if body is None:
            raise web.HTTPNotFound
        policy = (
            "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; "
            "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return web.Response(
            body=body,
            content_type="text/html",
            charset="utf-8",
            headers={"Cache-Control": "no-store", "Content-Security-Policy": policy},
        )

    def _look(self) -> None:
        found = _newest(self._directory)
        if found == self._known:
            return
        self._known, self._summary = found, None
        body = None if found is None else _read(found.path)
        if found is None or body is None:
            return
        try:
            self._summary = _summary(_decode(body)) | {"page": found.path.with_name(PAGE).is_file()}
        except msgspec.DecodeError as error:
            _log.warning("result_not_read", path=str(found.path), error=str(error))


def _newest(directory: Path) -> _Found | None:
    found: list[_Found] = []
    try:
        folders = [entry for entry in sorted(directory.iterdir()) if entry.is_dir()][-FOLDERS_AT_MOST:]
    except OSError:
        return None
    for folder in (directory, *folders):
        path = folder / RESULT
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append(_Found(path, stat.st_mtime_ns, stat.st_size))
    return max(found, key=lambda each: each.changed_ns, default=None)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            body = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    return body if len(body) <= MAX_BYTES else None


def _summary(result: _Result) -> dict[str, Any]:
    run = [case for suite in result.suites for case in suite.cases if case.skipped is None]
    verdicts = [case.verdict for case in run] + [threshold.verdict for threshold in result.thresholds]
    counts = {verdict: verdicts.count(verdict) for verdict in ("pass", "fail", "unknown")}
    failed = [{"id": case.id, "text": case.finding or case.title} for case in run if case.verdict == "fail"]
    failed += [
        {"id": threshold.expression, "text": f"observed: {threshold.observed}"}
        for threshold in result.thresholds
        if threshold.verdict == "fail"
    ]
    return {
        "verdict": _combined(verdicts, valid=not result.invalid),
        "counts": counts | {"skipped": sum(len(suite.cases) for suite in result.suites) - len(run)},
        "target": result.target.url[:200],
        "started": result.started,
        "duration_s": round(result.duration_s, 1),
        "suites": [suite.name for suite in result.suites if suite.skipped is None],
        "failed": failed[:FAILED_AT_MOST],
        "invalid": result.invalid[:FAILED_AT_MOST],
    }


def _combined(verdicts: list[Verdict], *, valid: bool) -> Verdict:
    """As the testkit concludes: one failure is one, and of nothing at all nothing is proved."""
    if "fail" in verdicts:
        return "fail"
    return "pass" if valid and set(verdicts) == {"pass"} else "unknown"
