"""What is read of a server's processes, and the series made of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omega_ai.testkit.load.prometheus_side import PrometheusPage, parse_metrics
from omega_ai.testkit.load.server_side import (
    MAX_POINTS,
    ProcessTree,
    Reading,
    Recorder,
    Unseen,
    parse_ps,
    parse_pss,
    parse_stat,
    parse_switches,
)

STAT = (
    "{pid} (a name) with ) in it) S {parent} 7 7 0 -1 4194560 1 0 0 0 {user} {system} 0 0 20 0 {threads} 0 "
    "{started} 10000000 {rss} 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0\n"
)


def _process(proc: Path, pid: int, *, parent: int = 1, user: int = 0, rss: int = 10, fds: int = 3) -> None:
    """A process in a /proc made by hand."""
    task = proc / str(pid) / "task" / str(pid)
    task.mkdir(parents=True, exist_ok=True)
    fields = {"pid": pid, "parent": parent, "user": user, "system": 0, "threads": 2, "started": pid * 10}
    (proc / str(pid) / "stat").write_text(STAT.format(rss=rss, **fields))
    (proc / str(pid) / "smaps_rollup").write_text("Rss:  100 kB\nPss:    8 kB\nPss_Anon:  4 kB\n")
    (task / "status").write_text("voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n")
    folder = proc / str(pid) / "fd"
    folder.mkdir(exist_ok=True)
    for number in range(fds):
        (folder / str(number)).touch()


def test_a_process_and_its_children_are_one(tmp_path: Path) -> None:
    """Also the children of children; nobody else."""
    _process(tmp_path, 100)
    _process(tmp_path, 101, parent=100)
    _process(tmp_path, 102, parent=101, rss=20)
    _process(tmp_path, 200)
    reading = ProcessTree(100, tmp_path).read()
    page = os.sysconf("SC_PAGE_SIZE")
    assert dict(reading.gauges) == {
        "rss": 40 * page,
        "pss": 3 * 8192,
        "descriptors": 9,
        "threads": 6,
        "processes": 3,
    }
    assert reading.counters["switches"] == 21


def test_what_a_child_used_stays_counted_when_it_has_ended(tmp_path: Path) -> None:
    """Or the server would seem to save time by ending workers."""
    _process(tmp_path, 100, user=100)
    _process(tmp_path, 101, parent=100, user=400)
    tree = ProcessTree(100, tmp_path)
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert tree.read().counters["cpu"] == pytest.approx(500 * tick)
    (tmp_path / "101" / "stat").unlink()
    _process(tmp_path, 100, user=150)
    assert tree.read().counters["cpu"] == pytest.approx(550 * tick)
    assert tree.read().counters["cpu"] == pytest.approx(550 * tick)


def test_children_are_found_where_the_kernel_lists_them(tmp_path: Path) -> None:
    """Which saves looking at every process."""
    _process(tmp_path, 100)
    _process(tmp_path, 101, parent=1)  # what its own line says is not asked
    (tmp_path / "100" / "task" / "100" / "children").write_text("101 ")
    assert ProcessTree(100, tmp_path).pids() == [100, 101]


def test_a_process_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With its number."""
    with pytest.raises(Unseen, match="no process 100"):
        ProcessTree(100, tmp_path).read()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_a_real_process_is_read() -> None:
    """One that opens files, takes memory and works."""
    code = "import sys; f=[open('/dev/null') for _ in range(40)]; m=b'x'*30_000_000; print(1,flush=True); "
    code += "[sum(range(1000)) for _ in iter(lambda: 0, 1)]"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        tree = ProcessTree(child.pid)
        first = tree.read()
        deadline = time.monotonic() + 20
        while (second := tree.read()).counters["cpu"] - first.counters["cpu"] < 0.05:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert first.gauges["rss"] > 30_000_000
        assert first.gauges["descriptors"] >= 43
        assert first.gauges["threads"] >= 1
        assert "pss" in first.gauges or "pss" in tree.absent
        assert second.counters["switches"] >= first.counters["switches"]
    finally:
        child.kill()
        child.communicate()
    with pytest.raises(Unseen):
        tree.read()


def test_lines_that_are_none_are_refused() -> None:
    """A name in brackets may hold anything."""
    assert parse_stat(STAT.format(pid=1, parent=9, user=3, system=4, threads=2, started=8, rss=5)).parent == 9
    for text in ("", "1 (x) S 2", "no brackets at all"):
        with pytest.raises(ValueError, match="no line"):
            parse_stat(text)
    assert parse_pss("") == 0
    assert parse_switches("Name:\tx\n") == 0


def test_ps_tells_of_a_process_and_its_children() -> None:
    """As on macOS."""
    text = (
        "  10     1  2048   0:01.50\n  11    10  1024  1:02:03\n  12    11     0 1-00:00:01\n  99 1 7 9:00\n"
    )
    reading = parse_ps(text, 10)
    assert reading.gauges == {"rss": 3072 * 1024, "processes": 3}
    assert reading.counters["cpu"] == pytest.approx(1.5 + 3723 + 86_401)
    with pytest.raises(Unseen):
        parse_ps(text, 5)


PAGE = """\
# HELP process_cpu_seconds_total time
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 12.5
process_resident_memory_bytes 5.6e+07
process_open_fds 42
omega_connections{transport="ws"} 7
omega_connections{transport="wss",note="a } \\" b"} 3 1700000000000
omega_messages_total{channel="x"} 100
other NaN
broken line here
"""


def test_a_metrics_page_is_read() -> None:
    """What is known of a process, and what was chosen, summed over its labels."""
    reading = parse_metrics(PAGE, ["omega_connections", "omega_messages_total"])
    assert reading.gauges == {"rss": 5.6e7, "descriptors": 42, "omega_connections": 10}
    assert reading.counters == {"cpu": 12.5, "omega_messages_total": 100}


def test_a_metrics_page_needs_an_address_and_names() -> None:
    """Wrong ones are said before the run."""
    with pytest.raises(ValueError, match="http://"):
        PrometheusPage("localhost:9090/metrics")
    with pytest.raises(ValueError, match="no name"):
        PrometheusPage("http://localhost/metrics", ["a b"])
    with pytest.raises(ValueError, match="too many"):
        PrometheusPage("http://localhost/metrics", ["a"] * 21)
    with pytest.raises(Unseen, match="cannot be read"):
        PrometheusPage("http://127.0.0.1:1/metrics").read()


def test_counters_become_rates() -> None:
    """Half a second of processor time in a second is half a core; a server that began anew is no outlier."""
    recorder = Recorder()
    for at, cpu in ((0.0, 10.0), (1.0, 10.5), (3.0, 12.5), (4.0, 0.2), (5.0, 0.3)):
        recorder.add(at, Reading(gauges={"rss": at}, counters={"cpu": cpu}))
    series = {item.name: item for item in recorder.series()}
    assert [round(value, 9) for _, value in series["cpu"].points] == [0.5, 1.0, 0.1]
    assert series["cpu"].unit == "cores"
    assert len(series["rss"].points) == 5


def test_series_count_from_the_start_of_the_run() -> None:
    """What was seen before it is left out."""
    recorder = Recorder()
    for at in range(5):
        recorder.add(float(at), Reading(gauges={"rss": at}, counters={}))
    assert recorder.series(-2.0)[0].points == ((0.0, 2), (1.0, 3), (2.0, 4))


def test_a_long_run_keeps_a_bounded_series() -> None:
    """And its level."""
    recorder = Recorder()
    for at in range(MAX_POINTS * 3):
        recorder.add(float(at), Reading(gauges={"rss": 100.0 + at % 2}, counters={}))
    (series,) = recorder.series()
    assert MAX_POINTS / 2 <= len(series.points) <= MAX_POINTS
    assert all(
        later[0] > earlier[0] for earlier, later in zip(series.points, series.points[1:], strict=False)
    )
    assert sum(value for _, value in series.points) / len(series.points) == pytest.approx(100.5, abs=0.01)
