"""The newest result of ``omega test``, on the page."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from omega_ai.data_feed.http import last_report
from omega_ai.data_feed.http.app import make_app, start_http
from omega_ai.testkit.report.writing import Destinations, write_reports
from omega_ai.testkit.result import (
    CaseResult,
    Finding,
    RunResult,
    SuiteResult,
    TargetFacts,
    ThresholdResult,
)
from omega_ai.testkit.verdict import Verdict
from omega_ai.tests.unit.data.http.fake_view import FakeView


@pytest_asyncio.fixture
async def http(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    runner = await start_http(make_app(FakeView(), reports=tmp_path), "127.0.0.1", 0)
    async with aiohttp.ClientSession(runner.url) as session:
        yield session
    await runner.close()


async def report(http: aiohttp.ClientSession) -> Any:
    async with http.get("/api/report") as response:
        assert response.status == 200
        return (await response.json())["report"]


def case(name: str, verdict: Verdict = Verdict.PASS, **fields: Any) -> CaseResult:
    """A case of a suite."""
    return CaseResult(
        id=f"messages.{name}", suite="messages", title=name, verdict=verdict, expectation="it holds", **fields
    )


def result(*cases: CaseResult, **fields: Any) -> RunResult:
    """A run of one suite."""
    return RunResult(
        target=TargetFacts(url="ws://localhost:8765", profile="omega"),
        seed=1,
        started="2026-11-23T07:45:01.123456Z",
        duration_s=36.04,
        suites=(SuiteResult(name="messages", cases=cases), SuiteResult(name="tls", skipped="no wss")),
        **fields,
    )


async def test_without_a_result_there_is_none(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """The answer says where one was sought."""
    async with http.get("/api/report") as response:
        assert await response.json() == {"report": None, "directory": str(tmp_path)}
    async with http.get("/report") as response:
        assert response.status == 404


async def test_what_the_testkit_writes_is_read(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Verdict, counts and failures, as the testkit itself concludes."""
    run = result(
        case("one"),
        case("two"),
        case("three", Verdict.FAIL, finding="7 lost", findings=(Finding(kind="lost", text="7 lost"),)),
        case("four", Verdict.UNKNOWN),
        case("five", Verdict.UNKNOWN, skipped="not for this target"),
        thresholds=(
            ThresholdResult(expression="latency.p99 < 5ms", verdict=Verdict.FAIL, observed="7.1 ms"),
        ),
    )
    write_reports(run, Destinations(directory=tmp_path))
    found = await report(http)
    assert found == {
        "verdict": "fail",
        "counts": {"pass": 2, "fail": 2, "unknown": 1, "skipped": 1},
        "target": "ws://localhost:8765",
        "started": "2026-11-23T07:45:01.123456Z",
        "duration_s": 36.0,
        "suites": ["messages"],
        "failed": [
            {"id": "messages.three", "text": "7 lost"},
            {"id": "latency.p99 < 5ms", "text": "observed: 7.1 ms"},
        ],
        "invalid": [],
        "page": True,
    }


@pytest.mark.parametrize(
    "run",
    [
        result(case("one")),
        result(case("one"), case("two", Verdict.UNKNOWN)),
        result(case("one", Verdict.FAIL), case("two", Verdict.UNKNOWN)),
        result(case("one"), invalid=("the generator could not keep the rate",)),
        result(case("one", Verdict.FAIL), invalid=("the generator could not keep the rate",)),
        result(case("one", Verdict.UNKNOWN, skipped="not for this target")),
        result(),
        result(case("one"), thresholds=(ThresholdResult(expression="x", verdict=Verdict.FAIL, observed=""),)),
    ],
)
async def test_the_verdict_is_the_testkits_own(
    http: aiohttp.ClientSession, tmp_path: Path, run: RunResult
) -> None:
    """Though the feed does not import it."""
    write_reports(run, Destinations(directory=tmp_path))
    assert (await report(http))["verdict"] == run.verdict.value


async def test_the_newest_of_several_runs_counts_and_a_newer_one_is_noticed(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Each in a folder of its own, whatever the folders are called."""
    for number, name in enumerate(("b", "c", "a")):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "result.json"
        path.write_bytes(result(*[case(str(each)) for each in range(number + 1)]).to_json())
        os.utime(path, ns=(number * 10**9, number * 10**9))
    assert (await report(http))["counts"]["pass"] == 3
    (tmp_path / "result.json").write_bytes(result(case("x", Verdict.FAIL)).to_json())
    assert (await report(http))["verdict"] == "fail"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format":2}', json.dumps({"format": 1, "target": 7, "started": ""})]
)
async def test_a_file_that_is_no_result_of_ours_is_none(
    http: aiohttp.ClientSession, tmp_path: Path, text: str
) -> None:
    """Also one of a later format."""
    (tmp_path / "result.json").write_text(text)
    assert await report(http) is None


async def test_a_result_that_is_too_large_is_not_read(
    http: aiohttp.ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every input has a bound."""
    monkeypatch.setattr(last_report, "MAX_BYTES", 100)
    (tmp_path / "result.json").write_bytes(result(case("one")).to_json())
    assert await report(http) is None


async def test_the_whole_report_is_shown_in_a_sandbox(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    """It holds what a server under test sent; nothing in it may read from here."""
    await asyncio.to_thread(write_reports, result(case("one")), Destinations(directory=tmp_path))
    async with http.get("/report") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        assert "messages.one" in await response.text()
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; ")
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy
